"""Where a discovery run stands: the numbers of a step, and all that is needed to go on from it.

Made by `directions.discovery`, read by whatever records, resumes or sums up a run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from directions.errors import NonFiniteError

if TYPE_CHECKING:
    from directions.joint.solve import JointSolution


@dataclass(frozen=True, kw_only=True)
class Record:
    """The numbers of one step."""

    step: int
    """Number of steps taken; 0 before the first."""
    penalty: float | None
    """Penalty of the step's samples, before A was changed; ``None`` at step 0."""
    held_out: float | None
    """Held-out penalty after the step, every ``eval_every`` steps, else ``None``."""
    learning_rate: float | None
    """Learning rate of the step; ``None`` at step 0."""
    seconds: float
    """Duration of the step, held-out score included."""
    base_points: int | None = None
    """Number of base points whose Hessians have been measured, as long as that goes on; ``None`` from the joint
    solution on, and in runs without one."""

    @property
    def position(self) -> tuple[int, float]:
        """Where the record stands among those of a run: records come in the order of this."""
        return self.step, math.inf if self.base_points is None else self.base_points


@dataclass(frozen=True, kw_only=True, eq=False)
class Snapshot:
    """Where a run stands after a step."""

    record: Record
    """The step's numbers."""
    held_out_before: float
    """Held-out penalty of the start: of the initial A, also in runs that go on from a joint solution."""
    basis: Tensor
    """Q after the step: orthonormal rows, (ndirs, |z|)."""
    state: dict[str, Any]
    """What `discover` needs to go on from here: copied tensors and plain types."""
    joint: JointSolution | None = None
    """The joint solution that the run has started from, once there is one; its rows are those of ``basis`` at step 0,
    in this order."""


def finite(value: float, what: str, step: int) -> float:
    """Let a number pass if it is one.

    Args:
        value: The number.
        what: What it is, for the message.
        step: When.

    Returns:
        The number.

    Raises:
        NonFiniteError: If it is NaN or infinite.
    """
    if not math.isfinite(value):
        raise NonFiniteError(
            f"The {what} became {value} at step {step}. Stopped here; the last checkpoint is kept. "
            "Start a new run with a smaller --learning-rate or a larger --epsilon, and make sure that the generator "
            "computes in float32 and its weights are sound."
        )
    return value
