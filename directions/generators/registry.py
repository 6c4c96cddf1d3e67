"""Find a generator by name, path or reference, and list what can be loaded; torch is imported when one is loaded."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import re
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from directions.errors import UserError, nearest
from directions.files import user_path
from directions.generators import weights as files
from directions.generators.weights import CONFIG, PUBLISHED, WEIGHTS

if TYPE_CHECKING:
    from torch import Tensor

    from directions.generators.base import Generator
    from directions.generators.frozen import FrozenBigGAN

GROUP = "directions.generators"
_NAME = r"[^\W\d]\w*(\.[^\W\d]\w*)*"
_REFERENCE = re.compile(rf"({_NAME}|.+\.py):{_NAME}")
PACKAGED = {name: Path(__file__).parent / name for name in ("builtin", "letters")}
"""The generators that come with the package, and their folders: scenes, and letters."""
_DEEP, _PLAIN = PUBLISHED["biggan-deep-128"], PUBLISHED["biggan-128"]


@dataclass(frozen=True)
class GeneratorStatus:
    """What is known of a generator without loading it.

    Attributes:
        name: What `load_generator` takes.
        state: ``"ready"``; ``"missing"`` when its files are not here; ``"damaged"`` when one of them is not whole;
            ``"installed"`` when another package brings it.
        detail: Digest of the weights where one is recorded, or what is wrong and what to do.
        dim_z: |z|; ``None`` when it is not known before loading.
        num_classes: Number of classes; ``None`` when it is not known before loading.
        resolution: Height and width of the images, in pixels; ``None`` when it is not known before loading.
    """

    name: str
    state: str
    detail: str
    dim_z: int | None = None
    num_classes: int | None = None
    resolution: int | None = None


def load_generator(
    name: str | Callable[..., Any] = "builtin", *, weights: str | None = None, device: str = "cpu"
) -> Generator:
    """Load a generator, frozen and in evaluation mode.

    Args:
        name: ``"builtin"`` or ``"letters"``; a published one as `list_generators` gives it, such as
            ``"biggan-deep-128"``; or the path of a folder with config.json and weights.safetensors, such as a run of
            ``gan train``, or of a plain BigGAN's G_ema.pth; or ``"package.module:function"`` or
            ``"path/of/file.py:function"``, a function that returns a torch module or a Generator; or such a function,
            module or Generator itself. A module maps z, and a class where it has some, to images.
        weights: Folder or file to read instead of the usual places.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, … or ``"auto"``.

    Returns:
        The generator. Its ``source`` is what finds it again from any folder.

    Raises:
        UserError: If there is no such generator or device, or its files are missing or damaged; or what is given or
            returned is no generator.

    Warns:
        UserWarning: If the file that was found as a published generator's weights is another than the published one; or
            a module's images are in [0, 1], or in half precision.

    Example:
        >>> generator = load_generator("builtin")
        >>> generator(generator.sample_z(2, seed=0), y="sphere").shape
        torch.Size([2, 3, 64, 64])
        >>> from torch import nn
        >>> load_generator(nn.Sequential(nn.Linear(5, 48), nn.Tanh(), nn.Unflatten(1, (3, 4, 4)))).dim_z
        5
    """
    from directions.device import resolve_device
    from directions.generators import wrap

    where = resolve_device(device)
    path = None if weights is None else user_path(weights)
    generator = _load(name, path) if isinstance(name, str) else wrap.load_object(name, path)
    with contextlib.suppress(AttributeError):  # an object of a user's may refuse attributes
        generator.source = _source(generator.name)  # type: ignore[attr-defined]
    if hasattr(generator, "to"):  # all of ours are modules; a user's Generator need not be one
        moved: Generator = generator.to(where)
        return moved
    if (own := generator.device).type != where.partition(":")[0]:
        raise UserError(f"{name} is on {own} and cannot be moved to {where}. Use --device {own}.")
    return generator


def _source(name: str) -> str:
    """What `load_generator` finds a generator by from any folder."""
    if name in PACKAGED or name in PUBLISHED:
        return name
    if (path := user_path(name)).exists():
        return str(path.resolve())
    module_name, _, function = name.rpartition(":")
    if module_name.endswith(".py"):
        return f"{user_path(module_name).resolve()}:{function}"
    file = getattr(sys.modules.get(module_name), "__file__", None)
    # A module from the folder that the user is in is found there only, an installed one everywhere.
    return f"{file}:{function}" if file and Path(file).is_relative_to(Path.cwd()) else name


def _load(name: str, weights: Path | None) -> Generator:
    if os.path.expanduser("~") == "~":  # noqa: PTH111 - Path.expanduser raises without a home folder
        os.environ["HOME"] = os.sep  # pytorch_pretrained_biggan asks for one when it is imported
    if name in PACKAGED:
        return _load_path(name, weights or PACKAGED[name])
    if name in PUBLISHED:
        published = PUBLISHED[name]
        path = files.obtain(published) if weights is None else files.given(weights, published.file_names)
        if not published.blocks:
            generator = _load_plain(name, path)
        elif (beside := path.with_name(CONFIG)).is_file():
            generator = _load_deep(name, path, files.read_config(beside), str(beside))
        else:
            generator = _load_deep(name, path, published.config, f"the architecture of {name}")
        if generator.resolution != published.resolution:
            sizes = f"{generator.resolution} pixels, {name} has {published.resolution}"
            raise UserError(f"{path} makes images of {sizes}. Load it by its path: --generator {path}")
        known, own = published.sha256, generator.file_digest
        if weights is None and known and own not in (known, published.hub_sha256):
            what = f"{path} was found as the weights of {name}, and is used"
            warnings.warn(f"{what}, but is not the published file: its SHA-256 is {own}, not {known}.", stacklevel=3)
        return generator
    if (path := user_path(name)).exists():
        if path.suffix == ".py":
            raise UserError(f"{name} is a Python file: name its function, such as {name}:load.")
        return _load_path(name, weights or path)
    installed = _entry_points()
    if name in installed or _REFERENCE.fullmatch(name):
        from directions.generators.wrap import load_reference

        return load_reference(installed.get(name, name), name, weights)
    names = [*PACKAGED, *PUBLISHED, *installed]
    raise UserError(
        f"There is no generator {name!r}.{nearest(name, names)} Allowed: {', '.join(names)}, package.module:function, "
        f"file.py:function, the path of a folder with {CONFIG} and {WEIGHTS}, or of a plain BigGAN's G_ema.pth. "
        "If it was moved, say where it is: --generator. See: directions generators"
    )


def _load_path(name: str, path: Path) -> Generator:
    """Tell by its files which kind of generator a path is of."""
    folder = path if path.is_dir() else path.parent
    holds_plain = path.is_file() or any((path / file).is_file() for file in _PLAIN.file_names)
    if holds_plain and not (folder / CONFIG).exists():
        return _load_plain(name, files.given(path, _PLAIN.file_names))
    found = files.given(path, _DEEP.file_names)
    config = files.read_config(folder / CONFIG)
    if config.get("arch") == "progan":
        from directions.generators.progan import read_progan

        return read_progan(found, config, name)
    return _load_deep(name, found, config, str(folder / CONFIG))


def _load_plain(name: str, path: Path) -> FrozenBigGAN:
    from directions.generators.biggan import BigGAN, looks_like_plain_biggan, normal_names

    state = files.read_state_dict(path, looks_like_plain_biggan)
    classes = next((shape[0] for name, shape in files.shapes(state).items() if name == "shared.weight" and shape), 0)
    generator = BigGAN(state, where=str(path), name=name, digest="", **_names(classes))
    return _identified(generator, path, files.checked_digest(path), normal_names(state))


def _load_deep(name: str, path: Path, config: Mapping[str, Any], where: str) -> FrozenBigGAN:
    """Load a BigGAN-deep with a configuration from somewhere."""
    from directions.generators.biggan_deep import BigGANDeep, read_model

    model = read_model(path, config, where)
    file_digest = files.checked_digest(path, claim=config.get("sha256"), by=where)
    named = _names(config["num_classes"], config.get("class_names"), where)
    generator = BigGANDeep(model, name=name, digest="", **named)
    return _identified(generator, path, file_digest, model.state_dict())


def _names(count: int, own: Any = None, where: str = "") -> dict[str, Any]:
    """The names of classes that a configuration has, or ImageNet's where there are as many classes."""
    from directions.generators.base import imagenet_names

    if own:
        are_names = isinstance(own, list) and all(isinstance(name, str) and name.strip() for name in own)
        if not (are_names and len(own) == len(set(own)) == count):
            wanted = f"class_names must be a list of {count} different names, one for each of its num_classes"
            raise UserError(f"{where}: {wanted}, got {own!r}. Correct it, or remove it from the file.")
        return {"class_names": tuple(own)}
    names, synonyms = imagenet_names()
    return {"class_names": names, "class_synonyms": synonyms} if count == len(names) else {}


