"""What a direction file holds, one float32 tensor and one JSON header in a safetensors file: read, check, write."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import numpy as np
from annotated_types import Predicate
from pydantic import BaseModel, ConfigDict, Field, InstanceOf, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from directions import __version__
from directions.basis import check_orthonormal
from directions.errors import UserError
from directions.files import user_path

FORMAT_VERSION = 2
"""Version of the layout that this release writes: 2 has annotations, a history and a checksum. 1 is read too."""

TENSOR = "directions"
"""Name of the tensor, and of the one metadata key: safetensors writes several keys in a random order."""

CHECKSUM = "sha256"
"""Key of the header under which a file (from format 2 on) keeps its checksum; other code never sees it."""

LONGEST_HEADER = 8_000_000
"""Bytes of the header, at most: reading a hostile file must not take much memory."""

LONGEST_NAME, LONGEST_NOTE = 64, 2000
"""Characters of a name and of a note, at most."""

DEFAULTS: Mapping[str, Any] = {"note": "", "hidden": False, "starred": False}
"""What an entry has where nobody wrote anything; also what format 1, which had none of these, is read as."""

_AGAIN = "Get it again from where it came."
_CONVERT = "If it holds a matrix of directions, convert it: directions convert FILE --to OUT.safetensors"
_LOOKS_LIKE = {
    rb"\Z": "it is empty. The program that wrote it, or a download, was interrupted.",
    rb"PK\x03\x04": f"it is a zip archive, as torch.save writes (.pt, .pth); it may hold pickles. {_CONVERT}",
    rb"\x80[\x02-\x05]": f"it is a pickle; unpickling can run any code. {_CONVERT}",
    rb"\x93NUMPY": f"it is a NumPy array file. {_CONVERT}",
    rb"version https://git-lfs": "it is a Git LFS pointer, not the file itself. Fetch it with git lfs pull.",
    rb"(\xef\xbb\xbf)?\s*<": "it is a web page (HTML or XML), perhaps a failed download. Download the file itself.",
    rb"(\xef\xbb\xbf)?\s*\{": "it is JSON text. Give the direction file, directions.safetensors in a run folder.",
    rb"": f"it is not a safetensors file, or only its beginning. Check the path. {_AGAIN}",
}


def short(value: Any) -> str:
    """Show a value from a file or a user, which may be long or hold control characters, cut to some 40 characters."""
    text = repr(value)
    return text if len(text) <= 41 else f"{text[:40]}…"


def _is_name(name: str) -> bool:
    return name.isprintable() and name.strip() == name and 1 <= len(name) <= LONGEST_NAME and not name.isdecimal()


def _is_note(note: str) -> bool:
    return len(note) <= LONGEST_NOTE and note.replace("\n", "").isprintable()


def _without_gaps(layers: list[int]) -> bool:
    return layers == list(range(layers[0], layers[0] + len(layers)))


# Not str, which has to be UTF-8: the path of a generator may hold any bytes.
_Text = InstanceOf[str]
_Object = dict[Any, Any]
_Index = Annotated[int, Field(ge=0)]
# Of the million faults that a hostile list could have, the first is enough.
_Indices = Annotated[list[_Index], Field(min_length=1, fail_fast=True)]
_Number = Annotated[float, Field(allow_inf_nan=False)]


class _Part(BaseModel):
    """A part of a header; each description says what its field must be. What is not declared here is kept as it is."""

    model_config = ConfigDict(strict=True, extra="allow")


class _Generator(_Part):
    name: _Text = Field(description="text")
    digest: _Text = Field(description="text")
    dim_z: int = Field(description="a whole number")
    resolution: int = Field(description="a whole number")
    path: _Text | None = Field(None, description="text or null")


class _Entry(_Part):
    name: Annotated[str, Predicate(_is_name)] = Field(
        description=f"1 to {LONGEST_NAME} printable characters, trimmed, and must not be a number (that is an index)"
    )
    path_size: Annotated[_Number, Field(gt=0)] = Field(description="a positive number")
    activeness: _Number | None = Field(None, description="a number or null")
    penalty_share: _Number | None = Field(None, description="a number or null")
    confidence: _Number | None = Field(None, description="a number or null")
    note: Annotated[str, Predicate(_is_note)] = Field(
        description=f"at most {LONGEST_NOTE} printable characters (and line ends)"
    )
    hidden: bool = Field(description="true or false")
    starred: bool = Field(description="true or false")


class _Change(_Part):
    time: _Text
    tool_version: _Text
    what: _Text
    before: _Object | None


class _Header(_Part):
    tool_version: _Text = Field(description="text")
    generator: _Generator = Field(description="an object")
    classes: Literal["all"] | _Indices | None = Field(description="a list of class indices, 'all' or null")
    truncation: Annotated[float, Field(gt=0, le=1)] | None = Field(description="a number in (0, 1] or null")
    space: list[_Index] = Field(description="two z indices, [start, stop]", min_length=2, max_length=2)
    layers: Annotated[_Indices, Predicate(_without_gaps)] | None = Field(
        description="a list of layer indices without gaps or null"
    )
    method: _Text = Field(description="text")
    config: _Object = Field(description="an object")
    steps: _Index | None = Field(description="a whole number of at least 0 or null")
    seed: int | None = Field(description="a whole number or null")
    penalty: _Object | None = Field(description="an object or null")
    directions: list[_Entry] = Field(description="a list of objects", fail_fast=True)
    source: _Object | None = Field(description="an object or null")
    order: _Indices | None = Field(description="a list of indices or null")
    history: list[_Change] = Field(
        description="a list of changes with time, tool_version, what and before", fail_fast=True
    )
    joint: _Object = Field({}, description="an object")


class DescribesGenerator(Protocol):
    """What a header keeps of a generator; each is an attribute of every generator."""

    name: str
    digest: str
    dim_z: int
    resolution: int


def digests_of(generator: DescribesGenerator) -> list[str]:
    """Return the digests under which a generator's weights may be recorded: today's, by earlier rules, the file's."""
    kinds = ("digest", "former_digest", "file_digest")
    return [digest for digest in (getattr(generator, kind, None) for kind in kinds) if digest is not None]


