"""Look at a file of weights without reading it: is it there, whole, and what it should be?

Before ``state_dict``, which reads it, and for the list of generators, which must not. Torch is not imported.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

from directions.atomic import write_text
from directions.errors import UserError

_CHUNK = 1 << 20
_TAR_MAGIC = slice(257, 262)


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
            head = file.read(512)
    except IsADirectoryError:
        return "is a folder, not a file"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    kind = fault_of_beginning(head)
    if kind:
        return kind
    if head.startswith(b"PK") and not zipfile.is_zipfile(path):
        return f"is half a file: it has {size:,} bytes and its end is missing"
    expected = _safetensors_size(path, head, size)
    if expected is not None and size < expected:
        return f"is half a file: it has {size:,} of {expected:,} bytes"
    if size < least:
        return f"is too small: it has {size:,} bytes, the tensors alone take {least:,}"
    return None


def fault_of_beginning(head: bytes) -> str | None:
    """Say from its first bytes what a file is instead of weights.

    Args:
        head: Its beginning, a few hundred bytes.

    Returns:
        The reason, to follow "the file" or its path, or ``None`` if it may be weights.
    """
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not head:
        return "is empty"
    if text.startswith(b"<"):
        return "is a web page (HTML or XML), perhaps the answer of a server that wanted a login"
    if head.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the file itself; fetch it with git lfs pull"
    if head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ")):
        return "is compressed; unpack it first"
    if head[_TAR_MAGIC] == b"ustar" and b"pickle" not in head[:100]:
        return "is a tar archive; unpack it first"
    return None


def looks_like_torch(head: bytes) -> bool:
    """Tell whether ``torch.save`` may have written a file: the zip format, or the older pickle.

    Args:
        head: The first bytes.

    Returns:
        Whether it may.
    """
    return head.startswith((b"PK\x03\x04", b"\x80"))


def sha256_of(path: Path) -> str:
    """Digest a file.

    Args:
        path: Any file.

    Returns:
        SHA-256 in hexadecimal.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def record_path(weights: Path) -> Path:
    """Where the record of a downloaded file is kept: beside it."""
    return weights.with_name(weights.name + ".json")


def recorded_digest(weights: Path) -> str | None:
    """Read the digest that was recorded when a file was downloaded, or first used.

    Args:
        weights: The file.

    Returns:
        SHA-256 in hexadecimal, or ``None`` where none was recorded.
    """
    try:
        digest = json.loads(record_path(weights).read_text(encoding="utf-8"))["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return digest if isinstance(digest, str) else None


def checked_digest(path: Path, recorded: str | None, claims: Mapping[str, str | None] | None = None) -> str:
    """Digest a file and compare with what is known of it.

    Args:
        path: The file.
        recorded: SHA-256 in the record beside it, if there is one.
        claims: SHA-256 that others say it has, by who says so.

    Returns:
        SHA-256 in hexadecimal.

    Raises:
        UserError: If it is another.
    """
    digest = sha256_of(path)
    own = f"or, if you put it there yourself, remove {record_path(path).name} beside it"
    for where, expected, advice in (
        *((where, expected, "") for where, expected in (claims or {}).items()),
        ("its record", recorded, f", {own}"),
    ):
        if expected not in (None, digest):
            raise UserError(
                f"{path} is damaged or from another training: its SHA-256 is {digest}, {where} has {expected}. Get it "
                f"anew{advice}."
            )
    return digest


def record(path: Path, digest: str, **more: object) -> None:
    """Write a file's record beside it.

    Args:
        path: The file.
        digest: Its SHA-256.
        **more: What else is to be kept of it.
    """
    content = {**more, "size": path.stat().st_size, "sha256": digest}
    write_text(record_path(path), json.dumps(content, sort_keys=True) + "\n")


def _safetensors_size(path: Path, head: bytes, size: int) -> int | None:
    """Size that a safetensors file says it has; ``None`` for other files."""
    length = int.from_bytes(head[:8], "little")
    if head[8:9] != b"{" or length > 100_000_000:
        return None
    if 8 + length > size:
        return 8 + length
    with path.open("rb") as file:
        file.seek(8)
        try:
            layout = json.loads(file.read(length))
            ends = [entry["data_offsets"][1] for name, entry in layout.items() if name != "__metadata__"]
        except (ValueError, TypeError, KeyError, AttributeError, IndexError):
            return None
    return 8 + length + max(ends, default=0)
