"""Where published weights are: the places on this machine to look in, and where to get them.

Between the catalogue in ``published`` and the loaders. For each of the three BigGAN-deep models, in this order: the
folder or file that the user names,
the package's folder of weights, the cache of ``pytorch_pretrained_biggan``, the Hub's cache, the Hub, and the address
of ``pytorch_pretrained_biggan``. Torch is not imported.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from directions.errors import UserError
from directions.generators.download import DownloadError, fetch
from directions.generators.published import (
    CONFIG,
    PLAIN_FILE_NAMES,
    PLAIN_NAME,
    TORCH_WEIGHTS,
    Published,
    deep_file_names,
)
from directions.generators.reachable import why_unreachable
from directions.generators.weight_files import quick_fault, record, record_path, recorded_digest

_HUB = "https://huggingface.co"


@dataclass(frozen=True)
class Found:
    """A file of weights on this machine.

    Attributes:
        path: The file.
        config: Its configuration file, or ``None`` where it is the published one.
        recorded: SHA-256 that it had when it was downloaded; ``None`` where nothing recorded it.
    """

    path: Path
    config: Path | None
    recorded: str | None = None


def weights_home() -> Path:
    """Return the package's folder of weights, with a folder for each generator.

    Returns:
        ``$DIRECTIONS_CACHE``, or ``directions`` in the user's cache folder.
    """
    if own := os.environ.get("DIRECTIONS_CACHE"):
        return Path(own).expanduser()
    return _user_cache() / "directions"


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser()


def given(path: Path, file_names: tuple[str, ...]) -> Found:
    """Take the weights from where the user says.

    Args:
        path: A folder, or the file itself.
        file_names: Names that the file may have in the folder.

    Returns:
        The file, and the configuration beside it where there is one.

    Raises:
        UserError: If there is nothing like it.
    """
    if path.is_dir():
        for name in file_names:
            if (path / name).is_file():
                return _with_config(path / name)
        raise UserError(f"Cannot read {path}: it is a folder without {' or '.join(file_names)}.")
    if not path.is_file():
        raise UserError(f"Cannot read {path}: there is no such file or folder. It must have {' or '.join(file_names)}.")
    return _with_config(path)


def _with_config(weights: Path) -> Found:
    config = weights.parent / CONFIG
    return Found(weights, config if config.is_file() else None, recorded_digest(weights))


def candidates(published: Published) -> Iterator[Found]:
    """Give every file on this machine that may be a published model's weights, whole or not.

    Args:
        published: The model.

    Yields:
        Files, in the order in which they are preferred.
    """
    own = weights_home() / published.name
    for name in deep_file_names(published.name):
        if (own / name).is_file():
            yield _with_config(own / name)
    yield from _in_package_cache(published.url)
    if published.hub:
        yield from _in_hub_cache(published.hub)


def _in_package_cache(url: str) -> Iterator[Found]:
    """The cache of ``pytorch_pretrained_biggan``: names are digests of the address and of the server's ETag."""
    default = Path.home() / ".pytorch_pretrained_biggan"
    folder = Path(os.environ.get("PYTORCH_PRETRAINED_BIGGAN_CACHE") or default)
    name = hashlib.sha256(url.encode()).hexdigest()
    files = [path for path in folder.glob(f"{name}*") if path.suffix != ".json"]
    for path in sorted(files, key=lambda path: path.stat().st_mtime, reverse=True):
        # The package writes the record last, so a file without one was cut off.
        if record_path(path).is_file():
            yield Found(path, None)


def _in_hub_cache(repository: str) -> Iterator[Found]:
    home = Path(os.environ.get("HF_HOME") or _user_cache() / "huggingface")
    root = Path(os.environ.get("HF_HUB_CACHE") or home / "hub") / f"models--{repository.replace('/', '--')}"
    for path in sorted(root.glob(f"snapshots/*/{TORCH_WEIGHTS}")):
        if path.is_file():
            yield _hub_file(path)


def _hub_file(path: Path) -> Found:
    config = path.parent / CONFIG
    # The Hub keeps a large file under its SHA-256, and links to it.
    blob = path.resolve().name
    return Found(path, config if config.is_file() else None, blob if re.fullmatch(r"[0-9a-f]{64}", blob) else None)


def remember(found: Found, digest: str) -> None:
    """Record the digest of a file in the package's own folder of weights, where none is recorded yet.

    Args:
        found: A file that has been loaded.
        digest: Its SHA-256.
    """
    if found.recorded is None and found.path.is_relative_to(weights_home()):
        with contextlib.suppress(UserError):  # a folder that cannot be written is no reason not to go on
            record(found.path, digest)


def find(published: Published) -> tuple[Found | None, list[str]]:
    """Look for a published model's weights on this machine.

    Args:
        published: The model.

    Returns:
        The first file that nothing speaks against at a glance, and what is wrong with those before it.
    """
    faults: list[str] = []
    for found in candidates(published):
        fault = quick_fault(found.path, _least(found, published))
        if fault is None:
            return found, faults
        faults.append(f"{found.path} {fault}.")
    return None, faults


