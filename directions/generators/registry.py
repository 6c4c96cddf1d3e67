"""Find a generator by name.

The door to the flow's first stop: ``builtin`` comes with the package, the published BigGANs are looked for on this
machine and downloaded, ``package.module:function`` and the entry points of other packages bring their own, and files
and folders load by their path. Torch is imported only when something is loaded.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from directions.errors import UserError, nearest
from directions.generators.custom import entry_points, is_reference, load_reference
from directions.generators.published import (
    CONFIG,
    PLAIN_FILE_NAMES,
    PLAIN_NAME,
    PLAIN_SIZES,
    PUBLISHED,
    WEIGHTS,
    Published,
    deep_file_names,
)
from directions.generators.sources import (
    Found,
    by_hand,
    find,
    find_plain,
    given,
    obtain,
    obtain_plain,
    of_same_size,
    plain_by_hand,
    read_json,
    remember,
)
from directions.generators.weight_files import checked_digest, quick_fault

if TYPE_CHECKING:
    from directions.generators.base import Generator

BUILTIN = Path(__file__).parent / "builtin"
_BUILTIN_NAME = "builtin"


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


def load_generator(name: str = _BUILTIN_NAME, *, weights: str | None = None, device: str = "cpu") -> Generator:
    """Load a generator, frozen and in evaluation mode.

    Args:
        name: ``"builtin"``; a published one as `list_generators` gives it, such as ``"biggan-deep-128"``; or the path
            of a folder with config.json and weights.safetensors, such as a run of ``gan train``, or of a plain BigGAN's
            G_ema.pth; or
            ``"package.module:function"``, a function that returns a torch module or a Generator.
        weights: Folder or file to read instead of the usual places.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, … or ``"auto"``.

    Returns:
        The generator.

    Raises:
        UserError: If there is no such generator or device, or its files are missing or damaged.

    Warns:
        UserWarning: If the file that was found as a published generator's weights is another than the published one.

    Example:
        >>> generator = load_generator("builtin")
        >>> generator(generator.sample_z(2, seed=0), y="sphere").shape
        torch.Size([2, 3, 64, 64])
    """
    from directions.devices import resolve_device

    where = resolve_device(device)
    generator = _load(name, None if weights is None else Path(weights))
    if hasattr(generator, "to"):  # all of ours are modules; a user's Generator need not be one
        moved: Generator = generator.to(where)
        return moved
    if generator.device.type != where.partition(":")[0]:
        raise UserError(
            f"{name} is on {generator.device} and cannot be moved to {where}. Use --device {generator.device}."
        )
    return generator


def _load(name: str, weights: Path | None) -> Generator:
    if name == _BUILTIN_NAME:
        return _load_deep(name, given(weights or BUILTIN, deep_file_names(name)), None)
    if name in PUBLISHED:
        published = PUBLISHED[name]
        if weights is not None:
            return _load_deep(name, given(weights, deep_file_names(name)), published)
        found = obtain(published)
        generator = _load_deep(name, found, published)
        _warn_if_other(published, found, generator.digest)
        return generator
    if name == PLAIN_NAME:
        return _load_plain(name, obtain_plain() if weights is None else given(weights, PLAIN_FILE_NAMES))
    if Path(name).exists():
        return _load_path(name, weights or Path(name))
    installed = entry_points()
    if name in installed or is_reference(name):
        return cast("Generator", load_reference(name, installed.get(name, name), weights))
    names = [_BUILTIN_NAME, *PUBLISHED, PLAIN_NAME, *installed]
    raise UserError(
        f"There is no generator {name!r}.{nearest(name, names)} Allowed: {', '.join(names)}, package.module:function, "
        f"the path of a folder with {CONFIG} and {WEIGHTS}, or of a plain BigGAN's G_ema.pth. See: directions "
        "generators"
    )


def _warn_if_other(published: Published, found: Found, digest: str) -> None:
    """Warn if what was found as a published model's weights is known to be something else.

    Where the digest is known of one of two places only, a file with another may come from the other place.
    """
    places = [published.expected.sha256, *([published.hub_sha256] if published.hub else [])]
    known = [sha for sha in places if sha is not None]
    if known and digest not in known and (None not in places or not of_same_size(found, published)):
        warnings.warn(
            f"{found.path} was found as the weights of {published.name}, and is used, but it is not the published "
            f"file: its SHA-256 is {digest}, that of the published one is {' or '.join(known)}.",
            stacklevel=4,  # where load_generator was called
        )


def _load_path(name: str, path: Path) -> Generator:
    """Tell by its files which kind of generator a path is of."""
    if path.is_dir() and not (path / CONFIG).exists() and any((path / file).is_file() for file in PLAIN_FILE_NAMES):
        return _load_plain(name, given(path, PLAIN_FILE_NAMES))
    if path.is_file() and not (path.parent / CONFIG).exists():
        return _load_plain(name, given(path, PLAIN_FILE_NAMES))
    found = given(path, deep_file_names(name))
    config = None if found.config is None else read_json(found.config)
    if isinstance(config, dict) and config.get("arch") == "progan":
        from directions.generators.progan import read_progan

        return read_progan(found, config, name)
    return _load_deep(name, found, None)


def _load_plain(name: str, found: Found) -> Generator:
    from directions.generators.biggan import BigGAN
    from directions.generators.state_dict import read_state_dict

    state = read_state_dict(found.path)
    embeddings = state.get("shared.weight")
    names, synonyms = _imagenet(embeddings.shape[0] if embeddings is not None and embeddings.ndim else 0)
    digest = checked_digest(found.path, found.recorded)
    generator = BigGAN(
        state,
        name=name,
        digest=digest,
        where=str(found.path),
        class_names=names,
        class_synonyms=synonyms,
    )
    if name == PLAIN_NAME and generator.resolution != PLAIN_SIZES[-1]:
        raise UserError(
            f"{found.path} makes images of {generator.resolution} pixels, {PLAIN_NAME} has {PLAIN_SIZES[-1]}. Load "
            f"it by its path: --generator {found.path}"
        )
    remember(found, digest)
    return generator


def _imagenet(num_classes: int) -> tuple[tuple[str, ...] | None, tuple[tuple[str, ...], ...] | None]:
    """ImageNet's names where there are as many classes."""
    from directions.generators.imagenet import NUM_CLASSES, imagenet_names

    return imagenet_names() if num_classes == NUM_CLASSES else (None, None)