def has_digest(generator: DescribesGenerator, digest: str) -> bool:
    """Tell whether a recorded digest is of a generator's weights, by whichever rule."""
    return digest in digests_of(generator)


def make_header(
    generator: DescribesGenerator,
    *,
    path_sizes: Sequence[float],
    classes: Sequence[int] | str | None = None,
    truncation: float | None = None,
    space: tuple[int, int] | None = None,
    method: str = "given",
    config: Mapping[str, Any] | None = None,
    steps: int | None = None,
    seed: int | None = None,
    penalty: Mapping[str, Any] | None = None,
    names: Sequence[str] | None = None,
    activeness: Sequence[float | None] | None = None,
    penalty_shares: Sequence[float | None] | None = None,
    layers: Sequence[int] | None = None,
    source: Mapping[str, Any] | None = None,
    joint: Mapping[str, Any] | None = None,
    joint_columns: Mapping[str, Sequence[Any]] | None = None,
) -> dict[str, Any]:
    """Put together the header of a new set of directions.

    Args:
        generator: The generator that the directions belong to.
        path_sizes: For each direction, how far it is worth going to either side, in latent units.
        classes: The classes that were used, ``"all"``, or ``None`` for a generator without classes.
        truncation: Truncation in (0, 1], or ``None`` where it has no meaning.
        space: First and one past the last z component that was searched.
        method: How the directions were found: ``"adam"``, ``"joint"`` or ``"joint+adam"``.
        config: All settings of the method.
        steps: Number of training steps, or ``None`` for a method without steps.
        seed: Seed of the search, or ``None``.
        penalty: Held-out penalty, at least ``before`` and ``after``, or ``None`` if it was not measured.
        names: A name for each direction; ``None`` names them ``d0``, ``d1``, …
        activeness: For each direction, how much it changes the images, or ``None``.
        penalty_shares: For each direction, the share of the penalty that it takes part in, or ``None``.
        layers: The generator layers that the directions act on, in order and without gaps; ``None`` for all.
        source: Where converted directions come from, or ``None``.
        joint: What is known about the joint solution that the directions are or started from; ``None`` leaves the key
            out.
        joint_columns: ``confidence`` and ``undetermined``, a value for each direction
            (`directions.joint.solve.JointSolution.columns`); ``None`` leaves them out.

    Returns:
        The header, for `directions.Directions`, which checks it.

    Raises:
        UserError: If there are not as many names or numbers as directions.
    """
    number = len(path_sizes)
    names = [f"d{index}" for index in range(number)] if names is None else names
    columns = {"name": names, "path_size": path_sizes, "activeness": activeness, "penalty_share": penalty_shares}
    columns |= joint_columns or {}
    for key, column in columns.items():
        if column is not None and len(column) != number:
            raise UserError(f"{key} must be given for each of {number} directions, got {len(column)}.")
    described = {key: getattr(generator, key) for key in ("name", "digest", "dim_z", "resolution")}
    place = _place(generator.name)
    made = {"format_version": FORMAT_VERSION, "tool_version": __version__, "generator": described}
    scope = {"classes": classes, "truncation": truncation, "space": space or (0, generator.dim_z), "layers": layers}
    search = {"method": method, "config": config or {}, "steps": steps, "seed": seed, "penalty": penalty}
    described |= {} if place is None else {"path": place}
    entries = [
        {**DEFAULTS, **{key: None if column is None else column[index] for key, column in columns.items()}}
        for index in range(number)
    ]
    header = made | scope | search | {"source": source, "directions": entries, "order": None, "history": []}
    return header if joint is None else header | {"joint": joint}


