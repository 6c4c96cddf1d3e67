"""All that can be measured of a direction file, against directions that nobody had to find.

At the end of the evaluation: it takes a file's directions and their generator, and measures with several seeds, on the
layers, components, classes and truncation that the file names, what the other modules here define; then the same of
random orthonormal directions, as many and in the same space, and of the axes of z. With the same seed all three are
measured at the same places. `directions.evaluation.file_report` writes the result as text, and
`directions.evaluation.file_plot` draws it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from directions.config import DiscoverConfig
from directions.direction_file import Directions
from directions.errors import UserError, nearest
from directions.evaluation.activeness import activeness
from directions.evaluation.baselines import axis_directions, random_directions
from directions.evaluation.diagonalness import diagonalness, diagonalness_evaluations
from directions.evaluation.factor_table import FactorTable
from directions.evaluation.factors import Reader, measure_factors
from directions.evaluation.scene_reader import SHAPES, SceneReader
from directions.generators.edits import chosen_layers
from directions.held_out import draw_held_out, held_out_penalty
from directions.search import Search

if TYPE_CHECKING:
    from directions.generators.base import Generator

METRICS = ("penalty", "diagonalness", "activeness", "factors")
SETS = ("found", "random", "axes")

PROBES = 8
"""Probes at each place of the held-out penalty."""

HESSIAN_DIRECTIONS = 16
"""Directions that diagonalness looks at, at most, the most active: its cost grows with their square."""

FACTOR_PATH = 2.0
"""Longest step of the factor table along every direction, in latent units: the same for all sets."""

_SETTINGS = ("epsilon", "path_size", "reduction")


@dataclass
class SetScores:
    """What was measured of one set of directions.

    Attributes:
        numbers: For each number its values, seed by seed; NaN where it has none.
        activeness: For each seed (ndirs,), in the set's order; empty if it was not measured.
        factors: For each seed the factor table; empty if it was not measured.
    """

    numbers: dict[str, list[float]] = field(default_factory=dict)
    activeness: list[np.ndarray] = field(default_factory=list)
    factors: list[FactorTable] = field(default_factory=list)


@dataclass(frozen=True)
class Evaluation:
    """Everything that was measured, and how.

    Attributes:
        names: The directions of the file.
        sets: For each of `SETS` its scores.
        metrics: What was measured, among `METRICS`.
        settings: Number of seeds and samples, and what the file decided.
    """

    names: tuple[str, ...]
    sets: dict[str, SetScores]
    metrics: tuple[str, ...]
    settings: dict[str, Any]


class FileEvaluation:
    """The plan of an evaluation: known before anything is measured, so that its cost can be told.

    Args:
        directions: Of the file.
        generator: In which they were found, in eval mode.
        metrics: Which of `METRICS`; ``None`` takes all, ``factors`` only if there is a reader for the images.
        seeds: How many times to measure, each time at other places and with other random directions.
        samples: Places of a measurement, at least 2. Diagonalness takes a sixteenth of them, but at least 2.
        reader: Reads factors from images; needed for ``factors`` only.

    Raises:
        UserError: If the directions do not belong to the generator, or a setting is not allowed.
    """

    def __init__(
        self,
        directions: Directions,
        generator: Generator,
        *,
        metrics: Sequence[str] | None = None,
        seeds: int = 5,
        samples: int = 32,
        reader: Reader | None = None,
    ) -> None:
        directions.require_fits(generator)
        if seeds < 1:
            raise UserError(f"seeds must be at least 1, got {seeds}.")
        if samples < 2:
            raise UserError(f"samples must be at least 2, got {samples}.")
        self.directions, self.generator, self.reader = directions, generator, reader
        self.seeds, self.samples = seeds, samples
        self.metrics = _checked_metrics(metrics, has_reader=reader is not None, ndirs=len(directions))
        self.layers = chosen_layers(generator, directions.layers)
        self.config = _config(directions, None if self.layers is None else str(self.layers), samples)
        self.search = Search.resolve(generator, self.config)
        self._hessian_rows = min(len(directions), HESSIAN_DIRECTIONS)
        self._hessian_samples = max(2, samples // 16)
        ranks = "diagonalness" in self.metrics and len(directions) > HESSIAN_DIRECTIONS
        self._needs_activeness = "activeness" in self.metrics or ranks

    @property
    def images(self) -> int:
        """The number of images that `run` makes."""
        return len(SETS) * self.seeds * sum(self._cost(metric) for metric in self._measured())

    def _measured(self) -> tuple[str, ...]:
        extra = ("activeness",) if self._needs_activeness else ()
        return tuple(dict.fromkeys((*extra, *self.metrics)))

    def _cost(self, metric: str) -> int:
        """Images for one measurement of one set."""
        ndirs = len(self.directions)
        return {
            "penalty": 2 * PROBES * self.samples,
            "activeness": 3 * ndirs * self.samples,
            "diagonalness": diagonalness_evaluations(self._hessian_rows, self._hessian_samples),
            "factors": (2 * ndirs + 1) * self.samples,
        }[metric]

    def run(self, count: Callable[[int], object] = lambda images: None) -> Evaluation:
        """Measure everything.

        Args:
            count: Called with the number of images that were just made (a progress bar).

        Returns:
            The scores.
        """
        scores = {name: SetScores() for name in SETS}
        for seed in range(self.seeds):
            for name, basis in self._bases(seed):
                self._measure(scores[name], basis, seed, count)
        settings = {
            "seeds": self.seeds,
            "samples": self.samples,
            "hessian_samples": self._hessian_samples,
            "hessian_directions": self._hessian_rows,
            "factor_path": FACTOR_PATH,
            "classes": self.config.to_dict()["classes"],
            "truncation": self.config.truncation,
            "space": str(self.search.space),
            "layers": None if self.layers is None else str(self.layers),
            "epsilon": self.config.epsilon,
            "path_size": self.config.path_size,
        }
        return Evaluation(self.directions.names, scores, self.metrics, settings)

    def _bases(self, seed: int) -> Iterator[tuple[str, Tensor]]:
        yield "found", torch.from_numpy(self.directions.matrix.copy())
        yield "random", random_directions(self.search, seed)
        yield "axes", axis_directions(self.search)

    def _measure(self, scores: SetScores, basis: Tensor, seed: int, count: Callable[[int], object]) -> None:
        """Measure one set with one seed."""
        numbers: dict[str, float] = {}
        common: dict[str, Any] = {"truncation": self.config.truncation, "seed": seed}
        basis = basis.to(self.generator.device)
        active = None
        for metric in self._measured():
            if metric == "penalty":
                held_out = draw_held_out(self.generator, self.config, seed=seed)
                numbers["penalty"] = held_out_penalty(self.generator, basis, held_out)
            elif metric == "activeness":
                active = activeness(
                    self.generator,
                    basis,
                    samples=self.samples,
                    classes=self.search.classes,
                    layers=self.layers,
                    **common,
                ).numpy()
                scores.activeness.append(active)
                numbers["active_directions"] = effective_number(active)
            elif metric == "diagonalness":
                rows = basis if active is None else basis[_most_active(active, self._hessian_rows)]
                found = diagonalness(
                    self.generator,
                    rows,
                    samples=self._hessian_samples,
                    step=self.config.epsilon,
                    classes=self.search.classes,
                    layers=self.layers,
                    **common,
                )
                numbers |= {"diagonal_share": found.share, "diagonal_ratio": found.ratio}
            else:
                assert self.reader is not None, "checked in _checked_metrics"
                table = measure_factors(
                    self.generator,
                    basis,
                    self.reader,
                    path_sizes=FACTOR_PATH,
                    names=self.directions.names,
                    num_points=self.samples,
                    classes=self.search.classes or None,
                    layers=self.layers,
                    **common,
                )
                scores.factors.append(table)
                numbers |= {"on_one_factor": table.single_factor_share, "disentanglement": table.disentanglement}
            count(self._cost(metric))
        for name, value in numbers.items():
            scores.numbers.setdefault(name, []).append(value if math.isfinite(value) else math.nan)


def effective_number(activeness: np.ndarray) -> float:
    """Count the directions that do something, weighted by how much: (Σa)² / Σa², between 1 and their number.

    Args:
        activeness: (ndirs,), none negative.

    Returns:
        The number; 0 if none does anything.

    Example:
        >>> effective_number(np.array([1.0, 1.0, 1.0, 0.0]))
        3.0
    """
    squares = float(np.square(activeness).sum())
    return float(activeness.sum()) ** 2 / squares if squares else 0.0


def reads_scenes(generator: Generator) -> bool:
    """Whether a generator makes the scenes that the package's scene reader was trained on, by its classes and size."""
    return generator.class_names == SHAPES and generator.resolution == SceneReader.resolution


