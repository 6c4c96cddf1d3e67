"""The end of a discovery run: directions in order of activeness, with everything that was measured about them."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from directions.config import DiscoverConfig
from directions.direction_file import Directions
from directions.direction_file.header import make_header
from directions.discovery.snapshots import Snapshot
from directions.distributed.ranks import Ranks
from directions.evaluation.activeness import activeness, penalty_shares, suggested_path_sizes
from directions.generators.base import Generator
from directions.held_out import baseline_penalties, draw_held_out, held_out_penalty
from directions.joint.start import planned_measurement
from directions.search import Search, shared_among


def summarise(
    generator: Generator, config: DiscoverConfig, snapshot: Snapshot, *, ranks: Ranks | None = None
) -> Directions:
    """Turn the last snapshot of `discover` into directions.

    It depends on that and the configuration only, so a resumed run ends with the same file as an unbroken one.

    Args:
        generator: As it was given to `discover`.
        config: As it was given to `discover`.
        snapshot: The last one.
        ranks: As they were given to `discover`; each of them calls this, and gets the same. ``None`` is this process
            alone.

    Returns:
        The directions, most active first, named d0, d1, …; with path sizes and penalty shares; and in the header the
        held-out penalty before and after training, of random directions and of the axes of z. With a joint start,
        more directions than asked for may have been found: the most active are kept, and penalties and shares are
        those of all, which belong together.
    """
    ranks = ranks or Ranks()
    search = Search.resolve(generator, config)
    held_out = draw_held_out(generator, shared_among(ranks, config))
    where: dict[str, Any] = {"classes": search.classes, "truncation": config.truncation, "layers": search.layers}
    mine = activeness(generator, ranks.share(snapshot.basis), samples=config.final_samples, rows=held_out.rows, **where)
    active = torch.tensor(ranks.collect(mine.tolist()), dtype=torch.float64)
    order = torch.argsort(active, descending=True, stable=True)
    basis = snapshot.basis[order.to(snapshot.basis.device)]
    kept = basis[: search.ndirs]
    # A stage of the path is kept or not: fewer samples decide that as well.
    samples = -(-config.final_samples // 4)
    sizes = suggested_path_sizes(
        generator, ranks.share(kept), largest=config.path_size, samples=samples, space=search.space, **where
    )
    after = held_out_penalty(generator, basis, held_out, ranks=ranks)
    penalty = {"before": snapshot.held_out_before, "after": after}
    penalty |= baseline_penalties(generator, dataclasses.replace(search, ndirs=len(basis)), held_out, ranks=ranks)
    joint, joint_columns = None, None
    if snapshot.joint is not None:
        joint = planned_measurement(config, search).report() | snapshot.joint.report() | {"found": len(basis)}
        columns = snapshot.joint.columns()
        joint_columns = {name: [values[i] for i in order.tolist()][: len(kept)] for name, values in columns.items()}
    header = make_header(
        generator,
        path_sizes=ranks.collect(sizes),
        activeness=active[order].tolist()[: len(kept)],
        penalty_shares=penalty_shares(generator, basis, held_out, ranks=ranks).tolist()[: len(kept)],
        classes="all" if config.classes == "all" and search.classes else (search.classes or None),
        truncation=config.truncation,
        space=(search.space.start, search.space.stop),
        layers=None if search.layers is None else search.layers.indices,
        method=config.method,
        config=config.to_dict(),
        steps=None if config.method == "joint" else snapshot.record.step,
        seed=config.seed,
        penalty=penalty,
        joint=joint,
        joint_columns=joint_columns,
    )
    return Directions(kept.cpu().numpy(), header)
