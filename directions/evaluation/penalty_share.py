r"""Which directions the penalty that is left comes from.

After discovery: the penalty of a basis is one number; this divides it among the directions, at the held-out places
where it was measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from directions.devices import full_float32
from directions.distributed.ranks import Ranks
from directions.held_out import HeldOutSet
from directions.penalties.derivatives import symmetric_sums
from directions.sampling import image_map

if TYPE_CHECKING:
    from directions.generators.base import Generator


@torch.no_grad()
def penalty_shares(
    generator: Generator, basis: Tensor, held_out: HeldOutSet, *, num_probes: int = 1, ranks: Ranks | None = None
) -> Tensor:
    r"""Divide the off-diagonal curvature :math:`\sum_{a≠b} H_{ab}^2` among the directions that take part in it.

    Direction i takes part with :math:`\sum_{j≠i} H_{ij}^2`; each pair of directions thus counts half for either. To see
    that sum without the whole Hessian, one sign of a probe v is flipped: with :math:`v'` equal to v but for
    :math:`v'_i = -v_i`,

    .. math:: \tfrac14 (v^\top H v - v'^\top H v') = v_i \sum_{j≠i} H_{ij} v_j,

    whose square has that sum as its mean over v. The second differences are those of the penalty, with the same
    epsilon, so kinks count here as they do there. It costs 2(ndirs + 1) images per probe and place.

    Args:
        generator: In eval mode.
        basis: Orthonormal rows, (ndirs, |z|).
        held_out: Places, epsilon and probes.
        num_probes: Probes per place, at most those of the held-out set.
        ranks: Those that share the places; ``None`` is this process alone.

    Returns:
        (ndirs,) float64, not negative, with sum 1; all equal when there is no penalty at all.
    """
    ranks = ranks or Ranks()
    ndirs = len(basis)
    basis = basis.to(held_out.points.z)
    w, all_probes = held_out.steps(basis), held_out.probes(basis)
    # Row 0 leaves the probe as it is, row i + 1 flips the sign of direction i.
    flips = torch.cat((torch.ones(1, ndirs), 1 - 2 * torch.eye(ndirs))).to(basis)
    chunk = max(2, held_out.rows // 2)
    energies: list[Tensor] = []  # (probes, ndirs) for each place
    with full_float32():
        for place in ranks.share(range(len(w))):
            start_point = held_out.points[place : place + 1]
            f = image_map(generator, start_point, basis, held_out.truncation, held_out.layers)
            rows = []
            for probe in all_probes[:num_probes, place]:
                probes = (flips * probe).unsqueeze(1)
                sums = [
                    symmetric_sums(f, w[place : place + 1], probes[start : start + chunk], held_out.epsilon)[0]
                    for start in range(0, ndirs + 1, chunk)
                ]
                unflipped = sums[0][0]
                squares = [(part - unflipped).double().square().flatten(1).mean(dim=1).cpu() for part in sums]
                rows.append(torch.cat(squares)[1:])
            energies.append(torch.stack(rows))
    energy = torch.zeros(ndirs, dtype=torch.float64)
    for row in torch.cat(ranks.collect(energies)):
        energy += row
    # The factors 1/4 and 1/epsilon² are the same for all.
    total = energy.sum()
    return energy / total if total > 0 else torch.full_like(energy, 1 / ndirs)