def _least(found: Found, published: Published) -> int:
    """Bytes that a file must have; unknown where the configuration beside it is of another size."""
    return published.least if of_same_size(found, published) else 1


def of_same_size(found: Found, published: Published) -> bool:
    """Tell whether the configuration beside a file, if there is one, has the layers of a published model.

    Args:
        found: A file that may be its weights.
        published: The model.

    Returns:
        Also true where there is none, as the published one then applies.
    """
    if found.config is None:
        return True
    try:
        config = read_json(found.config)
    except UserError:
        return False
    return isinstance(config, dict) and all(config.get(k) == published.config[k] for k in ("channel_width", "layers"))


def obtain(published: Published) -> Found:
    """Find a published model's weights, or download them.

    Args:
        published: The model.

    Returns:
        The file.

    Raises:
        UserError: If they are not here and cannot be had; the message says which files to put where.
    """
    found, reasons = find(published)
    if found is not None:
        return found
    if _offline():
        reasons.append("Downloads are switched off by HF_HUB_OFFLINE or DIRECTIONS_OFFLINE.")
    else:
        try:
            mirrored = _from_hub(published)
            if mirrored is not None:
                return mirrored
        except UserError as error:
            reasons.append(str(error))
        try:
            return _from_address(published)
        except UserError as error:
            reasons.append(str(error))
    raise UserError(f"The weights of {published.name} are missing. {' '.join(reasons)} {by_hand(published)}")


def by_hand(published: Published) -> str:
    """Say how to get a published model's weights by hand."""
    mirror = f" (or {TORCH_WEIGHTS} of https://huggingface.co/{published.hub})" if published.hub else ""
    return (
        f"Get {published.url}{mirror} on any machine and put it here as "
        f"{weights_home() / published.name / TORCH_WEIGHTS}, or name its folder with --weights."
    )


def find_plain() -> Found | None:
    """Look for the plain BigGAN's weights, which no address gives directly, in the package's folder of weights."""
    files = (weights_home() / PLAIN_NAME / name for name in PLAIN_FILE_NAMES)
    return next((Found(path, None, recorded_digest(path)) for path in files if path.is_file()), None)


def obtain_plain() -> Found:
    """Find the plain BigGAN's weights.

    Returns:
        The file.

    Raises:
        UserError: If they are not here; the message says which file to put where.
    """
    found = find_plain()
    if found is None:
        raise UserError(f"The weights of {PLAIN_NAME} are missing. {plain_by_hand()}")
    return found


def plain_by_hand() -> str:
    """Say how to get the plain BigGAN's weights."""
    return (
        f"Get {PLAIN_FILE_NAMES[0]} (the generator's moving average) from the checkpoint '138k' that "
        "https://github.com/ajbrock/BigGAN-PyTorch links to, and put it here as "
        f"{weights_home() / PLAIN_NAME / PLAIN_FILE_NAMES[0]}, or name its folder with --weights."
    )


def _offline() -> bool:
    switches = (os.environ.get(name, "") for name in ("HF_HUB_OFFLINE", "DIRECTIONS_OFFLINE"))
    return any(switch.lower() in ("1", "true", "yes", "on") for switch in switches)


def _from_hub(published: Published) -> Found | None:
    """Download through the Hub's own client, into its cache; ``None`` where it is not installed or has no mirror."""
    if published.hub is None:
        return None
    try:
        client = importlib.import_module("huggingface_hub")
        download = client.hf_hub_download
    except ImportError:
        return None
    # Where nothing answers, the client would try for half a minute. It has read the Hub's address by now.
    hub = getattr(getattr(client, "constants", None), "ENDPOINT", None) or os.environ.get("HF_ENDPOINT") or _HUB
    silence = why_unreachable(hub)
    if silence is not None:
        raise DownloadError(f"The Hub ({hub}) cannot be reached: {silence}.")
    try:
        path = Path(download(published.hub, TORCH_WEIGHTS, etag_timeout=10))
        config = Path(download(published.hub, CONFIG, etag_timeout=10))
    except Exception as error:  # the client raises what it likes, and the other source may do
        first = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise DownloadError(f"The Hub did not give the weights: {first.rstrip('.')}.") from error
    found = Found(path, config, _hub_file(path).recorded)
    if published.hub_sha256 is not None and found.recorded not in (None, published.hub_sha256):
        raise DownloadError(
            f"What the Hub has as {published.hub} is not the published file: its SHA-256 is {found.recorded}, not "
            f"{published.hub_sha256}."
        )
    return found


def _from_address(published: Published) -> Found:
    target = weights_home() / published.name / TORCH_WEIGHTS
    digest = fetch(published.url, target, published.expected)
    return Found(target, None, digest)


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Args:
        path: The file.

    Returns:
        Its content.

    Raises:
        UserError: If it is missing or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}. A generator's folder holds {CONFIG}.") from None
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error}). Put the file back as it came with the weights.") from None
