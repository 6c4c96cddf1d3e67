"""The end of a discovery run: directions in order of activeness, with everything that was measured about them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from directions.direction_file import Directions
from directions.direction_file.format import make_header
from directions.evaluation.activeness import activeness, penalty_shares, suggested_path_sizes
from directions.generators.base import Generator
from directions.held_out import (
    HeldOutHessians,
    axis_directions,
    baseline_penalties,
    draw_held_out,
    held_out_penalty,
    random_directions,
)
from directions.joint.measure import measurement_report, planned_measurements
from directions.ranks import Ranks
from directions.search import Search, shared_among
from directions.settings.discover import DiscoverConfig

_FIRST = 16
"""The most active directions, whose order is looked at: as many are measured with all samples."""


def summarise(
    generator: Generator,
    config: DiscoverConfig,
    snapshot: Any,
    *,
    ranks: Ranks | None = None,
    known: dict[Any, Any] | None = None,
) -> Directions:
    """Turn the last snapshot of `discover` into directions.

    It depends on that and the configuration only, so a resumed run ends with the same file as an unbroken one.

    Args:
        generator: As it was given to `discover`.
        config: As it was given to `discover`.
        snapshot: The last one.
        ranks: As they were given to `discover`; each of them calls this, and gets the same. ``None`` is this process
            alone.
        known: As `discover` was given it: what does not depend on the directions is measured once.

    Returns:
        The directions, most active first, named d0, d1, …; with path sizes and penalty shares; and in the header the
        held-out penalty before and after training, of random directions and of the axes of z, and how nearly diagonal
        held-out Hessians are along each of these. With a joint start, more directions than asked for may have been
        found: the most active are kept, and penalties and shares are those of all, which belong together.
    """
    started, ranks = time.perf_counter(), ranks or Ranks()
    search = Search.resolve(generator, config)
    held_out, known = draw_held_out(generator, shared_among(ranks, config)), {} if known is None else known
    where: dict[str, Any] = {"classes": search.classes, "truncation": config.truncation, "layers": search.layers}

    def once(name: str, make: Callable[[], Any]) -> Any:
        key = (name, len(snapshot.basis), config.held_out, config.final_samples)
        if key not in known:
            known[key] = make()
        return known[key]

    def measured(rows: Tensor, samples: int) -> Tensor:
        mine = activeness(generator, ranks.share(rows), samples=samples, rows=held_out.rows, **where)
        return torch.tensor(ranks.collect(mine.tolist()), dtype=torch.float64)

    # Of many directions only the first are looked at one by one: the others get an eighth of the samples.
    few = config.final_samples if len(snapshot.basis) <= _FIRST else max(32, config.final_samples // 8)
    active = measured(snapshot.basis, min(few, config.final_samples))
    if few < config.final_samples:
        first = torch.argsort(active, descending=True, stable=True)[:_FIRST].sort().values
        active[first] = measured(snapshot.basis[first.to(snapshot.basis.device)], config.final_samples)
    order = torch.argsort(active, descending=True, stable=True)
    basis = snapshot.basis[order.to(snapshot.basis.device)]
    kept = basis[: search.ndirs]
    # A stage of the path is kept or not: fewer samples decide that as well.
    samples = min(8, -(-config.final_samples // 4))
    sizes = suggested_path_sizes(
        generator, ranks.share(kept), largest=config.path_size, samples=samples, space=search.space, **where
    )
    after = held_out_penalty(generator, basis, held_out, ranks=ranks)
    penalty: dict[str, Any] = {"before": snapshot.held_out_before, "after": after}
    all_found = dataclasses.replace(search, ndirs=len(basis))
    penalty |= once("penalties", lambda: baseline_penalties(generator, all_found, held_out, ranks=ranks))
    places = config.held_out_places
    if ("hessians", places) not in known:
        known["hessians", places] = HeldOutHessians.measure(generator, config, places=places, ranks=ranks)
    hessians = known["hessians", places]
    scores = {
        "found": hessians.score(basis),
        "random": hessians.random(len(basis)),
        "axes": hessians.score(axis_directions(all_found)),
    }
    joint, joint_columns = None, None
    if snapshot.joint is not None:
        joint = measurement_report(planned_measurements(config, search))
        joint |= snapshot.joint.report() | {"found": len(basis), "criterion": config.criterion}
        joint |= {"steps": snapshot.gain} if snapshot.gain else {}
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
        penalty=penalty | {"hessians": {name: score.to_dict() for name, score in scores.items()}},
        joint=joint,
        joint_columns=joint_columns,
    )
    # How much of all the first directions do; of random ones too, those that turn out to be the most active.
    number = min(12, -(-len(basis) // 4))
    chance = once("chance", lambda: measured(random_directions(all_found, seed=0), max(2, few // 4)))
    header["first"] = {"count": number}
    for name, values in (("found", active), ("random", chance)):
        share = values.sort(descending=True).values[:number].sum() / values.sum()
        header["first"][name] = round(float(share), 6) if values.sum() > 0 else None
    if snapshot.plan is not None:
        header["plan"] = {name: snapshot.plan[name] for name in ("words", "time", "expected", "spent")}
        header["plan"]["spent"] += time.perf_counter() - started
    return Directions(kept.cpu().numpy(), header)
