"""Read directions that other programs wrote.

First stop of a conversion; nothing that would need code from the file is ever read. ``conversion`` makes the rows
orthonormal.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from directions.errors import UserError
from directions.generators.state_dict import read_tensors, shapes


def read_foreign(path: Path) -> tuple[Tensor, str]:
    """Read directions that another program wrote.

    Args:
        path: A ``.npy`` array or a ``torch.save`` of one matrix, a direction a row (the paper's and OroJaR's raw A, or
            orthonormal rows); or the state dict of a GANLatentDiscovery deformator.

    Returns:
        (ndirs, width) float64, a direction a row, not orthonormal yet; and the form in words.

    Raises:
        UserError: If it is none of these, would need code to be run, or is damaged.
    """
    if not path.is_file():
        raise UserError(f"There is no file {path}. Check the path.")
    with path.open("rb") as file:
        head = file.read(6)
    if head == b"\x93NUMPY":
        return _checked(_read_npy(path), path), "array (.npy)"
    content = read_tensors(path)
    if isinstance(content, Tensor):
        return _checked(_dense(content, path), path), "matrix (torch.save)"
    if isinstance(content, Mapping) and content and all(isinstance(value, Tensor) for value in content.values()):
        matrix, form = _deformator({str(name): _dense(value, path) for name, value in content.items()}, path)
        return _checked(matrix, path), form
    raise UserError(
        f"{path} must hold one matrix, a direction a row, or a deformator's state dict; it holds a "
        f"{type(content).__name__}."
    )


def _read_npy(path: Path) -> Tensor:
    try:
        array = np.load(path, allow_pickle=False)
    except ValueError as error:
        if "Object arrays" in str(error):
            raise UserError(
                f"{path} holds Python objects. Reading it would run code from the file, which is never done. Save an "
                "array of numbers."
            ) from None
        raise UserError(f"{path} is damaged or half a file ({error}). Get it anew.") from None
    except (OSError, EOFError) as error:
        raise UserError(f"{path} is damaged or half a file ({error}). Get it anew.") from None
    if array.dtype.kind not in "fiu":
        raise UserError(f"{path} must hold real numbers, got {array.dtype}.")
    return torch.from_numpy(array.astype(np.float64))


def _deformator(state: Mapping[str, Tensor], path: Path) -> tuple[Tensor, str]:
    """The directions of a deformator: what it makes of the unit vectors, which are the columns of its matrix."""
    if set(state) == {"log_mat_half"}:
        half = state["log_mat_half"].double()
        if half.ndim == 2 and half.shape[0] == half.shape[1]:
            return torch.linalg.matrix_exp(half - half.mT).mT, "deformator, orthogonal"
    if "linear.weight" in state and set(state) <= {"linear.weight", "linear.bias"}:
        # The bias moves every image alike, whatever the direction.
        return state["linear.weight"].mT, "deformator, linear (without its bias)"
    if "directions" in state:
        raise UserError(
            f"{path} is a direction file already. Use it as it is, or look at it: directions inspect {path}"
        )
    if any(name.startswith("fc1.") for name in state):
        raise UserError(
            f"{path} is a deformator with hidden layers: it bends, and has no directions that are the same everywhere. "
            "Only the linear, projective and orthogonal kinds can be converted."
        )
    found = ", ".join(f"{name} {shape}" for name, shape in list(shapes(state).items())[:3])
    raise UserError(
        f"{path} is no deformator's state dict: log_mat_half, or linear.weight and linear.bias, are needed, got {found}"
        f"{', …' if len(state) > 3 else ''}. Are these the weights of a generator?"
    )


def _dense(tensor: Tensor, path: Path) -> Tensor:
    """The tensor, if it holds its numbers one by one."""
    kinds = {
        "a tensor without values (on the device 'meta')": tensor.is_meta,
        "a quantized tensor": tensor.is_quantized,
        "a nested tensor": tensor.is_nested,
        f"a sparse tensor ({tensor.layout})": tensor.layout != torch.strided,
    }
    for kind, is_one in kinds.items():
        if is_one:
            raise UserError(
                f"{path} must hold a matrix of plain numbers, got {kind}. Save a dense one of floats "
                "(tensor.to_dense(), tensor.dequantize()) with torch.save."
            )
    return tensor.detach()


def _checked(matrix: Tensor, path: Path) -> Tensor:
    if matrix.ndim != 2 or 0 in matrix.shape or matrix.is_complex():
        raise UserError(f"{path} must hold a matrix, a direction a row, got shape {tuple(matrix.shape)}.")
    if len(matrix) > matrix.shape[1]:
        raise UserError(
            f"{path} holds {len(matrix)} directions of {matrix.shape[1]} components: no more than "
            f"{matrix.shape[1]} can be orthonormal. If its directions are columns, transpose it; else take fewer."
        )
    matrix = matrix.double()
    if not matrix.isfinite().all():
        raise UserError(f"{path} holds NaN or infinity. Get it anew.")
    return matrix
