"""Read tensors from files that others wrote, without running anything in them, and compare names and shapes.

Between a file and the loaders of generators (and the converter of direction files): safetensors, and what
``torch.save`` writes, in its zip and its older format, with ``weights_only=True`` always.
"""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from directions.errors import UserError
from directions.generators.weight_files import looks_like_torch, quick_fault


def read_tensors(path: Path, *, least: int = 1) -> Any:
    """Read a file of tensors.

    Args:
        path: A safetensors file, or one that ``torch.save`` wrote.
        least: Bytes that the tensors alone take.

    Returns:
        What was saved: a tensor, or containers of tensors and plain values; on the CPU.

    Raises:
        UserError: If it is missing, damaged, something else, or would need code to be run.
    """
    fault = quick_fault(path, least)
    if fault:
        raise UserError(f"{path} {fault}. Get it anew.")
    with path.open("rb") as file:
        head = file.read(16)
    if not looks_like_torch(head):
        try:
            return load_file(path)
        except SafetensorError as error:
            raise UserError(f"{path} is no safetensors file, nor one of torch.save ({error}). Get it anew.") from None
    try:
        # Not the path: torch would go by its suffix. What it warns of (a pickle of another kind, quantized tensors) is
        # either read all the same or becomes one of the errors below.
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # Damage in an old file shows up in the unpickler too, so only what torch refuses by name is called code.
        if "Unsupported global" in str(error) or "Unsupported class" in str(error):
            raise UserError(
                f"{path} holds more than tensors: {_refused_name(str(error))}. Reading it would run code from the "
                "file, which is never done. Save the plain tensors or the state dict: torch.save(model.state_dict(), "
                "path)."
            ) from None
        raise UserError(
            f"{path} is damaged or no file of tensors ({_unpickler_line(error)}). Get it anew, or write it "
            "with torch.save."
        ) from None
    except (RuntimeError, EOFError, ValueError, KeyError, AttributeError, TypeError, IndexError, OSError) as error:
        raise UserError(f"{path} is damaged or half a file ({_first_line(error)}). Get it anew.") from None


def read_state_dict(path: Path, *, least: int = 1) -> dict[str, Tensor]:
    """Read a state dict.

    Args:
        path: As for `read_tensors`.
        least: Bytes that the tensors alone take.

    Returns:
        Name to tensor, without the ``module.`` that ``DataParallel`` puts before every name.

    Raises:
        UserError: If it cannot be read, or is no state dict.
    """
    content = read_tensors(path, least=least)
    if isinstance(content, Mapping) and set(content) == {"state_dict"}:
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not content:
        raise UserError(f"{path} must hold a state dict (names and tensors), but holds a {type(content).__name__}.")
    for name, tensor in content.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise UserError(
                f"{path} must hold a state dict (names and tensors), but its entry {name!r} is a "
                f"{type(tensor).__name__}. Save the generator's state dict alone."
            )
    prefixed = all(name.startswith("module.") for name in content)
    return {name.removeprefix("module.") if prefixed else name: tensor.detach() for name, tensor in content.items()}


def first_difference(wanted: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]) -> str | None:
    """Compare names and shapes.

    Args:
        wanted: What an architecture needs.
        found: What a file holds.

    Returns:
        How many tensors differ and which is the first, or ``None`` where none does.
    """
    missing = sorted(wanted.keys() - found.keys())
    surplus = sorted(found.keys() - wanted.keys())
    other = sorted(name for name in wanted.keys() & found.keys() if wanted[name] != found[name])
    parts = []
    if missing:
        parts.append(f"{len(missing)} tensors are missing, such as {missing[0]} {wanted[missing[0]]}")
    if surplus:
        parts.append(f"{len(surplus)} are not of this architecture, such as {surplus[0]} {found[surplus[0]]}")
    if other:
        name = other[0]
        parts.append(f"{len(other)} have other shapes, such as {name}: {wanted[name]} is needed, got {found[name]}")
    return "; ".join(parts) or None


def shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]


def _unpickler_line(error: BaseException) -> str:
    """The first line that is not torch's advice to trust the file."""
    reason = str(error).rpartition("WeightsUnpickler error:")[2].strip()
    return _first_line(ValueError(reason)) if reason else _first_line(error)


def _refused_name(message: str) -> str:
    match = re.search(r"(?:GLOBAL|class) (\S+)", message)
    return match[1].strip(".,:`'\"") if match else "an object of some class"
