"""What is measured of a file's directions one by one, at the end of a discovery run, or of a file from elsewhere."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from directions.direction_file import Directions
from directions.direction_file.annotate import fill_in
from directions.direction_file.format import make_header
from directions.evaluation.activeness import activeness, penalty_shares, suggested_path_sizes
from directions.generators.base import Generator, chosen_layers
from directions.held_out import (
    HeldOutHessians,
    axis_directions,
    baseline_penalties,
    draw_held_out,
    held_out_penalty,
    random_directions,
)
from directions.joint.measure import measurement_report, planned_measurements
from directions.ranks import Progress, Ranks, counter, no_progress
from directions.search import Search, shared_among
from directions.settings.discover import DiscoverConfig

_FIRST = 16
"""The most active directions, whose order is looked at: as many are measured with all samples."""


class Columns:
    """Measures what stands beside each direction in a file.

    Args:
        generator: In eval mode.
        config: Samples, classes, truncation, space, layers, and the penalty's settings.
        ranks: The processes that share the work; ``None`` is this one alone.
        seed: Seed of the samples; discovery always takes 0.
        on_progress: Told what is being done.
    """

    def __init__(
        self, generator: Generator, config: DiscoverConfig, *, ranks: Ranks | None = None, seed: int = 0,
        on_progress: Progress = no_progress,
    ) -> None:  # fmt: skip
        self.generator, self.config, self.ranks = generator, config, ranks or Ranks()
        self.search = Search.resolve(generator, config)
        self.held_out = draw_held_out(generator, shared_among(self.ranks, config), seed=seed)
        self._on_progress = on_progress
        self._where: dict[str, Any] = {
            "classes": self.search.classes, "truncation": config.truncation, "layers": self.search.layers, "seed": seed
        }  # fmt: skip

    def few_samples(self, ndirs: int) -> int:
        """Samples for the activeness of all directions: of many only the first are looked at one by one."""
        return self.config.final_samples if ndirs <= _FIRST else max(32, self.config.final_samples // 8)

    def activeness(self, basis: Tensor) -> Tensor:
        """Measure the activeness of orthonormal rows, that of the most active with all samples; (ndirs,) float64."""
        few, final = self.few_samples(len(basis)), self.config.final_samples
        active = self.activeness_by(basis, min(few, final))
        if few < final:
            first = torch.argsort(active, descending=True, stable=True)[:_FIRST].sort().values
            active[first] = self.activeness_by(basis[first.to(basis.device)], final)
        return active

    def activeness_by(self, basis: Tensor, samples: int) -> Tensor:
        """Measure the activeness of orthonormal rows by so many samples; (ndirs,) float64."""
        mine = self.ranks.share(basis)
        count = counter(self._on_progress, "Measuring activeness", 3 * len(mine) * samples)
        found = activeness(self.generator, mine, samples=samples, rows=self.held_out.rows, count=count, **self._where)
        return torch.tensor(self.ranks.collect(found.tolist()), dtype=torch.float64)

    def path_sizes(self, basis: Tensor) -> list[float]:
        """Suggest how far to go along orthonormal rows."""
        mine = self.ranks.share(basis)
        # A stage of the path is kept or not: fewer samples decide that as well.
        samples = min(8, -(-self.config.final_samples // 4))
        sizes = suggested_path_sizes(
            self.generator, mine, largest=self.config.path_size, samples=samples, space=self.search.space,
            count=counter(self._on_progress, "Measuring path sizes", 9 * len(mine) * samples), **self._where,
        )  # fmt: skip
        return self.ranks.collect(sizes)

    def penalty_shares(self, basis: Tensor) -> list[float]:
        """Divide the penalty of a basis among its directions."""
        self._on_progress("Measuring penalty shares", 0, 0, "")
        return penalty_shares(self.generator, basis, self.held_out, ranks=self.ranks).tolist()


def config_of(directions: Directions, generator: Generator, **changes: Any) -> DiscoverConfig:
    """Turn a file's header into settings to measure by: its classes, truncation, space, layers and penalty.

    Args:
        directions: Of the file.
        generator: In which they were found.
        **changes: Other settings.

    Returns:
        The settings.

    Raises:
        UserError: If the directions do not belong to the generator.
    """
    directions.require_fits(generator)
    header, layers = directions.header, chosen_layers(generator, directions.layers)
    start, stop = header["space"]
    kept = {key: header["config"][key] for key in ("epsilon", "path_size", "reduction") if key in header["config"]}
    return DiscoverConfig(
        generator=directions.generator,
        classes=tuple(header["classes"]) if isinstance(header["classes"], list) else "all",
        ndirs=len(directions),
        space=f"{start}:{stop}",
        layers=None if layers is None else str(layers),
        truncation=header["truncation"] or 1.0,
        **kept | changes,
    )


def measure_columns(
    directions: Directions, generator: Generator, *, final_samples: int = 256, seed: int = 0,
    on_progress: Progress = no_progress,
) -> dict[str, list[float]]:  # fmt: skip
    """Measure directions that come from elsewhere as discovery measures its own, for `with_columns`.

    Args:
        directions: Such as `directions.convert.convert` makes them.
        generator: In which they were found, in eval mode.
        final_samples: Places of the activeness of the most active 16; of the others an eighth, but at least 32.
        seed: Seed of the samples.
        on_progress: Told what is being done.

    Returns:
        ``activeness``, ``path_size`` and ``penalty_share``, a number for each direction.

    Raises:
        UserError: If the directions do not belong to the generator, or the settings are not allowed.
    """
    config = config_of(directions, generator, final_samples=final_samples)
    columns = Columns(generator, config, seed=seed, on_progress=on_progress)
    basis = directions.tensor.to(generator.device)
    return {
        "activeness": columns.activeness(basis).tolist(),
        "path_size": columns.path_sizes(basis),
        "penalty_share": columns.penalty_shares(basis),
    }


def with_columns(directions: Directions, columns: Mapping[str, Sequence[float]]) -> Directions:
    """Return the same directions, in their order, with what was measured of them, and a line in their history.

    A path size that somebody has written since the file was made stays.
    """
    return Directions(directions.matrix, fill_in(directions.header, columns))


def summarise(
    generator: Generator, config: DiscoverConfig, snapshot: Any, *, ranks: Ranks | None = None,
    known: dict[Any, Any] | None = None, on_progress: Progress = no_progress,
) -> Directions:  # fmt: skip
    """Turn the last snapshot of `discover` into directions.

    It depends on that and the configuration only, so a resumed run ends with the same file as an unbroken one.

    Args:
        generator: As it was given to `discover`.
        config: As it was given to `discover`.
        snapshot: The last one.
        ranks: As they were given to `discover`; each of them calls this, and gets the same. ``None`` is this process
            alone.
        known: As `discover` was given it: what does not depend on the directions is measured once.
        on_progress: Told what is being done.

    Returns:
        The directions, most active first, named d0, d1, …; with path sizes and penalty shares; and in the header the
        held-out penalty before and after training, of random directions and of the axes of z, and how nearly diagonal
        held-out Hessians are along each of these. With a joint start, more directions than asked for may have been
        found: the most active are kept, and penalties and shares are those of all, which belong together.
    """
    started, ranks = time.perf_counter(), ranks or Ranks()
    columns = Columns(generator, config, ranks=ranks, on_progress=on_progress)
    known = {} if known is None else known
    search, held_out = columns.search, columns.held_out
    active = columns.activeness(snapshot.basis)
    order = torch.argsort(active, descending=True, stable=True)
    basis = snapshot.basis[order.to(snapshot.basis.device)]
    kept, every = basis[: search.ndirs], dataclasses.replace(search, ndirs=len(basis))

    def once(make: Callable[[], Any], *key: object) -> Any:
        if key not in known:
            known[key] = make()
        return known[key]

    size, places = (len(basis), config.held_out, config.final_samples), config.held_out_places
    sizes = columns.path_sizes(kept)
    on_progress("Measuring penalties", 0, 0, "")
    penalty: dict[str, Any] = {
        "before": snapshot.held_out_before,
        "after": held_out_penalty(generator, basis, held_out, ranks=ranks),
        **once(lambda: baseline_penalties(generator, every, held_out, ranks=ranks), "penalties", *size),
    }
    hessians = once(lambda: HeldOutHessians.measure(generator, config, places=places, ranks=ranks), "hessians", places)
    scores = {
        "found": hessians.score(basis),
        "random": hessians.random(len(basis)),
        "axes": hessians.score(axis_directions(every)),
    }
    joint, joint_columns = None, None
    if snapshot.joint is not None:
        joint = measurement_report(planned_measurements(config, search))
        joint |= snapshot.joint.report() | {"found": len(basis), "criterion": config.criterion}
        joint |= {"steps": snapshot.gain} if snapshot.gain else {}
        unordered = snapshot.joint.columns()
        joint_columns = {name: [values[i] for i in order.tolist()][: len(kept)] for name, values in unordered.items()}
    header = make_header(
        generator,
        path_sizes=sizes,
        activeness=active[order].tolist()[: len(kept)],
        penalty_shares=columns.penalty_shares(basis)[: len(kept)],
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
    few = max(2, columns.few_samples(len(basis)) // 4)
    chance = once(lambda: columns.activeness_by(random_directions(every, seed=0), few), "chance", *size)
    header["first"] = {"count": number}
    for name, values in (("found", active), ("random", chance)):
        share = values.sort(descending=True).values[:number].sum() / values.sum()
        header["first"][name] = round(float(share), 6) if values.sum() > 0 else None
    if snapshot.plan is not None:
        header["plan"] = {name: snapshot.plan[name] for name in ("words", "time", "expected", "spent")}
        header["plan"]["spent"] += time.perf_counter() - started
    return Directions(kept.cpu().numpy(), header)
