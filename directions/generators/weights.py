"""Weights: where they lie or are fetched from, how files are read without running code, and what they must hold."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import pathlib
import pickle
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from directions.errors import UserError
from directions.files import user_path, write_text

if TYPE_CHECKING:  # torch is imported only where a file is read: the list of generators is to be quick
    from torch import Tensor, nn

CONFIG = "config.json"
WEIGHTS = "weights.safetensors"
TORCH_WEIGHTS = "pytorch_model.bin"
_FAULTS = (
    ((b"<",), "is a web page (HTML or XML), perhaps the answer of a server that wanted a login"),
    ((b"version https://git-lfs",), "is a Git LFS pointer, not the file itself; fetch it with git lfs pull"),
    ((b"\x1f\x8b", b"BZh", b"\xfd7zXZ"), "is compressed; unpack it first"),
)
"""How files begin that are found in place of weights, and what they are."""


@dataclass(frozen=True)
class Published:
    """A published BigGAN: a BigGAN-deep, or the paper's plain one, which no address gives directly.

    Attributes:
        name: What `load_generator` takes.
        resolution: Height and width of the images, in pixels.
        dim_z: |z|.
        blocks: Of a BigGAN-deep: width in, ``+`` where it upsamples or ``-``, width out, in units of 128 channels.
        least: Bytes that its tensors take.
        sha256: Digest of the file at its address, or ``None`` where unknown.
        hub: Repository on the Hub that mirrors it, or ``None``.
        hub_sha256: Digest of the file there, or ``None`` where unknown.
    """

    name: str
    resolution: int
    dim_z: int = 128
    blocks: str = ""
    least: int = 1
    sha256: str | None = None
    hub: str | None = None
    hub_sha256: str | None = None

    @property
    def config(self) -> dict[str, Any]:
        """Fields of ``BigGANConfig``; its layers are (upsample?, width in, width out) of each block."""
        blocks = re.findall(r"(\d+)([+-])(\d+)", self.blocks)
        return {
            "output_dim": self.resolution, "z_dim": self.dim_z, "class_embed_dim": 128, "channel_width": 128,
            "num_classes": 1000, "layers": [[sign == "+", int(a), int(b)] for a, sign, b in blocks],
            "attention_layer_position": 8, "eps": 1e-4, "n_stats": 51,
        }  # fmt: skip

    @property
    def file_names(self) -> tuple[str, ...]:
        """Names that its file may have."""
        if not self.blocks:
            return ("G_ema.pth", "G_ema.safetensors")
        return (WEIGHTS, "model.safetensors", TORCH_WEIGHTS, f"{self.name}-{TORCH_WEIGHTS}")

    @property
    def url(self) -> str:
        """Where ``pytorch_pretrained_biggan`` has its weights."""
        return f"https://s3.amazonaws.com/models.huggingface.co/biggan/{self.name}-pytorch_model.bin"

    @property
    def by_hand(self) -> str:
        """How to get its weights by hand."""
        mirror = f" (or {TORCH_WEIGHTS} of https://huggingface.co/{self.hub})" if self.hub else ""
        source, file = f"{self.url}{mirror} on any machine", TORCH_WEIGHTS
        if not self.blocks:
            source = "G_ema.pth from the checkpoint '138k' that https://github.com/ajbrock/BigGAN-PyTorch links to,"
            file = "G_ema.pth"
        place = weights_home() / self.name / file
        return f"Get {source} and put it here as {place}, or name its folder with --weights."


# The digests are as the Hub and another program's catalogue list them; where there is none, the one of the first use is
# recorded and compared from then on.
PUBLISHED = {
    published.name: published
    for published in (
        Published(
            "biggan-deep-128", 128, blocks="16-16 16+16 16-16 16+8 8-8 8+4 4-4 4+2 2-2 2+1", least=210_749_700,
            hub="osanseviero/BigGAN-deep-128",
            hub_sha256="b86146a8cfcde4cda135adba4b2806f78b3abe2dac9d0fd090cc3ab318604ad9",
        ),
        Published(
            "biggan-deep-256", 256, blocks="16-16 16+16 16-16 16+8 8-8 8+8 8-8 8+4 4-4 4+2 2-2 2+1", least=234_292_740,
            sha256="5900ef4065047e3aa0d1b66197b7f2664dceb59b27080e414ad57e203c485bc5",
        ),
        Published(
            "biggan-deep-512", 512, blocks="16-16 16+16 16-16 16+8 8-8 8+8 8-8 8+4 4-4 4+2 2-2 2+1 1-1 1+1",
            least=235_635_460,
        ),
        Published("biggan-128", 128, dim_z=120),
    )
}  # fmt: skip


def weights_home() -> Path:
    """Return the package's folder of weights: ``$DIRECTIONS_CACHE``, or ``directions`` in the user's cache folder."""
    return user_path(os.environ.get("DIRECTIONS_CACHE") or _user_cache() / "directions")


def _user_cache() -> Path:
    return user_path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")


def given(path: Path, file_names: tuple[str, ...]) -> Path:
    """Take the weights from where the user says.

    Args:
        path: A folder, or the file itself.
        file_names: Names that the file may have in the folder.

    Returns:
        The file.

    Raises:
        UserError: If there is nothing like it.
    """
    wanted = " or ".join(file_names)
    if path.is_dir():
        if found := next((path / name for name in file_names if (path / name).is_file()), None):
            return found
        raise UserError(f"Cannot read {path}: it is a folder without {wanted}.")
    if not path.is_file():
        raise UserError(f"Cannot read {path}: there is no such file or folder. It must have {wanted}.")
    return path


def find(published: Published) -> tuple[Path | None, list[str]]:
    """Look for a published generator's weights on this machine.

    Args:
        published: The generator.

    Returns:
        The first file that nothing speaks against at a glance, and what is wrong with those before it.
    """
    faults: list[str] = []
    for path in filter(Path.is_file, _candidates(published)):
        fault = quick_fault(path, published.least)
        if fault is None:
            return path, faults
        faults.append(f"{path} {fault}.")
    return None, faults


def _candidates(published: Published) -> Iterator[Path]:
    """Files that may be its weights, in order: the package's own folder, the other package's cache, the Hub's."""
    yield from (weights_home() / published.name / name for name in published.file_names)
    # The cache of pytorch_pretrained_biggan names files by digests of the address and of the server's ETag. It writes
    # the record last, so a file without one was cut off.
    folder = user_path(os.environ.get("PYTORCH_PRETRAINED_BIGGAN_CACHE") or "~/.pytorch_pretrained_biggan")
    files = folder.glob(f"{hashlib.sha256(published.url.encode()).hexdigest()}*")
    whole = [path for path in files if path.suffix != ".json" and _record(path).is_file()]
    yield from sorted(whole, key=lambda path: path.stat().st_mtime, reverse=True)
    if published.hub:
        home = Path(os.environ.get("HF_HOME") or _user_cache() / "huggingface")
        root = Path(os.environ.get("HF_HUB_CACHE") or home / "hub") / f"models--{published.hub.replace('/', '--')}"
        yield from sorted(root.glob(f"snapshots/*/{TORCH_WEIGHTS}"))


