"""Find a generator by name.

The door to the flow's first stop: ``builtin`` comes with the package; a folder that training exported loads by its
path.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from directions.devices import resolve_device
from directions.errors import UserError, nearest
from directions.generators.base import Generator
from directions.generators.biggan_deep import BigGANDeep
from directions.generators.weights import CONFIG, WEIGHTS, read_model

BUILTIN = Path(__file__).parent / "builtin"
_NAMES = {"builtin": BUILTIN}


@dataclass(frozen=True)
class GeneratorStatus:
    """What is known of a generator without loading it into a run.

    Attributes:
        name: What `load_generator` takes.
        state: ``"ready"``, or ``"missing"`` when it cannot be loaded.
        detail: Digest of the weights, or what is wrong and what to do.
        dim_z: |z|; ``None`` when not ready.
        num_classes: Number of classes; ``None`` when not ready.
        resolution: Height and width of the images, in pixels; ``None`` when not ready.
    """

    name: str
    state: str
    detail: str
    dim_z: int | None = None
    num_classes: int | None = None
    resolution: int | None = None


def load_generator(name: str = "builtin", *, weights: str | None = None, device: str = "cpu") -> Generator:
    """Load a generator, frozen and in evaluation mode.

    Args:
        name: ``"builtin"``, or the path of a folder with config.json and weights.safetensors.
        weights: Folder to read instead of the usual one.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, … or ``"auto"``.

    Returns:
        The generator.

    Raises:
        UserError: If there is no such generator or device, or its files are missing or damaged.

    Example:
        >>> generator = load_generator("builtin")
        >>> generator(generator.sample_z(2, seed=0), y="sphere").shape
        torch.Size([2, 3, 64, 64])
    """
    where = resolve_device(device)
    folder = Path(weights) if weights is not None else _NAMES.get(name, Path(name))
    if name not in _NAMES and not Path(name).is_dir():
        raise UserError(
            f"There is no generator {name!r}.{nearest(name, _NAMES)} Allowed: {', '.join(_NAMES)}, or the path of a "
            f"folder with {CONFIG} and {WEIGHTS}. See: directions generators"
        )
    model, config, digest = read_model(folder)
    names = config.get("class_names")
    generator = BigGANDeep(model, name=name, digest=digest, class_names=tuple(names) if names else None)
    return generator.to(torch.device(where))


def list_generators() -> list[GeneratorStatus]:
    """Say which generators can be loaded by name.

    Returns:
        One entry a name.
    """
    return [_status(name) for name in _NAMES]


def _status(name: str) -> GeneratorStatus:
    try:
        generator = load_generator(name)
    except UserError as error:
        return GeneratorStatus(name, "missing", str(error))
    return GeneratorStatus(
        name, "ready", f"sha256 {generator.digest}", generator.dim_z, generator.num_classes, generator.resolution
    )
