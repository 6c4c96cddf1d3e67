"""Turn another program's matrix into a direction file.

After ``foreign`` has read it: rows are made orthonormal as the paper's own viewer does, by Gram–Schmidt in order, and
placed in z; the header says where they come from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from directions.basis import SearchSpace, gram_schmidt
from directions.convert.foreign import read_foreign
from directions.convert.published import DIM_Z, PUBLISHED_FILES, PublishedFile
from directions.direction_file import Directions
from directions.direction_file.annotations import LARGEST_PATH_SIZE, check_new
from directions.direction_file.header import DescribesGenerator, make_header
from directions.errors import UserError, nearest
from directions.generators.weight_files import sha256_of

PATH_SIZE = 5.0
"""The paper's viewer's: how far it goes to either side, in units of z."""


def convert(
    path: Path,
    generator: DescribesGenerator,
    *,
    published: str | None = None,
    names: Mapping[int, str] | None = None,
    classes: Sequence[int] | str | None = None,
    space: str | None = None,
    path_size: float = PATH_SIZE,
) -> Directions:
    """Turn another program's file into directions.

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
    raw, form = read_foreign(path)
    digest = sha256_of(path)
    key = _known(published, digest, path, generator)
    known = PUBLISHED_FILES[key] if key is not None else None
    if not (isinstance(path_size, int | float) and 0 < path_size <= LARGEST_PATH_SIZE):
        raise UserError(f"path_size must be above 0 and at most {LARGEST_PATH_SIZE:g}, got {path_size}.")
    given = dict(names or {})
    labels = _names(len(raw), given)
    span = _span(path, raw.shape[1], generator, space, known)
    if known is not None and (span.start, span.stop) == known.space:
        labels = _names(len(raw), {**known.names, **given})
    try:
        basis = gram_schmidt(raw)
    except UserError as error:
        raise UserError(f"{path} holds no basis. {error}") from None
    # How far Gram–Schmidt turned the directions, in degrees: the later ones of a matrix far from orthogonal most.
    cosines = (basis * torch.nn.functional.normalize(raw, dim=1)).sum(dim=1).clamp(max=1)
    header = make_header(
        generator,
        path_sizes=[float(path_size)] * len(basis),
        names=labels,
        classes=classes if classes is not None else (known.classes if known and known.classes else _every(generator)),
        truncation=1.0,
        space=(span.start, span.stop),
        method="converted",
        config={},
        steps=None,
        seed=None,
        penalty=None,
        source={
            "file": path.name,
            "sha256": digest,
            "form": form,
            "published": key,
            "largest_turn_degrees": round(float(cosines.arccos().max().rad2deg()), 3),
        },
    )
    return Directions(span.embed(basis).float().numpy(), header)


def _known(published: str | None, digest: str, path: Path, generator: DescribesGenerator) -> str | None:
    """Which of the paper's files it is, if what is published of it applies."""
    recognised = next((key for key, known in PUBLISHED_FILES.items() if known.sha256 == digest), None)
    if published is None:
        return recognised if generator.dim_z == DIM_Z else None
    if published not in PUBLISHED_FILES:
        hint = nearest(published, PUBLISHED_FILES)
        raise UserError(f"published must be one of {', '.join(PUBLISHED_FILES)}, got {published!r}.{hint}")
    if recognised not in (None, published):
        raise UserError(
            f"published must be {recognised} for {path}, whose digest is that of {recognised}, got {published!r}. "
            "Leave it out, or give another file."
        )
    if generator.dim_z != DIM_Z:
        raise UserError(
            f"published is for generators with |z| = {DIM_Z}, as the paper's, got {published!r} for "
            f"{generator.name!r} with |z| = {generator.dim_z}. Leave it out, or name the paper's generator."
        )
    return published


def _span(
    path: Path, width: int, generator: DescribesGenerator, space: str | None, known: PublishedFile | None
) -> SearchSpace:
    dim_z = generator.dim_z
    if space is None and known is not None and known.space[1] - known.space[0] == width and known.space[1] <= dim_z:
        return SearchSpace(*known.space, dim_z)
    span = SearchSpace.parse(space if space is not None else ":", dim_z)
    if span.size != width:
        advice = (
            f"Say which components of z they are with --space, such as 0:{width}." if width < dim_z
            else "They belong to another generator: name it with --generator."
        )  # fmt: skip
        raise UserError(
            f"The directions in {path} have {width} components, but space {span} of {generator.name!r} has "
            f"{span.size}. {advice}"
        )
    return span


def _every(generator: DescribesGenerator) -> str | None:
    """All classes, or ``None`` for a generator that is known to have none."""
    return None if getattr(generator, "num_classes", None) == 0 else "all"


def _names(count: int, given: Mapping[int, str]) -> list[str]:
    names = [f"d{index}" for index in range(count)]
    for index, name in given.items():
        if not 0 <= index < count:
            raise UserError(f"name must be INDEX=NAME with an index from 0 to {count - 1}, got {index}={name}.")
        check_new(index, {"name": name})
        names[index] = name
    return names