def is_offline() -> bool:
    """Whether the user has switched downloads off."""
    switches = ("HF_HUB_OFFLINE", "DIRECTIONS_OFFLINE")
    return any(os.environ.get(name, "").lower() in ("1", "true", "yes", "on") for name in switches)


def obtain(published: Published) -> Path:
    """Find a published generator's weights, or download them.

    Args:
        published: The generator.

    Returns:
        The file.

    Raises:
        UserError: If they are not here and cannot be had; the message says which files to put where.
    """
    found, reasons = find(published)
    if found is not None:
        return found
    if published.blocks and is_offline():
        reasons.append("Downloads are switched off by HF_HUB_OFFLINE or DIRECTIONS_OFFLINE.")
    elif published.blocks:
        for fetch in (_from_hub, _from_address):
            try:
                if path := fetch(published):
                    return path
            except UserError as error:  # noqa: PERF203 - there are two
                reasons.append(str(error))
    raise UserError(f"The weights of {published.name} are missing. {' '.join([*reasons, published.by_hand])}")


def _from_hub(published: Published) -> Path | None:
    """Download through the Hub's own client, into its cache; ``None`` where it is not installed or has no mirror."""
    try:
        import huggingface_hub as client
    except ImportError:
        return None
    if published.hub is None:
        return None
    try:
        # Without a network the download would try for half a minute, and this gives up at once.
        client.get_hf_file_metadata(client.hf_hub_url(published.hub, TORCH_WEIGHTS), timeout=4)
        path = Path(client.hf_hub_download(published.hub, TORCH_WEIGHTS, etag_timeout=10))
    except Exception as error:  # the client raises what it likes, and the other source may do
        first = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(f"The Hub did not give the weights: {first.rstrip('.')}.") from error
    digest, known = recorded_digest(path), published.hub_sha256
    if known and digest not in (None, known):
        what = f"What the Hub has as {published.hub}"
        raise UserError(f"{what} is not the published file: its SHA-256 is {digest}, not {known}.")
    return path