def _most_active(activeness: np.ndarray, number: int) -> Tensor:
    """Indices of the most active directions, in their order."""
    return torch.from_numpy(np.sort(np.argsort(-activeness, kind="stable")[:number]))


def _config(directions: Directions, layers: str | None, samples: int) -> DiscoverConfig:
    """Turn a file's header into the settings of its penalty."""
    header = directions.header
    start, stop = header["space"]
    classes = header["classes"]
    return DiscoverConfig(
        generator=directions.generator,
        classes=tuple(classes) if isinstance(classes, list) else "all",
        ndirs=len(directions),
        space=f"{start}:{stop}",
        layers=layers,
        truncation=header["truncation"] or 1.0,
        held_out=samples,
        held_out_probes=PROBES,
        **{key: header["config"][key] for key in _SETTINGS if key in header["config"]},
    )


def _checked_metrics(metrics: Sequence[str] | None, *, has_reader: bool, ndirs: int) -> tuple[str, ...]:
    """Fill in which metrics are wanted, and refuse what cannot be had."""
    if metrics is None:
        usable = {"diagonalness": ndirs > 1, "factors": has_reader}
        return tuple(metric for metric in METRICS if usable.get(metric, True))
    for metric in metrics:
        if metric not in METRICS:
            raise UserError(f"metrics must be among {', '.join(METRICS)}, got {metric!r}.{nearest(metric, METRICS)}")
    if not metrics:
        raise UserError(f"metrics must name at least one of {', '.join(METRICS)}.")
    if "factors" in metrics and not has_reader:
        raise UserError(
            "metrics can have factors only for generators of the scenes, whose classes are "
            f"{', '.join(SHAPES)}: nobody can read factors from other images."
        )
    if "diagonalness" in metrics and ndirs < 2:
        raise UserError("metrics can have diagonalness only for two or more directions, got one.")
    return tuple(metric for metric in METRICS if metric in metrics)