def _entry_points() -> dict[str, str]:
    """The generators of installed packages, name to ``package.module:function``."""
    return {point.name: point.value for point in importlib.metadata.entry_points(group=GROUP)}


def _identified(generator: FrozenBigGAN, path: Path, file_digest: str, state: Mapping[str, Tensor]) -> FrozenBigGAN:
    """Give a generator its digest, and record that of its file where it lies in the package's folder of weights."""
    if files.recorded_digest(path) is None and path.is_relative_to(files.weights_home()):
        with contextlib.suppress(UserError):  # a folder that cannot be written is no reason not to go on
            files.write_record(path, file_digest)
    generator.file_digest = file_digest
    # torch.save wraps the same weights in many ways, in other bytes each time.
    is_plain = path.suffix == ".safetensors"
    generator.digest = file_digest if is_plain else files.tensors_digest(sorted(state.items()))
    return generator


def list_generators() -> list[GeneratorStatus]:
    """Say which generators can be loaded by name, from a glance at their files: none is read or downloaded.

    Returns:
        One entry a name.
    """
    statuses = []
    for name, folder in PACKAGED.items():
        config = files.read_config(folder / CONFIG)
        sizes = config["z_dim"], config["num_classes"], config["output_dim"]
        fault = files.quick_fault(folder / WEIGHTS)
        detail = f"{folder / WEIGHTS} {fault}. Install the package anew." if fault else f"sha256 {config['sha256']}"
        statuses.append(GeneratorStatus(name, "damaged" if fault else "ready", detail, *sizes))
    for name, published in PUBLISHED.items():
        found, faults = files.find(published)
        if found is not None:
            recorded = files.recorded_digest(found)
            state, detail = "ready", f"{f'sha256 {recorded}' if recorded else 'digest not recorded yet'}, {found}"
        else:
            use = ["Downloaded on first use. Without network:"] if published.blocks else []
            state, detail = "damaged" if faults else "missing", " ".join([*faults, *use, published.by_hand])
        statuses.append(GeneratorStatus(name, state, detail, published.dim_z, 1000, published.resolution))
    for name, reference in _entry_points().items():
        statuses.append(GeneratorStatus(name, "installed", f"{reference}, tried out when it is loaded"))
    return statuses
