"""Find a generator by name, path or reference, and list what can be loaded; torch is imported when one is loaded."""

from __future__ import annotations

import contextlib
import importlib.metadata
import re
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from directions.errors import UserError, nearest
from directions.generators import weights as files
from directions.generators.weights import CONFIG, PUBLISHED, WEIGHTS, Published

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
    path = None if weights is None else Path(weights).expanduser()
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
    if (path := Path(name).expanduser()).exists():
        return str(path.resolve())
    module_name, _, function = name.rpartition(":")
    if module_name.endswith(".py"):
        return f"{Path(module_name).expanduser().resolve()}:{function}"
    file = getattr(sys.modules.get(module_name), "__file__", None)
    # A module from the folder that the user is in is found there only, an installed one everywhere.
    return f"{file}:{function}" if file and Path(file).is_relative_to(Path.cwd()) else name


def _load(name: str, weights: Path | None) -> Generator:
    if name in PACKAGED:
        return _load_deep(name, files.given(weights or PACKAGED[name], _DEEP.file_names))
    if name in PUBLISHED:
        published = PUBLISHED[name]
        path = files.obtain(published) if weights is None else files.given(weights, published.file_names)
        generator = _load_deep(name, path, published) if published.blocks else _load_plain(name, path)
        if generator.resolution != published.resolution:
            sizes = f"{generator.resolution} pixels, {name} has {published.resolution}"
            raise UserError(f"{path} makes images of {sizes}. Load it by its path: --generator {path}")
        known, own = published.sha256, generator.file_digest
        if weights is None and known and own not in (known, published.hub_sha256):
            what = f"{path} was found as the weights of {name}, and is used"
            warnings.warn(f"{what}, but is not the published file: its SHA-256 is {own}, not {known}.", stacklevel=3)
        return generator
    if Path(name).expanduser().exists():
        return _load_path(name, weights or Path(name).expanduser())
    installed = _entry_points()
    if name in installed or _REFERENCE.fullmatch(name):
        from directions.generators.wrap import load_reference

        return load_reference(installed.get(name, name), name, weights)
    names = [*PACKAGED, *PUBLISHED, *installed]
    raise UserError(
        f"There is no generator {name!r}.{nearest(name, names)} Allowed: {', '.join(names)}, package.module:function, "
        f"file.py:function, the path of a folder with {CONFIG} and {WEIGHTS}, or of a plain BigGAN's G_ema.pth. See: "
        "directions generators"
    )


def _load_path(name: str, path: Path) -> Generator:
    """Tell by its files which kind of generator a path is of."""
    folder = path if path.is_dir() else path.parent
    holds_plain = path.is_file() or any((path / file).is_file() for file in _PLAIN.file_names)
    if holds_plain and not (folder / CONFIG).exists():
        return _load_plain(name, files.given(path, _PLAIN.file_names))
    found = files.given(path, _DEEP.file_names)
    config = files.read_json(folder / CONFIG)
    if config.get("arch") == "progan":
        from directions.generators.progan import read_progan

        return read_progan(found, config, name)
    return _load_deep(name, found)


def _load_plain(name: str, path: Path) -> FrozenBigGAN:
    from directions.generators.biggan import BigGAN, looks_like_plain_biggan, normal_names

    state = files.read_state_dict(path, looks_like_plain_biggan)
    file_digest = files.checked_digest(path)
    classes = next((shape[0] for name, shape in files.shapes(state).items() if name == "shared.weight" and shape), 0)
    generator = BigGAN(state, where=str(path), name=name, digest=file_digest, **_imagenet(classes))
    return _identified(generator, path, file_digest, normal_names(state))


def _load_deep(name: str, path: Path, published: Published | None = None) -> FrozenBigGAN:
    from directions.generators.biggan_deep import BigGANDeep

    beside = path.with_name(CONFIG)
    if published is not None and not beside.is_file():
        config, config_name = published.config, f"the architecture of {name}"
    else:
        config, config_name = files.read_config(beside), str(beside)
    if published is not None and files.config_resolution(config) != published.resolution:
        sizes = f"{files.config_resolution(config)} pixels, {name} has {published.resolution}"
        raise UserError(f"{config_name} is of a generator of {sizes}. Load the folder by its path.")
    model, file_digest = files.read_model(path, config, config_name=config_name)
    own = tuple(config.get("class_names") or ())
    named = {"class_names": own} if own else _imagenet(config["num_classes"])
    generator = BigGANDeep(model, name=name, digest=file_digest, **named)
    return _identified(generator, path, file_digest, model.state_dict())


def _imagenet(num_classes: int) -> dict[str, Any]:
    """ImageNet's names where there are as many classes."""
    from directions.generators.class_names import NUM_CLASSES, imagenet_names

    names, synonyms = imagenet_names()
    return {"class_names": names, "class_synonyms": synonyms} if num_classes == NUM_CLASSES else {}


def _entry_points() -> dict[str, str]:
    """The generators of installed packages, name to ``package.module:function``."""
    return {point.name: point.value for point in importlib.metadata.entry_points(group=GROUP)}


def _identified(generator: FrozenBigGAN, path: Path, file_digest: str, state: Mapping[str, Tensor]) -> FrozenBigGAN:
    """Give a generator its digest, and record that of its file where it lies in the package's folder of weights."""
    if files.recorded_digest(path) is None and path.is_relative_to(files.weights_home()):
        with contextlib.suppress(UserError):  # a folder that cannot be written is no reason not to go on
            files.write_record(path, file_digest)
    generator.file_digest = file_digest
    if path.suffix != ".safetensors":  # torch.save wraps the same weights in many ways, in other bytes each time
        generator.digest = files.tensors_digest(sorted(state.items()))
    return generator


def list_generators() -> list[GeneratorStatus]:
    """Say which generators can be loaded by name, from a glance at their files: none is read or downloaded.

    Returns:
        One entry a name.
    """
    installed = [
        GeneratorStatus(name, "installed", f"{reference}, tried out when it is loaded")
        for name, reference in _entry_points().items()
    ]
    return [*map(_packaged_status, PACKAGED), *map(_published_status, PUBLISHED.values()), *installed]


def _packaged_status(name: str) -> GeneratorStatus:
    try:
        files.require_whole(PACKAGED[name] / WEIGHTS)
        config = files.read_config(PACKAGED[name] / CONFIG)
    except UserError as error:
        return GeneratorStatus(name, "damaged", str(error))
    sizes = config["z_dim"], config["num_classes"], config["output_dim"]
    return GeneratorStatus(name, "ready", f"sha256 {config.get('sha256')}", *sizes)


def _published_status(published: Published) -> GeneratorStatus:
    found, faults = files.find(published)
    if found is not None:
        recorded = files.recorded_digest(found)
        state, detail = "ready", f"{f'sha256 {recorded}' if recorded else 'digest not recorded yet'}, {found}"
    else:
        use = ["Downloaded on first use. Without network:"] if published.blocks else []
        state, detail = "damaged" if faults else "missing", " ".join([*faults, *use, published.by_hand])
    return GeneratorStatus(published.name, state, detail, published.dim_z, 1000, published.resolution)