def _load_deep(name: str, found: Found, published: Published | None) -> Generator:
    from directions.generators.biggan_deep import BigGANDeep
    from directions.generators.weights import config_resolution, read_config, read_model

    if published is not None and found.config is None:
        config, config_name = published.config, f"the architecture of {name}"
    else:
        path = found.config or found.path.parent / CONFIG
        config, config_name = read_config(path), str(path)
    if published is not None and config_resolution(config) != published.resolution:
        raise UserError(
            f"{config_name} is of a generator of {config_resolution(config)} pixels, {name} has "
            f"{published.resolution}. Name the generator that the weights are of, or load the folder by its path."
        )
    model, digest = read_model(found.path, config, recorded=found.recorded, config_name=config_name)
    remember(found, digest)
    names, synonyms = tuple(config.get("class_names") or ()) or None, None
    if names is None:
        names, synonyms = _imagenet(config["num_classes"])
    return BigGANDeep(model, name=name, digest=digest, class_names=names, class_synonyms=synonyms)


def list_generators() -> list[GeneratorStatus]:
    """Say which generators can be loaded by name, from a glance at their files: none is read or downloaded.

    Returns:
        One entry a name.
    """
    published = [_published_status(published) for published in PUBLISHED.values()]
    installed = [
        GeneratorStatus(name, "installed", f"{reference}, tried out when it is loaded")
        for name, reference in entry_points().items()
    ]
    return [_builtin_status(), *published, _plain_status(), *installed]


def _builtin_status() -> GeneratorStatus:
    weights = BUILTIN / WEIGHTS
    fault = quick_fault(weights)
    if fault:
        state = "damaged" if weights.exists() else "missing"
        return GeneratorStatus(_BUILTIN_NAME, state, f"{weights} {fault}. Install the package again.")
    try:
        config = read_json(BUILTIN / CONFIG)
        sizes = config["z_dim"], config["num_classes"], config["output_dim"]
        return GeneratorStatus(_BUILTIN_NAME, "ready", f"sha256 {config['sha256']}", *sizes)
    except (UserError, KeyError, TypeError) as error:
        return GeneratorStatus(_BUILTIN_NAME, "damaged", f"{BUILTIN / CONFIG}: {error}. Install the package again.")


def _published_status(published: Published) -> GeneratorStatus:
    sizes = published.config["z_dim"], published.config["num_classes"], published.resolution
    found, faults = find(published)
    if found is not None:
        return GeneratorStatus(published.name, "ready", _where(found), *sizes)
    state = "damaged" if faults else "missing"
    advice = f"Downloaded on first use. Without network: {by_hand(published)}"
    return GeneratorStatus(published.name, state, " ".join([*faults, advice]), *sizes)


def _plain_status() -> GeneratorStatus:
    found = find_plain()
    if found is None:
        return GeneratorStatus(PLAIN_NAME, "missing", plain_by_hand(), *PLAIN_SIZES)
    fault = quick_fault(found.path)
    if fault:
        return GeneratorStatus(PLAIN_NAME, "damaged", f"{found.path} {fault}. {plain_by_hand()}", *PLAIN_SIZES)
    return GeneratorStatus(PLAIN_NAME, "ready", _where(found), *PLAIN_SIZES)


def _where(found: Found) -> str:
    digest = f"sha256 {found.recorded}" if found.recorded else "digest not recorded yet"
    return f"{digest}, {found.path}"
