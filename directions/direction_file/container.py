"""The bytes of a direction file: one float32 tensor and one JSON header in a safetensors file.

Before it: a checked matrix and header (``header.py``). After it: ``file.py``, which gives both to
other code. This module knows the format and what other files look like, and never unpickles anything. It needs neither
torch nor the rest of the package, so that a direction file can be read in a moment.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from directions.direction_file.lookup import short
from directions.errors import UserError

TENSOR = "directions"
"""Name of the tensor, and of the one metadata key.

One key, because safetensors writes several in a random order.
"""

CHECKSUM = "sha256"
"""Key of the header under which a file (from format 2 on) keeps its checksum; other code never sees it."""

LONGEST_HEADER = 8_000_000
"""Bytes of the preamble, which holds the header, at most: reading a hostile file must not take much memory."""

_AGAIN = "Get it again from where it came."
_HOW_TO_CONVERT = (
    "If it holds a matrix of directions, convert it, which unpickles nothing: directions convert FILE --to "
    "OUT.safetensors"
)
_LOOKS_LIKE: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", f"it is a zip archive, as torch.save writes (.pt, .pth); it may hold pickles. {_HOW_TO_CONVERT}"),
    (b"\x80\x02", f"it is a pickle, as old torch.save wrote; unpickling can run any code. {_HOW_TO_CONVERT}"),
    (b"\x80\x03", f"it is a pickle; unpickling can run any code. {_HOW_TO_CONVERT}"),
    (b"\x80\x04", f"it is a pickle; unpickling can run any code. {_HOW_TO_CONVERT}"),
    (b"\x80\x05", f"it is a pickle; unpickling can run any code. {_HOW_TO_CONVERT}"),
    (b"\x93NUMPY", "it is a NumPy array file. Convert it: directions convert FILE --to OUT.safetensors"),
    (b"version https://git-lfs", "it is a Git LFS pointer, not the file itself. Fetch it with git lfs pull."),
    (b"<", "it is a web page (HTML or XML), perhaps a download that failed. Download the file itself."),
    (b"{", "it is JSON text. Give the path of the direction file, directions.safetensors in a run folder."),
)


def pack(matrix: np.ndarray, header: dict[str, Any]) -> bytes:
    """Turn a matrix and its header into the bytes of a file; the same content always gives the same bytes.

    The header is written as sorted JSON without blanks, and carries the SHA-256 of that text followed by the matrix
    (little-endian, row by row).

    Args:
        matrix: (ndirs, dim_z) float32, one direction a row.
        header: What JSON can hold.

    Returns:
        The whole file.

    Raises:
        UserError: If the header is longer than what is read again.
    """
    matrix = np.ascontiguousarray(matrix, dtype=np.float32)
    text = _canonical(header | {CHECKSUM: _checksum(matrix, header)})
    packed = bytes(save({TENSOR: matrix}, metadata={TENSOR: text}))
    length = len(packed) - matrix.nbytes
    if length > LONGEST_HEADER:
        raise UserError(
            f"The header must have at most {LONGEST_HEADER:,} bytes, got {length:,}. Shorten config or notes."
        )
    return packed


def unpack(path: str | os.PathLike[str]) -> tuple[np.ndarray, dict[str, Any]]:
    """Read the matrix and the header from a file, whose numbers and entries are still to be checked.

    Args:
        path: A direction file.

    Returns:
        The (ndirs, dim_z) float32 matrix, and the header as JSON gives it.

    Raises:
        UserError: If the file is missing, is something else, is damaged, or holds other tensors. The message says
            which, and what to do.
    """
    path = Path(path)
    layout, data = _read(path)
    try:
        header = json.loads(layout["__metadata__"][TENSOR], parse_constant=_refuse_constant)
        canonical = _canonical(header) == layout["__metadata__"][TENSOR]
    except (ValueError, RecursionError) as error:
        raise UserError(_refused(path, f"its header is damaged ({error}). {_AGAIN}")) from error
    if not isinstance(header, dict):
        raise UserError(_refused(path, f"its header must be a JSON object, got {type(header).__name__}."))
    try:
        matrix = load(data)[TENSOR]
    except SafetensorError as error:
        raise UserError(_refused(path, f"it is damaged ({error}). {_AGAIN}")) from error
    if not _is_verified(matrix, header, canonical=canonical):
        raise UserError(
            _refused(
                path,
                "its checksum is not that of its content: it is damaged, or another program changed it. "
                f"{_AGAIN} Change it with directions name.",
            )
        )
    return matrix, {key: value for key, value in header.items() if key != CHECKSUM}


def _canonical(header: dict[str, Any]) -> str:
    """Write a header in the one way in which it is written."""
    return json.dumps(header, sort_keys=True, allow_nan=False, separators=(",", ":"))


def _checksum(matrix: np.ndarray, header: dict[str, Any]) -> str:
    """Compute the checksum of a header, its own key left out, and a matrix."""
    text = _canonical({key: value for key, value in header.items() if key != CHECKSUM})
    return hashlib.sha256(text.encode("ascii") + matrix.astype("<f4").tobytes()).hexdigest()


def _is_verified(matrix: np.ndarray, header: dict[str, Any], *, canonical: bool) -> bool:
    """Whether a file agrees with its checksum, or is of a format without one."""
    # Format 1 had none, and its header may be spelt in any way; of other versions the header's check will say more.
    version = header.get("format_version")
    if version not in (1, 2) or (version == 1 and CHECKSUM not in header):
        return True
    return canonical and header.get(CHECKSUM) == _checksum(matrix, header)


def _refuse_constant(word: str) -> float:
    """Refuse the NaN and infinities that Python's JSON reader lets through; none of the header's numbers may be one."""
    raise ValueError(f"{word} is not a number")


def _refused(path: Path, why: str) -> str:
    """Say of a file that it is there but cannot be used."""
    return f"{path} is not a usable direction file: {why}"


def _read(path: Path) -> tuple[dict[str, Any], bytes]:
    """Read the safetensors preamble, and then, if it is that of a direction file, the whole file."""
    # Through one handle: another program may put a new file in the place of this one meanwhile.
    try:
        if path.exists() and not path.is_file() and not path.is_dir():  # opening a pipe would wait for its writer
            raise UserError(_refused(path, "it is not a regular file. Give the path of one."))
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(64)
            length = _preamble_length(path, head, size)
            file.seek(8)
            preamble = file.read(length)
            layout = _parse_layout(path, preamble)
            _check_layout(path, layout, size=size, start=8 + length)
            return layout, head[:8] + preamble + file.read(size - 8 - length)
    except IsADirectoryError:
        inside = path / "directions.safetensors"
        hint = f"Did you mean {inside}?" if inside.is_file() else "Give the path of a file in it."
        raise UserError(f"{path} is a folder, not a direction file. {hint}") from None
    except FileNotFoundError:
        raise UserError(f"There is no direction file {path}. Check the path; runs are in outputs/.") from None
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}. Check that you may read it.") from error


def _parse_layout(path: Path, preamble: bytes) -> dict[str, Any]:
    """Read what a preamble says: tensor names, types, shapes, metadata."""
    try:
        if not preamble.rstrip(b" ").endswith(b"}"):  # blanks pad it; JSON would take other white space as well
            raise ValueError("they do not end where they say")
        return _checked_layout(json.loads(preamble.decode("utf-8")))
    except (ValueError, RecursionError) as error:
        raise UserError(_refused(path, f"its first bytes are damaged ({error}). {_AGAIN}")) from error


def _check_layout(path: Path, layout: dict[str, Any], *, size: int, start: int) -> None:
    """Check that a file has all its bytes and holds what a direction file holds."""
    tensors = {name: entry for name, entry in layout.items() if name != "__metadata__"}
    expected = start + max((entry["data_offsets"][1] for entry in tensors.values()), default=0)
    if size < expected:
        raise UserError(_truncated(path, size, expected))
    if size > expected:
        raise UserError(_refused(path, f"it has {size - expected} bytes too many at the end. {_AGAIN}"))
    if set(tensors) != {TENSOR}:
        found = ", ".join(map(short, sorted(tensors)[:3])) + (", …" if len(tensors) > 3 else "") if tensors else "none"
        raise UserError(
            _refused(path, f"it must hold one tensor, 'directions', but holds: {found}. Are these model weights?")
        )
    if TENSOR not in layout.get("__metadata__", {}):
        raise UserError(
            _refused(path, "it has no header to say what they belong to. Save it with directions.Directions.")
        )
    dtype, shape = tensors[TENSOR]["dtype"], tensors[TENSOR]["shape"]
    if dtype != "F32":
        raise UserError(
            _refused(path, f"its numbers must be float32 (F32), got {short(dtype)}. Save it again with directions.")
        )
    if len(shape) != 2 or 0 in shape:
        raise UserError(_refused(path, f"its tensor must have the shape (directions, |z|), got {short(tuple(shape))}."))


def _checked_layout(layout: object) -> dict[str, Any]:
    """Check that a preamble has the form that safetensors gives it, whatever was damaged in it."""
    if not isinstance(layout, dict):
        raise ValueError(f"a JSON {type(layout).__name__} and not an object")
    for name, entry in layout.items():
        if not isinstance(entry, dict):
            raise ValueError(f"the entry {short(name)} is not an object")
        if name == "__metadata__":
            sound = all(isinstance(value, str) for value in entry.values())
        else:
            offsets = entry.get("data_offsets", [])
            sound = isinstance(entry.get("dtype"), str) and _are_counts(entry.get("shape"))
            sound = sound and _are_counts(offsets) and len(offsets) == 2
        if not sound:
            raise ValueError(f"the entry {short(name)} does not describe a tensor")
    return layout


def _are_counts(values: object) -> bool:
    """Whether something from JSON is a list of whole numbers from 0 up."""
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)


def _preamble_length(path: Path, head: bytes, size: int) -> int:
    """Recognise a safetensors file by its first bytes, or say what the file is instead."""
    if size == 0:
        raise UserError(_refused(path, "it is empty. The program that wrote it, or a download, was interrupted."))
    # A safetensors file opens with a small little-endian length, so its 2nd to 8th bytes rarely spell anything: look
    # for other formats first only where the preamble does not follow.
    (length,) = struct.unpack("<Q", head[:8].ljust(8, b"\0"))
    if head[8:9] == b"{" and length <= 100_000_000:  # what safetensors itself allows
        if length > LONGEST_HEADER:
            raise UserError(
                _refused(
                    path, f"its header has {length:,} bytes, of at most {LONGEST_HEADER:,}. Are these model weights?"
                )
            )
        if 8 + length > size:
            raise UserError(_truncated(path, size, 8 + length))
        return int(length)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    for magic, what in _LOOKS_LIKE:
        if head.startswith(magic) or text.startswith(magic):
            raise UserError(_refused(path, what))
    if len(head) <= 8:
        raise UserError(_truncated(path, size, 8 + length))
    raise UserError(_refused(path, f"it is not a safetensors file (it begins with {head[:8]!r}). Check the path."))


def _truncated(path: Path, size: int, expected: int) -> str:
    """Say of a file that its end is missing."""
    return _refused(path, f"it is truncated: {size} bytes of at least {expected}. Copy or download it again.")