def _from_address(published: Published) -> Path:
    """Download from the address of ``pytorch_pretrained_biggan``; what is not the whole file does not stay."""
    import pooch  # type: ignore[import-untyped]
    import requests

    url, target = published.url, weights_home() / published.name / TORCH_WEIGHTS
    partial = target.with_name(target.name + ".partial")
    known = published.sha256 and f"sha256:{published.sha256}"
    pooch.get_logger().setLevel("ERROR")
    store = pooch.create(target.parent, "", registry={partial.name: known}, urls={partial.name: url}, retry_if_failed=2)
    try:
        store.fetch(partial.name, downloader=pooch.HTTPDownloader(progressbar=True, timeout=10))
        if fault := quick_fault(partial, published.least):
            raise ValueError(f"it {fault}.")  # as pooch does where the digest is another
        write_record(target, sha256_of(partial))
        return partial.replace(target)
    except requests.HTTPError as error:
        raise UserError(f"{url} answers {str(error).partition(' for url')[0]}.") from None
    except requests.RequestException as error:
        match = re.search(r"\[Errno -?\d+\] ([^'\")]+)", str(error))
        cause = match[1] if match else "no answer in time" if "timed out" in str(error) else type(error).__name__
        raise UserError(f"{url} cannot be reached: {cause}.") from None
    except OSError as error:
        cause = f"Cannot write {error.filename or target}: {error.strerror}"
        raise UserError(f"{cause}. Free some space, or set DIRECTIONS_CACHE to another folder.") from None
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"What {url} gives is not the published file: {error} It was deleted.") from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def _record(weights: Path) -> Path:
    """Where the record of a file is kept: beside it."""
    return weights.with_name(weights.name + ".json")


def write_record(weights: Path, digest: str) -> None:
    """Keep a file's digest beside it."""
    write_text(_record(weights), json.dumps({"sha256": digest}) + "\n")


def recorded_digest(weights: Path) -> str | None:
    """Return the SHA-256 that a file had when it was downloaded or first used; ``None`` where nothing recorded it."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return str(json.loads(_record(weights).read_text(encoding="utf-8"))["sha256"])
    name = weights.resolve().name  # the Hub keeps a large file under its SHA-256, and links to it
    return name if re.fullmatch(r"[0-9a-f]{64}", name) else None


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def checked_digest(path: Path, *, claim: str | None = None, by: str = CONFIG) -> str:
    """Digest a file and compare with what is known of it.

    Args:
        path: The file.
        claim: SHA-256 that another file says it has.
        by: That file.

    Returns:
        SHA-256 in hexadecimal.

    Raises:
        UserError: If it is another.
    """
    digest = sha256_of(path)
    own = f", or, if you put it there yourself, remove {_record(path).name} beside it"
    for where, expected, advice in ((by, claim, ""), ("its record", recorded_digest(path), own)):
        if expected not in (None, digest):
            what = f"{path} is damaged or from another training"
            raise UserError(f"{what}: its SHA-256 is {digest}, {where} has {expected}. Get it anew{advice}.")
    return digest


def tensors_digest(tensors: Iterable[tuple[str, Tensor]], start: str = "") -> str:
    """Return the SHA-256 of named tensors, in hexadecimal: the same wherever and however they are saved."""
    import torch

    digest = hashlib.sha256(start.encode())
    for name, tensor in tensors:
        data = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {data.dtype} {tuple(data.shape)}".encode())
        digest.update(data.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def quick_fault(path: Path, least: int = 1) -> str | None:
    """Say why a file cannot hold the weights that are looked for, from its size and a few of its bytes.

    Args:
        path: A safetensors file, or one that ``torch.save`` wrote.
        least: Bytes that the tensors alone take.

    Returns:
        The reason, to follow "the file" or its path, or ``None`` if nothing speaks against it.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if not head:
        return "is empty"
    for beginnings, reason in _FAULTS:
        if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(beginnings):
            return reason
    return f"is too small: it has {size:,} bytes, the tensors alone take {least:,}" if size < least else None