def _place(name: str) -> str | None:
    """Where the file behind a generator's name is, to be found from other folders; ``None`` where it has none."""
    module, _, function = name.rpartition(":")
    file = user_path(module) if module.endswith(".py") else getattr(sys.modules.get(module), "__file__", None)
    if file is not None:
        return f"{os.path.abspath(file)}:{function}"  # noqa: PTH100 — a link is not followed
    is_path = os.sep in name or "." in name or Path(name, "config.json").is_file()
    return os.path.abspath(name) if is_path and os.path.exists(name) else None  # noqa: PTH100, PTH110


def is_found_here(name: str) -> bool:
    """Whether a generator that had a place of its own (a file, a module) is found under its name from this folder."""
    module, colon, _ = name.rpartition(":")
    top = module.split(".")[0]
    if colon and os.sep not in module and not module.endswith(".py"):
        return importlib.util.find_spec(top) is not None or Path(f"{top}.py").exists() or Path(top).is_dir()
    return user_path(module if colon else name).exists()


def as_json(header: Mapping[str, Any]) -> dict[str, Any]:
    """Copy a header through JSON, so that it is equal to what a file gives back.

    Args:
        header: Mappings, sequences, text, finite numbers (NumPy's too), booleans and ``None``.

    Returns:
        A deep copy with lists for tuples and plain numbers.

    Raises:
        UserError: If something in it cannot be written as JSON.
    """
    try:
        # NumPy's numbers and arrays have tolist.
        text = json.dumps(dict(header), allow_nan=False, default=lambda value: value.tolist())
    except (AttributeError, TypeError, ValueError) as error:
        raise UserError(f"The header must hold what JSON can: {error}. Use finite numbers, text, lists.") from error
    return dict(json.loads(text))


def upgraded(header: Mapping[str, Any]) -> dict[str, Any]:
    """Bring a header of any readable format, sound or not, to the newest; one of another format stays as it is."""
    if header.get("format_version") not in (1, FORMAT_VERSION):
        return dict(header)
    new = {"order": None, "history": []} | dict(header) | {"format_version": FORMAT_VERSION}
    if isinstance(new.get("directions"), list):
        unknown = {"activeness": None, "penalty_share": None, **DEFAULTS}
        new["directions"] = [{**unknown, **entry} if isinstance(entry, dict) else entry for entry in new["directions"]]
    return new


