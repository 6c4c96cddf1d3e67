"""What a discovery run measures and how often, such that it keeps its time: chosen from what one image costs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from directions.joint.measure import evaluations_at, planned_measurements, suggested_kind
from directions.search import Search
from directions.settings.base import ConfigError
from directions.settings.discover import HESSIANS_UP_TO, SIGN_VECTORS_UP_TO, DiscoverConfig

# Of the time, what a plan fills: one timing of the first base point is a guess, and loading comes on top.
_FILLED = 0.84
_USUAL, _LONGEST = {"short": 110.0, "long": 180.0}, 45 * 60.0

_FEWEST_STEPS = 10  # after a joint start; where fewer fit, none are taken

# Held-out samples, and samples by which directions are measured: the first pair that fits is taken.
_PAIRS = ((64, 256), (64, 128), (32, 64), (16, 32), (8, 16), (4, 8), (4, 4))
_LEVELS = [{"held_out": held_out, "final_samples": final_samples} for held_out, final_samples in _PAIRS]

# Base points for trustworthy answers, and those after which more change little (Jacobians, Hessians).
_TRUSTED, _ENOUGH = 20, {"jacobian": 100, "hessian": 90}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a run spends its time.

    Attributes:
        time: Seconds that the run may take.
        expected: Seconds that it is expected to take.
        image: Seconds that an image takes, as measured at the first base point.
        measure_until: Seconds after the start at which measuring ends, whatever has been measured.
        finish: Seconds for what comes after the last step.
        settings: What was chosen, by the names of the settings.
        words: The plan in a line.
    """

    time: float
    expected: float
    image: float
    measure_until: float
    finish: float
    settings: dict[str, Any]
    words: str

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain types, for checkpoints and files."""
        return asdict(self)


def with_plan(config: DiscoverConfig, plan: Mapping[str, Any] | None) -> DiscoverConfig:
    """Return the configuration that a run has by its plan; what was given stays.

    Args:
        config: As it was asked for.
        plan: `Plan.to_dict`; ``None`` changes nothing.
    """
    if plan is None:
        return config
    chosen = {name: value for name, value in plan["settings"].items() if name in config.free}
    if chosen.get("steps") == 0:
        chosen = {name: value for name, value in chosen.items() if name != "steps"} | {"method": "joint"}
    return config.replace(**chosen, free=config.free)


def passes(config: DiscoverConfig, search: Search) -> dict[str, int]:
    """Count a run's passes of an image through the generator, forward or backward, by what they are for."""
    n, few = search.space.size, config.final_samples
    if n > 16:  # as `directions.evaluation.summary` does
        few = min(few, max(32, few // 8))
    active = 3 * (n * few + (16 * config.final_samples if few < config.final_samples else 0) + n * max(2, few // 4))
    held_out = evaluations_at(n, suggested_kind(n), 4)
    joint = "joint" in config.method
    scores = (8 + joint + config.adam_steps // config.eval_every) * 2 * config.held_out_probes * config.held_out
    return {
        "measuring": sum(one.evaluations for one in planned_measurements(config, search).values()) if joint else 0,
        "steps": config.adam_steps * config.batch_size * 4 * config.num_probes,
        "scores": scores + 2 * (n + 1) * config.held_out,
        "held-out Hessians": held_out * config.held_out_places,
        "directions": active + 9 * n * min(8, -(-config.final_samples // 4)),
    }


def product_seconds(n: int) -> float:
    """Measure how long it takes here to turn one of the matrices that are diagonalised."""
    Q, matrices = torch.eye(n), torch.ones(16, n, n)
    taken = []
    for _ in range(5):
        started = time.perf_counter()
        _ = Q @ matrices @ Q
        taken.append(time.perf_counter() - started)
    return sorted(taken)[2] / 16


def products(config: DiscoverConfig, search: Search) -> int:
    """Estimate how often the diagonalisation turns a matrix."""
    n, count = search.space.size, 0
    if "joint" not in config.method:
        return 0
    for kind, one in planned_measurements(config, search).items():
        per_place = one.output_probes if one.kind == "gradients" else 1 if kind == "jacobian" else n * n
        count += min(one.base_points * per_place, n * (n + 1) // 2)
    return 200 * count * min(3, config.starts) * 2  # about 100 iterations of two products; the halves make as many


def make_plan(config: DiscoverConfig, search: Search, *, spent: float, image: float) -> Plan:
    """Choose what to measure, and how often.

    Args:
        config: What was asked for: its ``time``, and ``free``, the names of what may be chosen.
        search: The searched space.
        spent: Seconds that the run has taken, the first base point included.
        image: Seconds that an image takes.

    Returns:
        The plan.

    Raises:
        ConfigError: If the time is too short even for a single base point.
    """
    trial = _Trial(config, search, spent, image)
    least = trial.cost(**_LEVELS[-1], **trial.one | {"starts": 1})
    trusted = trial.cost(**_LEVELS[-1], **trial.one | {"base_points": _TRUSTED})
    usual = _USUAL["long" if search.space.size > SIGN_VECTORS_UP_TO else "short"]
    limit = config.time or min(max(usual, trusted / _FILLED), max(_LONGEST, least))
    goal = max(least, _FILLED * limit)
    if config.time is not None and least > limit:
        raise ConfigError(
            "time",
            f"must be at least {in_words(least * 1.1)} for this generator and these settings (an image takes "
            f"{image:.2g} s), got {in_words(limit)}.",
        )
    # What is not measuring gets half of the time at most, if that leaves a choice.
    for level in _LEVELS:
        trial.chosen |= level | trial.one
        if trial.cost() - spent <= (limit - spent) / 2:
            break
    if trial.cost() > limit:
        trial.chosen["starts"] = 1
    if "joint" in config.method:
        trial.choose_base_points(limit, goal)
    if config.method != "joint" and not trial.without_steps:
        trial.fill("steps", 2000 if config.method == "voynov" else 400, goal)
        if config.method == "joint+adam" and "steps" in config.free and trial.chosen["steps"] < _FEWEST_STEPS:
            del trial.chosen["steps"]
            trial.without_steps = {"steps": 0}
    planned, expected, by_phase = trial.config(), trial.cost(), trial.phases()
    settings = {name: getattr(planned, name) for name in trial.chosen} | trial.without_steps
    return Plan(
        time=limit,
        expected=expected,
        image=image,
        measure_until=limit - (expected - spent - by_phase["measuring"]),
        finish=by_phase["directions"] + by_phase["held-out Hessians"] + by_phase["scores"] * 0.8,
        settings=settings,
        words=_in_a_line(planned, search, expected, by_phase, image, limit if config.time else None),
    )


class _Trial:
    """Settings on trial, and what they cost."""

    def __init__(self, asked: DiscoverConfig, search: Search, spent: float, image: float) -> None:
        self.asked, self.search, self.spent, self.image = asked, search, spent, image
        self.long = search.space.size > HESSIANS_UP_TO
        self.product = product_seconds(search.space.size)
        # The paper's steps gain nothing where z is long (docs/joint.md).
        stepless = search.space.size > SIGN_VECTORS_UP_TO and asked.method == "joint+adam" and asked.reduction == "mean"
        self.without_steps: dict[str, Any] = {"steps": 0} if stepless else {}
        self.chosen: dict[str, Any] = {"criterion": "jacobian"} if self.long and "joint" in asked.method else {}
        self.one: dict[str, Any] = {"base_points": 1, "steps": 1}
        self.one |= ({"hessian_points": 1, "output_probes": 1} if self.long else {}) | self.without_steps

    def config(self, **more: Any) -> DiscoverConfig:
        """The configuration with what is chosen so far, and more."""
        return with_plan(self.asked, {"settings": self.without_steps | self.chosen | more})

    def phases(self, **more: Any) -> dict[str, float]:
        """Seconds of each phase."""
        planned = self.config(**more)
        seconds = {name: self.image * count for name, count in passes(planned, self.search).items()}
        return seconds | {"diagonalising": self.product * products(planned, self.search)}

    def cost(self, **more: Any) -> float:
        """Seconds from the start of the run to its end."""
        return self.spent + sum(self.phases(**more).values())

    def fill(self, name: str, highest: int, seconds: float, **more: Any) -> None:
        """Choose a number as high as it can be within a time, together with other settings."""
        self.chosen |= more
        low, high = self.chosen.get(name, 1), highest
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.cost(**{name: middle}) <= seconds else (low, middle - 1)
        self.chosen[name] = low

    def choose_base_points(self, limit: float, goal: float) -> None:
        """Choose how many there are, of which criterion."""
        criterion, free = self.config().criterion, "criterion" in self.asked.free
        first = "hessian" if criterion == "hessian" else "jacobian"
        most = {kind: 3 * count if self.asked.time else count for kind, count in _ENOUGH.items()}
        if criterion != "jacobian" and self.long and self.cost(output_probes=4, base_points=8) <= limit:
            self.chosen["output_probes"] = 4
        # Half of what is left for what comes after: Hessians beside the Jacobians, or steps.
        share = 0.5 if criterion != "hessian" or not self.long else 1
        self.fill("base_points", most[first], self.cost() + (goal - self.cost()) * share)
        if criterion == "both" or (first == "jacobian" and free):
            alone = dict(self.chosen)
            self.fill("hessian_points", most["hessian"], goal, criterion="both", output_probes=4)
            if free and (self.chosen["hessian_points"] < 4 or self.cost() > goal):
                self.chosen = {name: value for name, value in alone.items() if name != "hessian_points"}
            self.fill("base_points", most[first], goal)


def _in_a_line(
    config: DiscoverConfig, search: Search, expected: float, by_phase: Mapping[str, float], image: float, limit: Any
) -> str:
    parts = []
    if "joint" in config.method:
        kinds = {"jacobian": "Jacobians", "hessian": "Hessians"}
        for kind, one in planned_measurements(config, search).items():
            each = image * one.evaluations / one.base_points
            parts.append(f"{kinds[kind]} at {one.base_points} base points × {each:.2g} s")
        parts.append(f"diagonalisation {in_words(by_phase['diagonalising'])}")
    parts.append(f"{config.adam_steps} steps {in_words(by_phase['steps'])}" if config.adam_steps else "no steps")
    rest = sum(by_phase[name] for name in ("scores", "held-out Hessians", "directions"))
    parts.append(f"scores and samples {in_words(rest)}")
    told = f"about {in_words(expected)}" + (f" of {in_words(limit)}" if limit else "")
    return f"Plan: {', '.join(parts)}: {told}"


def in_words(seconds: float) -> str:
    """Say a duration, such as ``20 s``, ``2.5 minutes`` or ``1.5 hours``."""
    if seconds < 100:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.2g} minutes" if seconds < 5400 else f"{seconds / 3600:.2g} hours"