def read_config(path: Path) -> dict[str, Any]:
    """Read the configuration of a generator.

    Args:
        path: config.json.

    Returns:
        Its content; empty if it is JSON of another kind.

    Raises:
        UserError: If it is missing or no JSON.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}. A generator's folder holds {CONFIG}.") from None
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error}). Put the file back as it came with the weights.") from None
    return content if isinstance(content, dict) else {}


def read_tensors(path: Path) -> Any:
    """Read a file of tensors.

    Args:
        path: A safetensors file, or one that ``torch.save`` wrote.

    Returns:
        What was saved: a tensor, or containers of tensors and plain values; on the CPU.

    Raises:
        UserError: If it is missing, damaged, something else, or would need code to be run.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if fault := quick_fault(path):
        raise UserError(f"{path} {fault}. Get it anew.")
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what torch warns of is read all the same, or becomes one of the errors below
        is_torch = file.read(4).startswith((b"PK\x03\x04", b"\x80"))  # the zip format, or the older pickle
        file.seek(0)
        try:
            if not is_torch:
                return load_file(path)
            with torch.serialization.safe_globals(_harmless()):
                return torch.load(file, map_location="cpu", weights_only=True)
        except SafetensorError as error:
            what = "is damaged or half a file, or neither of safetensors nor of torch.save"
            raise UserError(f"{path} {what} ({error}). Get it anew.") from None
        except Exception as error:  # noqa: BLE001 - torch raises whatever the damaged bytes lead to
            refused = re.search(r"Unsupported (?:global|class).*?(?:GLOBAL|class) (\S+)", str(error), re.DOTALL)
            if isinstance(error, pickle.UnpicklingError) and refused:
                raise UserError(
                    f"{path} holds more than tensors: {refused[1].strip('.,:`')}. Reading it would run code from the "
                    "file, which is never done. Save the state dict: torch.save(model.state_dict(), path)."
                ) from None
            lines = str(error).rpartition("WeightsUnpickler error:")[2].strip().splitlines()  # without "trust the file"
            reason = (lines or [type(error).__name__])[0][:120]
            raise UserError(f"{path} is damaged or half a file ({reason}). Get it anew.") from None


def _harmless() -> list[Any]:
    """What checkpoints hold beside tensors, of types that can do nothing: options, paths, and NumPy's numbers."""
    import numpy as np

    functions = [value.__reduce__()[0] for value in (np.float64(0), np.zeros(1))]  # named otherwise in each NumPy
    kinds = [getattr(np.dtypes, name) for name in np.dtypes.__all__]
    return [argparse.Namespace, pathlib.PosixPath, np.dtype, np.ndarray, *functions, *kinds]


def read_state_dict(path: Path, fits: Callable[[dict[str, Tensor]], bool]) -> dict[str, Tensor]:
    """Read the state dict of a generator, whatever it is wrapped in.

    Args:
        path: As for `read_tensors`.
        fits: Whether a state dict is the one that is looked for; where none does, it is the one whose key sounds most
            like a generator's moving average.

    Returns:
        Name to tensor: out of the dictionaries around it, such as ``{"G_ema": …, "iteration": …}``, and without the
        ``module.`` and ``_orig_mod.`` that ``DataParallel``, ``AveragedModel`` and ``torch.compile`` put before names.

    Raises:
        UserError: If it cannot be read, or holds no state dict.
    """
    content = read_tensors(path)
    found = sorted(_state_dicts("", content), key=lambda entry: _unlikeness(entry[0]))
    if not found:
        keys = f" of {', '.join(map(repr, content))}"[:200] if isinstance(content, Mapping) and content else ""
        raise UserError(
            f"{path} must hold a state dict (names and tensors), but holds a {type(content).__name__}{keys}. Save the "
            "generator's state dict: torch.save(model.state_dict(), path)."
        )
    variants = (variant for _, state in found for variant in _variants(state))
    return next(filter(fits, variants), next(_variants(found[0][1])))


def _state_dicts(key: str, content: object) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """The state dicts in nested dictionaries, each with its key: mappings of tensors alone, or with dotted names."""
    from torch import Tensor

    if isinstance(content, (list, tuple)):
        content = {str(index): part for index, part in enumerate(content)}
    if not isinstance(content, Mapping):
        return
    tensors = {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}
    if tensors and (len(tensors) == len(content) or any("." in name for name in tensors)):
        yield key, {name: tensor.detach() for name, tensor in tensors.items()}
    else:
        for name, value in content.items():
            if isinstance(name, str) and "optim" not in name:
                yield from _state_dicts(f"{key}.{name}", value)