def fault_of(matrix: np.ndarray, header: Mapping[str, Any]) -> str | None:
    """Say why a matrix is no set of directions, or a header is not sound or does not belong to it.

    Args:
        matrix: One direction a row; float32 rows are orthonormal to about 1e-6, and must be to 1e-4.
        header: As `upgraded` gives it.

    Returns:
        The first reason, or ``None``.
    """
    reason = check_orthonormal(matrix)
    if reason:
        hint = "The rows must be orthonormal; make them so with directions.gram_schmidt."
        return f"{reason}. {hint if np.isfinite(matrix).all() else 'Every number must be finite.'}"
    version = header.get("format_version")
    if version != FORMAT_VERSION:
        hint = "Upgrade biggan-directions." if isinstance(version, int) and version > FORMAT_VERSION else _AGAIN
        return f"its format_version must be 1 or {FORMAT_VERSION}, got {short(version)}. {hint}"
    return entries_fault(header) or _misfit(matrix, header)


def entries_fault(header: Mapping[str, Any]) -> str | None:
    """Say what in a header is not of the type or in the range that it must be; ``None`` if all is."""
    try:
        _Header.model_validate(header)
    except ValidationError as error:
        key, *inside = error.errors(include_url=False, include_input=False)[0]["loc"]
    else:
        return None
    if key not in header:
        return f"its header lacks {key!r}. Make it with directions.Directions.from_basis."
    model: type[_Part] = _Header
    what, field, parent = f"its header's {key!r}", str(key), dict(header)
    if key == "generator" and inside:
        model, field, parent = _Generator, str(inside[0]), header[key]
        what = f"its header's generator {field}"
    elif key == "directions" and len(inside) > 1:
        model, field, parent = _Entry, str(inside[1]), header[key][inside[0]]
        what = f"the {field} of direction {inside[0]}"
    return f"{what} must be {model.model_fields[field].description}, got {short(parent.get(field))}."


def _misfit(matrix: np.ndarray, header: Mapping[str, Any]) -> str | None:
    """Say where a header, whose entries are sound, contradicts itself or a matrix."""
    ndirs, width = matrix.shape
    names = [entry["name"] for entry in header["directions"]]
    twice = next((name for name in names if names.count(name) > 1), None)
    dim_z, (start, stop), order = header["generator"]["dim_z"], header["space"], header["order"]
    if dim_z != width:
        return f"its header says |z| = {short(dim_z)}, but its rows have {width} numbers."
    if not 0 <= start < stop <= dim_z:
        return f"its header's search space {start}:{stop} must lie in 0:{dim_z} and not be empty."
    if np.any(matrix[:, :start]) or np.any(matrix[:, stop:]):
        return f"its header says that only z components {start}:{stop} move, but its rows are not zero elsewhere."
    if len(names) != ndirs:
        return f"its header describes {len(names)} directions, but its matrix has {ndirs} rows."
    if twice is not None:
        first = names.index(twice)
        second = names.index(twice, first + 1)
        return f"directions {first} and {second} have the same name, {twice!r}; names must be unique."
    if order is not None and sorted(order) != list(range(ndirs)):
        return f"its header's 'order' must name each index from 0 to {ndirs - 1} once, or be null, got {short(order)}."
    return None


def pack(matrix: np.ndarray, header: Mapping[str, Any]) -> bytes:
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
    text = _canonical({**header, CHECKSUM: _checksum(matrix, header)})
    if len(text) > LONGEST_HEADER - 1000:  # room for what safetensors adds
        raise UserError(f"The header must have at most {LONGEST_HEADER:,} bytes, got {len(text):,}. Shorten the notes.")
    return bytes(save({TENSOR: matrix}, metadata={TENSOR: text}))


