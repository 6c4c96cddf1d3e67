"""Other programs' directions as direction files: the paper's, OroJaR's, GANLatentDiscovery's, and plain arrays."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from directions.basis import SearchSpace, gram_schmidt
from directions.direction_file import Directions
from directions.direction_file.annotate import LARGEST_PATH_SIZE, check_new
from directions.direction_file.format import DescribesGenerator, make_header
from directions.errors import UserError, nearest
from directions.generators.weights import read_tensors, sha256_of, shapes

DIM_Z = 120
"""|z| of the paper's BigGAN-128, the generator that all of its files belong to."""

PATH_SIZE = 5.0
"""The paper's viewer's: how far it goes to either side, in units of z."""


@dataclass(frozen=True)
class PublishedFile:
    """What is known of one of the paper's files of directions.

    Attributes:
        sha256: Its digest.
        classes: Classes that it was learned on; ``None`` where that is not known.
        space: z components that move, of `DIM_Z`.
        names: Index to name, of the directions that the paper names.
    """

    sha256: str
    classes: tuple[int, ...] | None
    space: tuple[int, int] = (0, DIM_Z)
    names: Mapping[int, str] = field(default_factory=dict)


_GOLDENS = "393a09048e089b343bfd83531bcc5ae34fcd39b2212a0d47d475577dbbe37933"
_COARSE = "ea4a1bf844c32558d95ba6d1b50b7b7209bef40dcf2176bf19b5deb06a92f8de"
_MID = "a7ea15fcc1fefac4cf966541638c97e61bcaa87b6450f973b463326054803ec5"
_FINE = "3b5b34a8f8ecfce0199d88b595e0ee011cf249e2ee791b80987765204b1b96e1"
_CHURCH = "c938bd7a4d3c1644034f885b121a66fa0c61f4fec8587b7c31ff6318838b1c08"
_VOYNOV = "f5b8e91d3f7c68a36e6ee93a6de197ecaf82ed74e90df6bcd971b94b21225b60"
_MID_NAMES = {0: "background removal", 5: "colorization", 8: "scene lighting", 25: "object lighting"}
_FINE_NAMES = {1: "red filter", 5: "brightness", 13: "white filter", 20: "saturation"}

PUBLISHED_FILES: dict[str, PublishedFile] = {
    "goldens": PublishedFile(_GOLDENS, (207,), names={5: "rotation", 6: "zoom", 8: "smoosh"}),
    "goldens-coarse": PublishedFile(_COARSE, (207,), (0, 40)),
    "goldens-mid": PublishedFile(_MID, (207,), (40, 80), _MID_NAMES),
    "goldens-fine": PublishedFile(_FINE, (207,), (80, 120), _FINE_NAMES),
    "church": PublishedFile(_CHURCH, (497,), names={4: "rotation", 14: "shifting", 55: "colorization"}),
    "voynov": PublishedFile(_VOYNOV, None),
}
"""The files that the paper publishes (our_goldens.pt and so on), and the directions that it names."""


def convert(
    path: Path, generator: DescribesGenerator, *, published: str | None = None, names: Mapping[int, str] | None = None,
    classes: Sequence[int] | str | None = None, space: str | None = None, path_size: float = PATH_SIZE,
) -> Directions:  # fmt: skip
    """Turn another program's file into directions, made orthonormal as the paper's own viewer does: by Gram–Schmidt.

    Args:
        path: As for `read_foreign`.
        generator: The generator that they belong to; its digest may be empty where it is not known.
        published: Key in `PUBLISHED_FILES` whose names, classes and space apply; ``None`` recognises the paper's files
            by their digest. Only for a generator with their |z|; the names only where the directions are in their
            published space, for which they were given.
        names: Index to name, over those of the published table; the others are called d0, d1, …
        classes: Classes that they were learned on; ``None`` takes the published ones, or ``"all"``.
        space: z components that move, ``"start:stop"``; ``None`` takes the published ones, or all of z.
        path_size: How far they are worth going to either side, in units of z.

    Returns:
        The directions, with where they come from in their header.

    Raises:
        UserError: If the file cannot be read or does not fit the generator, or a name is not allowed.
    """
    (raw, form), digest = read_foreign(path), sha256_of(path)
    key = _known(published, digest, generator)
    known = PUBLISHED_FILES.get(key or "", PublishedFile("", None))
    if not 0 < path_size <= LARGEST_PATH_SIZE:
        raise UserError(f"path_size must be above 0 and at most {LARGEST_PATH_SIZE:g}, got {path_size}.")
    for index, name in (names or {}).items():
        if not 0 <= index < len(raw):
            raise UserError(f"name must be INDEX=NAME with an index from 0 to {len(raw) - 1}, got {index}={name}.")
        check_new(index, {"name": name})
    span = _span(path, raw.shape[1], generator, space, known)
    published_names = known.names if (span.start, span.stop) == known.space else {}
    labels = {index: f"d{index}" for index in range(len(raw))} | dict(published_names) | dict(names or {})
    try:
        basis = gram_schmidt(raw)
    except UserError as error:
        raise UserError(f"{path} holds no basis. {error}") from None
    # How far Gram–Schmidt turned the directions, in degrees: the later ones of a matrix far from orthogonal most.
    cosines = (basis * torch.nn.functional.normalize(raw, dim=1)).sum(dim=1).clamp(max=1)
    turn = round(float(cosines.arccos().max().rad2deg()), 3)
    if classes is None:
        classes = known.classes or (None if getattr(generator, "num_classes", None) == 0 else "all")
    source = {"file": path.name, "sha256": digest, "form": form, "published": key, "largest_turn_degrees": turn}
    scope: dict[str, Any] = {"classes": classes, "truncation": 1.0, "space": (span.start, span.stop)}
    sizes, told = [float(path_size)] * len(basis), list(labels.values())
    header = make_header(generator, path_sizes=sizes, names=told, method="converted", source=source, **scope)
    return Directions(span.embed(basis).float().numpy(), header)


