"""Shim."""

# shim, until discovery calls `measure` and `solve_in_steps` itself; then all of this file goes
from directions.joint.measure import measure, planned_measurement
from directions.joint.solve import solution_state as solution_state  # shim
from directions.joint.solve import solve


def measured(generator, config, search, state, ranks=None):  # type: ignore[no-untyped-def]  # noqa: D103
    return measure(generator, planned_measurement(config, search), resume_from=state, ranks=ranks)


def solved(moments, config, ranks=None):  # type: ignore[no-untyped-def]  # noqa: D103
    return solve(moments, starts=config.starts, seed=config.seed, ranks=ranks)