def unpack(path: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """Read the matrix and the header from a file, and check everything.

    Args:
        path: A direction file.

    Returns:
        The (ndirs, dim_z) float32 matrix, and the header as JSON gives it, in the newest format.

    Raises:
        UserError: If the file is missing, is something else, is damaged, or not sound. The message says which, and
            what to do.
    """
    try:
        if path.is_dir():
            raise UserError(_folder(path))
        if not path.is_file():
            raise UserError(f"There is no direction file {path}. Check the path; runs are in outputs/.")
        matrix, header = _content(path)
        fault = fault_of(matrix, header)
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}. Check that you may read it.") from error
    except _DamageError as error:
        fault = str(error)
    if fault:
        raise UserError(f"{path} is not a usable direction file: {fault}")
    return matrix, header


class _DamageError(Exception):
    """Why bytes are no direction file."""


def _content(path: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """Read a file whose checksum agrees with what it holds."""
    with path.open("rb") as file:
        head = file.read(64)
        length = int.from_bytes(head[:8], "little")
        # A safetensors file opens with a small length, whose bytes rarely spell anything.
        if head[8:9] != b"{" or length > 100_000_000:
            raise _DamageError(next(what for magic, what in _LOOKS_LIKE.items() if re.match(magic, head)))
        if length > LONGEST_HEADER:
            raise _DamageError(f"its header has {length:,} bytes, more than {LONGEST_HEADER:,}. Are these weights?")
    try:
        with safe_open(path, framework="numpy") as tensors:
            names, text = sorted(tensors.keys()), (tensors.metadata() or {}).get(TENSOR)
            if names != [TENSOR]:
                found = ", ".join(map(short, names[:3])) or "none"
                raise _DamageError(f"it must hold one tensor, 'directions', but holds: {found}. Are these weights?")
            if text is None:
                raise _DamageError("it has no header to say what they belong to. Save it with directions.Directions.")
            dtype, shape = tensors.get_slice(TENSOR).get_dtype(), tensors.get_slice(TENSOR).get_shape()
            if dtype != "F32" or len(shape) != 2:
                raise _DamageError(f"it must hold float32 (F32) of shape (directions, |z|), got {dtype} {shape}.")
            matrix = tensors.get_tensor(TENSOR)
        header = json.loads(text, parse_constant=_refuse_constant)
        canonical = _canonical(header)
    except SafetensorError as error:
        raise _DamageError(f"it is damaged, or a part is missing ({error}). {_AGAIN}") from error
    except (ValueError, RecursionError) as error:
        raise _DamageError(f"its header is damaged ({error}). {_AGAIN}") from error
    if not isinstance(header, dict):
        raise _DamageError(f"its header must be a JSON object, got {type(header).__name__}.")
    # The checksum is that of the header as it is written, not of what is made of it: 5 and 5.0 differ. Format 1 had
    # none, and its header may be spelt in any way; of other formats the check of the version says more.
    version, checksum = header.get("format_version"), header.pop(CHECKSUM, None)
    verified = canonical == text and checksum == _checksum(matrix, header)
    if not verified and (version == 2 or (version == 1 and checksum is not None)):
        reason = "its checksum is not that of its content: it is damaged, or another program changed it"
        raise _DamageError(f"{reason}. {_AGAIN} Change it with directions name.")
    return matrix, upgraded(header)


def _canonical(header: Mapping[str, Any]) -> str:
    """Write a header in the one way in which it is written."""
    return json.dumps(header, sort_keys=True, allow_nan=False, separators=(",", ":"))


def _checksum(matrix: np.ndarray, header: Mapping[str, Any]) -> str:
    text = _canonical({key: value for key, value in header.items() if key != CHECKSUM})
    return hashlib.sha256(text.encode("ascii") + matrix.astype("<f4").tobytes()).hexdigest()


def _refuse_constant(word: str) -> float:
    raise ValueError(f"{word} is not a number")


def _folder(path: Path) -> str:
    """Say what to do with a folder in the place of a file."""
    config = path / "config.json"
    if not config.is_file():
        return f"{path} is a folder, not a direction file. Give the path of a file in it."
    if '"training"' in config.read_text(encoding="utf-8", errors="replace"):
        what, verb = "holds a GAN, and no directions. Find some", "--generator"
    else:
        what, verb = "is a run that is not finished, and holds no directions yet. Go on", "--resume"
    return f"{path} {what}: directions discover {verb} {shlex.quote(str(path))}"