def _known(published: str | None, digest: str, generator: DescribesGenerator) -> str | None:
    """Which of the paper's files it is, if what is published of it applies."""
    if published is None:
        recognised = (key for key, known in PUBLISHED_FILES.items() if known.sha256 == digest)
        return next(recognised, None) if generator.dim_z == DIM_Z else None
    if published not in PUBLISHED_FILES:
        hint = nearest(published, PUBLISHED_FILES)
        raise UserError(f"published must be one of {', '.join(PUBLISHED_FILES)}, got {published!r}.{hint}")
    if generator.dim_z != DIM_Z:
        of = f"{generator.name!r} with |z| = {generator.dim_z}"
        raise UserError(f"published is for generators with |z| = {DIM_Z}, got {published!r} for {of}. Leave it out.")
    return published


def _span(
    path: Path, width: int, generator: DescribesGenerator, space: str | None, known: PublishedFile
) -> SearchSpace:
    """Where in z directions of a width belong."""
    dim_z = generator.dim_z
    if space is None and known.sha256 and known.space[1] - known.space[0] == width:
        return SearchSpace(*known.space, dim_z)
    span = SearchSpace.parse(space if space is not None else ":", dim_z)
    if span.size != width:
        advice = f"Say which components of z they are with --space, such as 0:{width}."
        if width > dim_z:
            advice = "They belong to another generator: name it with --generator."
        where = f"space {span} of {generator.name!r} has {span.size}"
        raise UserError(f"The directions in {path} have {width} components, but {where}. {advice}")
    return span


def read_foreign(path: Path) -> tuple[Tensor, str]:
    """Read directions that another program wrote. Nothing that would need code from the file is ever read.

    Args:
        path: A ``.npy`` array or a ``torch.save`` of one matrix, a direction a row (the paper's and OroJaR's raw A, or
            orthonormal rows); or the state dict of a GANLatentDiscovery deformator.

    Returns:
        (ndirs, width) float64, a direction a row, not orthonormal yet; and the form in words.

    Raises:
        UserError: If it is none of these, would need code to be run, or is damaged.
    """
    if not os.path.isfile(path):  # noqa: PTH113 — a name that is too long is no file, and no error
        raise UserError(f"There is no file {path}. Check the path.")
    with path.open("rb") as file:
        is_array = file.read(6) == b"\x93NUMPY"
    content, form = (_read_npy(path), "array (.npy)") if is_array else (read_tensors(path), "matrix (torch.save)")
    if isinstance(content, Mapping) and content and all(isinstance(value, Tensor) for value in content.values()):
        content, form = _deformator({str(name): value.detach() for name, value in content.items()}, path)
    if not isinstance(content, Tensor):
        kind = type(content).__name__
        raise UserError(f"{path} must hold one matrix, a direction a row, or a deformator's state dict, got a {kind}.")
    shape = tuple(content.shape)
    if len(shape) != 2 or 0 in shape or content.is_complex():
        raise UserError(f"{path} must hold a matrix of real numbers, a direction a row, got shape {shape}.")
    if shape[0] > shape[1]:
        many = f"{shape[0]} directions of {shape[1]} components: no more than {shape[1]} can be orthonormal"
        raise UserError(f"{path} holds {many}. If its directions are columns, transpose it; else take fewer.")
    return content.detach().double(), form


def _read_npy(path: Path) -> Tensor:
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        objects = "holds Python objects, and reading them would run code from the file, which is never done"
        reason = objects if "Object arrays" in str(error) else "is damaged or half a file"
        raise UserError(f"{path} {reason} ({error}). Save it again, as an array of numbers.") from None
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
        raise UserError(f"{path} is a direction file already. Use it, or look at it: directions inspect {path}")
    if any(name.startswith("fc1.") for name in state):
        bends = "a deformator with hidden layers: it bends, and has no directions that are the same everywhere"
        raise UserError(f"{path} is {bends}. Only the linear, projective and orthogonal kinds can be converted.")
    found = ", ".join(f"{name} {shape}" for name, shape in list(shapes(state).items())[:3])
    needed = "log_mat_half, or linear.weight and linear.bias"
    raise UserError(f"{path} is no deformator: it must have {needed}, got {found}. Are these a generator's weights?")
