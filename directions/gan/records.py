"""What a training tells of itself: means over the steps since it last told, and where it stands.

Filled by ``trainer``, written down by ``recording``. Means go into the checkpoint half-way, so that a resumed run tells
the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from directions.distributed.ranks import Ranks
from directions.errors import NonFiniteError

ADVICE = "The last checkpoint is kept. Try a smaller learning rate, or bfloat16 off."
NOT_ALWAYS = ("diversity",)
"""Terms that cannot be computed at some steps, where they are not finite; nothing is wrong then."""


@dataclass(frozen=True)
class Record:
    """Means over the steps since the last record."""

    step: int
    """Steps taken."""
    kimg: float
    """Real images shown, in thousands."""
    resolution: int
    """Height and width of the images of the last step, in pixels."""
    alpha: float
    """Fading weight of the newest block at the last step."""
    terms: Mapping[str, float]
    """Losses and what they are made of."""
    seconds: float
    """Time a step took."""

    def to_dict(self) -> dict[str, Any]:
        """Return one flat line for ``stats.jsonl``."""
        line = {"step": self.step, "kimg": self.kimg, "resolution": self.resolution, "alpha": self.alpha}
        return line | dict(self.terms) | {"seconds": round(self.seconds, 4)}


class Window:
    """Sums of scalars over the steps since the last record.

    Args:
        ranks: Processes that each see a part of a step; their means are taken together.
    """

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self._missing: dict[str, Tensor] = {}
        self._steps, self._seconds = 0, 0.0

    def add(self, terms: Mapping[str, Tensor], seconds: float) -> None:
        """Add what one step tells.

        Args:
            terms: Scalars; not every step needs to have every one. Those of ``NOT_ALWAYS`` are left out where they are
                not finite.
            seconds: Time that the step took.
        """
        for name, term in terms.items():
            # Left where it is: a GPU need not wait for the number.
            value = term.detach().double()
            if name in NOT_ALWAYS:
                missing = (~value.isfinite()).double()
                value = value.where(missing == 0, 0.0)
                self._missing[name] = self._missing[name] + missing if name in self._missing else missing
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._counts[name] = self._counts.get(name, 0) + 1
        self._steps += 1
        self._seconds += seconds

    def means(self, step: int) -> tuple[dict[str, float], float]:
        """Give the means, and start new ones.

        Args:
            step: Steps taken in all, for the message.

        Returns:
            The mean of each scalar that a step had, and the seconds a step.

        Raises:
            NonFiniteError: If one of them is not finite.
        """
        self._share()
        counts = self._counts | {name: self._counts[name] - missing.item() for name, missing in self._missing.items()}
        means = {name: total.item() / counts[name] for name, total in self._sums.items() if counts[name]}
        for name, value in means.items():
            if not abs(value) < float("inf"):
                raise NonFiniteError(
                    f"{name} became {value} within the {self._steps} steps up to step {step}. {ADVICE}"
                )
        seconds = self._seconds / self._steps
        self._sums, self._counts, self._missing, self._steps, self._seconds = {}, {}, {}, 0, 0.0
        return means, seconds

    def finite(self) -> bool:
        """Whether all of the sums so far are finite, on every rank."""
        self._share()
        return all(bool(total.isfinite()) for total in self._sums.values())

    def state_dict(self) -> dict[str, Any]:
        """Return the sums as plain types."""
        return {
            "sums": {name: total.item() for name, total in self._sums.items()},
            "counts": dict(self._counts),
            "missing": {name: count.item() for name, count in self._missing.items()},
            "steps": self._steps,
            "seconds": self._seconds,
        }

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Go on from what `state_dict` returned.

        Args:
            state: The sums.
            device: Where those of later steps will be.
        """

        def tensors(numbers: Mapping[str, float]) -> dict[str, Tensor]:
            return {k: torch.tensor(v, dtype=torch.float64, device=device) for k, v in numbers.items()}

        self._sums, self._missing = tensors(state["sums"]), tensors(state.get("missing", {}))
        self._counts = dict(state["counts"])
        self._steps = state.get("steps", max(self._counts.values(), default=0))  # the first checkpoints had none
        self._seconds = state.get("seconds", 0.0)

    def _share(self) -> None:
        """Take the mean over the ranks of what each has seen of its part."""
        if self._ranks.world_size > 1 and self._sums:
            both = [*self._sums.values(), *self._missing.values()]
            means = iter([total / self._ranks.world_size for total in self._ranks.sum(both)])
            self._sums = {name: next(means) for name in self._sums}
            self._missing = {name: next(means) for name in self._missing}