def _unlikeness(key: str) -> tuple[bool, bool, bool]:
    """Sorts keys of checkpoints: generators before discriminators, moving averages before others."""
    key = key.lower()
    is_discriminator = re.search(r"(^|[._])(net_?)?d(isc\w*)?([._]|$)", key) is not None
    is_generator = re.search(r"(^|[._])(net_?)?g(en\w*)?([._]|$)", key) is not None
    return is_discriminator, "ema" not in key, not is_generator


def _variants(state: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """A state dict without what wrappers put before all names, as it is, and the parts under each first word."""
    plain = {name.replace("_orig_mod.", ""): tensor for name, tensor in state.items() if name != "n_averaged"}
    while plain and all(name.startswith("module.") for name in plain):
        plain = {name.removeprefix("module."): tensor for name, tensor in plain.items()}
    yield plain
    yield state
    for first in dict.fromkeys(name.partition(".")[0] for name in plain if "." in name):
        inner = {name[len(first) + 1 :]: tensor for name, tensor in plain.items() if name.startswith(f"{first}.")}
        yield from _variants(inner)


def _differences(wanted: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]) -> str:
    """How many tensors of a file are not what an architecture needs, and which is the first; empty where none is."""
    missing = [f"{name} {wanted[name]}" for name in sorted(wanted.keys() - found.keys())]
    surplus = [f"{name} {found[name]}" for name in sorted(found.keys() - wanted.keys())]
    both = sorted(wanted.keys() & found.keys())
    other = [f"{n}: {wanted[n]} is needed, got {found[n]}" for n in both if wanted[n] != found[n]]
    kinds = {"tensors are missing": missing, "are not of this architecture": surplus, "have other shapes": other}
    return "; ".join(f"{len(some)} {kind}, such as {some[0]}" for kind, some in kinds.items() if some)


def shapes(tensors: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor; what else a state dict holds is left out."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items() if hasattr(tensor, "shape")}


def unwrapped(module: nn.Module) -> nn.Module:
    """Return the module inside ``DataParallel``, ``AveragedModel`` and what ``torch.compile`` made of one."""
    from torch.nn.parallel import DataParallel, DistributedDataParallel
    from torch.optim.swa_utils import AveragedModel

    inner = getattr(module, "_orig_mod", None)
    if inner is None and isinstance(module, (DataParallel, DistributedDataParallel, AveragedModel)):
        inner = module.module
    return module if inner is None else unwrapped(inner)


def load_weights(module: nn.Module, file: str | os.PathLike[str]) -> nn.Module:
    """Read weights into a module, however they were saved; nothing in the file is run.

    Args:
        module: Any; also inside ``DataParallel``, ``AveragedModel`` or ``torch.compile``.
        file: safetensors or of ``torch.save``: a state dict, or a checkpoint that holds one beside other things, such
            as ``{"G_ema": …}`` or ``{"netG_state_dict": …}``. Names may begin with ``module.``, ``_orig_mod.`` or the
            name that the generator had in a larger model. Of several that fit, a moving average is taken.

    Returns:
        The module.

    Raises:
        UserError: If the file cannot be read, or nothing in it has the module's names and shapes.

    Example:
        >>> import tempfile, torch
        >>> path = tempfile.mkdtemp() + "/checkpoint.pt"
        >>> torch.save({"netG_state_dict": {"module.weight": torch.ones(1, 2)}, "epoch": 3}, path)
        >>> load_weights(torch.nn.Linear(2, 1, bias=False), path).weight
        Parameter containing:
        tensor([[1., 1.]], requires_grad=True)
    """
    inner = unwrapped(module)
    load_into(inner, user_path(file), type(inner).__qualname__)
    return module


def load_into(module: nn.Module, path: Path, what: str) -> None:
    """Read a file of weights into a module.

    Args:
        module: Its parameters and buffers are what the file must hold; counters of batch norms may be missing.
        path: As for `read_state_dict`.
        what: What the file must fit, for messages.

    Raises:
        UserError: If it cannot be read, or has other names or shapes.
    """
    wanted = shapes(module.state_dict())
    counters = {name: shape for name, shape in wanted.items() if name.endswith(".num_batches_tracked")}
    state = read_state_dict(path, lambda state: counters | shapes(state) == wanted)
    if problem := _differences(wanted, counters | shapes(state)):
        raise UserError(f"{path} does not fit {what}: {problem}.")
    module.load_state_dict(state, strict=False)
