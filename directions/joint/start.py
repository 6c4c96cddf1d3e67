"""Give a discovery run its start: measure and diagonalise as its configuration says, in steps that can be interrupted.

The end of `directions.joint`, where its parts become one stage of a run; `directions.discovery` takes over
from the solution, or ends with it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from directions.config import DiscoverConfig
from directions.distributed.ranks import Ranks
from directions.joint.measure import Measurement, matching_step, measure, suggested_kind
from directions.joint.moments import Moments
from directions.joint.solve import JointSolution, solve
from directions.search import Search

if TYPE_CHECKING:
    from directions.generators.base import Generator


def planned_measurement(config: DiscoverConfig, search: Search) -> Measurement:
    """Fill in what a configuration leaves to the searched space.

    Args:
        config: Base points, output probes, way of measuring; sampling and epsilon are those of the penalty.
        search: The searched space and the classes.

    Returns:
        Where and how Hessians will be measured.
    """
    size = search.space.size
    return Measurement(
        space=search.space,
        classes=search.classes,
        truncation=config.truncation,
        layers=search.layers,
        path_size=config.path_size,
        base_points=config.base_points,
        kind=suggested_kind(size) if config.measurement == "auto" else config.measurement,
        output_probes=config.output_probes,
        step=matching_step(config.epsilon, size),
        seed=config.seed,
        rows=2 * config.num_probes * (config.micro_batch or config.batch_size),
    )


def measured(
    generator: Generator,
    config: DiscoverConfig,
    search: Search,
    state: Mapping[str, Any] | None,
    ranks: Ranks | None = None,
) -> Iterator[Moments]:
    """Measure Hessians as a configuration says; see `directions.joint.measure.measure`.

    Args:
        generator: Frozen and in eval mode.
        config: Settings of the run.
        search: The searched space and the classes.
        state: `Moments.state_dict` to go on from, or ``None``.
        ranks: Those that share the base points; ``None`` is this process alone.

    Returns:
        The moments so far, at the start and after each base point, or each round of one for every rank.
    """
    return measure(generator, planned_measurement(config, search), resume_from=state, ranks=ranks)


def solved(moments: Moments, config: DiscoverConfig, ranks: Ranks | None = None) -> JointSolution:
    """Diagonalise what was measured, from as many starts as the configuration says, which ranks share."""
    return solve(moments, starts=config.starts, seed=config.seed, ranks=ranks)


def solution_state(solution: JointSolution) -> dict[str, Any]:
    """Return a solution as tensors and plain types, for a checkpoint; `JointSolution(**state)` undoes it."""
    return {field.name: getattr(solution, field.name) for field in dataclasses.fields(solution)}
