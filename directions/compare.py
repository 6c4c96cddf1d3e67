"""Compare methods on one generator: run them, judge all of them at the same places, write tables and a page."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import torch
from jinja2 import Environment, PackageLoader

from directions.direction_file import Directions
from directions.direction_file.format import digests_of
from directions.discovery import Snapshot, discover
from directions.errors import MissingExtraError, NonFiniteError, UserError
from directions.evaluation.factors import Judge, LatentReadings, judge_of, measure_factors, measure_mig, read_latents
from directions.evaluation.report import FACTOR_PATH
from directions.evaluation.statistics import Statistics, describe
from directions.files import write_bytes, write_text
from directions.generators.base import Generator, edited_images
from directions.held_out import HeldOutHessians
from directions.joint.solve import match_directions
from directions.ranks import Progress, no_progress
from directions.rendering.frames import to_uint8
from directions.run import RunFolder, finished_run, record_run
from directions.sampling import derived_rng, draw_points
from directions.search import Search
from directions.settings.discover import DiscoverConfig

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "random": {"method": "random"},
    "axes": {"method": "axes"},
    "pca": {"method": "pca"},
    "pca-jacobian": {"method": "pca", "pca_of": "jacobian"},
    "sefa": {"method": "sefa"},
    "voynov": {"method": "voynov"},
    "hessian": {"method": "joint", "criterion": "hessian"},
    "jacobian": {"method": "joint", "criterion": "jacobian"},
    "both": {"method": "joint", "criterion": "both"},
    "hessian+adam": {"method": "joint+adam", "criterion": "hessian"},
    "adam": {"method": "adam"},
}
"""The methods by the names that tables have, and the settings of `directions discover` that make each."""

HELD_OUT_SEED = 1
"""Of all that judges draw. Discovery chooses between bases by sets of seed 0, which therefore would not be unseen."""

ACTIVE, JUDGED, SHOWN = 12, 24, 8
"""Directions, most active first: that seeds are to agree on, that judges look at, that the page shows."""

COLUMNS = {
    "hessian_penalty": "Hessian Penalty", "on_diagonal": "on the diagonal", "jacobian_penalty": "Jacobian penalty",
    "active": "active in the first", "agreement": "agreement", "factor": "on one factor", "dci": "DCI", "mig": "MIG",
    "statistic": "on one statistic", "seconds": "seconds", "images": "images",
}  # fmt: skip
SAMPLES: Mapping[str, int] = {"held_out": 32, "final_samples": 16}
"""Of each run, where not given: what a run measures of its directions at the end is not what judges look at."""

_SEEDLESS = ("axes", "sefa")
_READINGS = 2000  # latents for MIG
_PICTURES = 3  # samples of the page


class _Both:
    """Several judges as one, which is shown each picture once."""

    def __init__(self, judges: Mapping[str, Judge]) -> None:
        self._judges = judges.values()
        self.names = tuple(f"{key}: {name}" for key, judge in judges.items() for name in judge.names)

        def joined(each: Callable[[Judge], Mapping[str, float]]) -> Mapping[str, float]:
            return {f"{key}: {name}": value for key, judge in judges.items() for name, value in each(judge).items()}

        self.spread, self.periods = joined(lambda judge: judge.spread), joined(lambda judge: judge.periods)

    def read(self, images: torch.Tensor, y: torch.Tensor | None) -> torch.Tensor:
        return torch.cat([judge.read(images, y).double().cpu() for judge in self._judges], dim=1)


@dataclass(eq=False)
class Comparison:
    """Methods side by side.

    Attributes:
        generator: In eval mode.
        settings: Of `DiscoverConfig`, for all methods alike.
        methods: Names among `PRESETS`.
        seeds: Of the runs; methods that draw nothing have the first only.
        folder: Where runs, tables and the page go. What it holds of the same settings is used again.
        samples: Base points of the judges of pictures.
        on_progress: Told what is being done.
    """

    generator: Generator
    settings: Mapping[str, Any]
    methods: Sequence[str]
    seeds: Sequence[int]
    folder: Path
    samples: int = 64
    on_progress: Progress = no_progress
    found: dict[str, list[Directions]] = field(default_factory=dict)

    def run(self) -> dict[str, Any]:
        """Run what is missing, judge, and write after each cell; a method that fails is named, the others go on.

        Returns:
            What ``compare.json`` holds.

        Raises:
            Interrupted: After a signal; everything so far is kept.
        """
        result: dict[str, Any] = {
            "generator": {"name": self.generator.name, "digest": self.generator.digest},
            "settings": dict(self.settings),
            "methods": {},
        }
        for label in self.methods:
            entry: dict[str, Any] = {"cells": []}
            result["methods"][label], self.found[label] = entry, []
            try:
                for seed in self.seeds[:1] if label in _SEEDLESS else self.seeds:
                    directions, scores = self._cell(label, seed)
                    self.found[label].append(directions)
                    entry["cells"].append({"seed": seed} | scores)
                    entry["mean"], entry["error"] = self._means(label, entry["cells"])
                    self._write(result)
            except (UserError, NonFiniteError, RuntimeError) as error:
                entry["failed"] = str(error)
        result["rank_correlation"] = self._validated(result)
        self._write(result)
        write_text(self.folder / "index.html", self._page(result))
        return result

    def _write(self, result: Mapping[str, Any]) -> None:
        write_text(self.folder / "compare.json", json.dumps(result, indent=1) + "\n")
        write_text(self.folder / "compare.md", markdown(result))

    def _cell(self, label: str, seed: int) -> tuple[Directions, dict[str, Any]]:
        """The directions of a method and seed, and their scores: run, taken up again, or as they are there."""
        # Without a time there is no plan either: what is compared does not depend on how busy the machine is.
        planned = {} if self.settings.get("time") else {"free": ()}
        config = DiscoverConfig(**{**SAMPLES, **planned, **self.settings, **PRESETS[label], "seed": seed})
        paths = []
        for recorded in digests_of(self.generator):
            facts = json.dumps([config.to_dict() | {"device": None}, recorded], sort_keys=True)
            digest = hashlib.sha256(facts.encode()).hexdigest()[:8]
            paths.append(self.folder / "runs" / f"{label}-{seed}-{digest}")
        folder = RunFolder(next(filter(Path.exists, paths), paths[0]))
        folder.path.mkdir(parents=True, exist_ok=True)
        folder.write_config(config.to_dict())
        found = finished_run(folder, config)
        if found is None:
            state = (folder.read_checkpoint() or {}).get("state")
            steps = discover(self.generator, config, resume_from=state, on_progress=self.on_progress, known=self._known)
            with contextlib.closing(self._metered(steps, folder.path / "used.json", config)) as snapshots:
                found = record_run(snapshots, self.generator, folder, on_progress=self.on_progress)
        path = folder.path / f"scores-{self.samples}.json"
        if not path.exists():
            used = json.loads((folder.path / "used.json").read_text(encoding="utf-8"))
            write_text(path, json.dumps(self._scores(found) | used, indent=1))
        scores = json.loads(path.read_text(encoding="utf-8"))
        return found, scores | {"active": found.header["first"]["found"]}

    def _metered(self, steps: Iterator[Snapshot], path: Path, config: DiscoverConfig) -> Any:
        """Count seconds, and rows of z given to the generator; what is measured of the result does not count."""
        used = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"seconds": 0.0, "images": 0}

        def count(module: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
            used["images"] += len(inputs[0])

        # Behind a prefix of layers only a part of the generator runs: nothing that could be compared.
        countable = isinstance(self.generator, torch.nn.Module) and config.layers is None
        hook = self.generator.register_forward_pre_hook(count) if countable else None  # type: ignore[attr-defined]
        try:
            with hook or contextlib.nullcontext():
                started = time.perf_counter()
                for snapshot in steps:
                    used["seconds"] += time.perf_counter() - started
                    yield snapshot
                    started = time.perf_counter()
                used["seconds"] += time.perf_counter() - started
        finally:
            write_text(path, json.dumps(used | ({} if countable else {"images": None})))

    @functools.cached_property
    def _config(self) -> DiscoverConfig:
        return DiscoverConfig(**{**SAMPLES, **self.settings})

    @functools.cached_property
    def _search(self) -> Search:
        return Search.resolve(self.generator, self._config)

    @property
    def _drawn(self) -> dict[str, Any]:
        """What samples of the judges are drawn by."""
        return {"classes": self._search.classes, "truncation": self._config.truncation}

    @functools.cached_property
    def _known(self) -> dict[Any, Any]:
        """What runs measure of the generator; the Hessians before the first of them, whose time they do not count."""
        places = self._config.held_out_places
        return {("hessians", places): HeldOutHessians.measure(self.generator, self._config, places=places)}

    @functools.cached_property
    def _places(self) -> dict[str, HeldOutHessians]:
        """Hessians, and JᵀJ over its trace, each at eight places of their own."""
        measure = functools.partial(HeldOutHessians.measure, self.generator, self._config, seed=HELD_OUT_SEED)
        return {"hessian_penalty": measure(), "jacobian_penalty": measure(kind="jacobian")}

    @functools.cached_property
    def _judges(self) -> dict[str, Judge]:
        statistics = Statistics.of(self.generator, seed=HELD_OUT_SEED, **self._drawn)
        known = judge_of(self.generator)
        return {"statistic": statistics} | ({} if known is None else {"factor": known})

    @functools.cached_property
    def _readings(self) -> LatentReadings:
        judge = self._judges["factor"]
        return read_latents(self.generator, judge, samples=_READINGS, seed=HELD_OUT_SEED, **self._drawn)

    def _scores(self, found: Directions) -> dict[str, Any]:
        """Judge directions, all methods' at the same places."""
        self.on_progress("Judging", 0, 0, "")
        basis = found.tensor
        scores: dict[str, Any] = {}
        for name, places in self._places.items():
            score = places.score(basis)
            scores |= {name: 2 * score.off_diagonal, f"{name}_error": 2 * score.off_diagonal_error}
            if name == "hessian_penalty":
                scores |= {"on_diagonal": score.share_on_diagonal, "on_diagonal_error": score.share_error}
        together = measure_factors(
            self.generator, basis[:JUDGED], _Both(self._judges), path_sizes=FACTOR_PATH, num_points=self.samples,
            classes=self._search.classes or None, truncation=self._config.truncation, layers=self._config.layers,
            seed=HELD_OUT_SEED,
        )  # fmt: skip
        for name in self._judges:
            columns = [i for i, factor in enumerate(together.factors) if factor.startswith(f"{name}: ")]
            table = dataclasses.replace(
                together, effects=together.effects[:, columns], factors=tuple(together.factors[i] for i in columns)
            )
            scores |= {name: table.single_factor_share, f"{name}_purities": table.purities.tolist()}
            if name == "factor":
                scores["dci"] = table.disentanglement
                with contextlib.suppress(MissingExtraError):
                    turned = dataclasses.replace(self._readings, z=self._readings.z @ found.matrix.T)
                    scores["mig"] = measure_mig(turned)["mig"]
        return {name: None if value != value else value for name, value in scores.items()}

    def _means(self, label: str, cells: Sequence[Mapping[str, Any]]) -> tuple[dict[str, float], dict[str, float]]:
        """Means over seeds and their standard errors; of one seed those over places, where there are any."""
        means: dict[str, float] = {}
        errors: dict[str, float] = {}
        for name in COLUMNS:
            values = [cell[name] for cell in cells if cell.get(name) is not None]
            if values:
                means[name] = float(np.mean(values))
                alone = cells[0].get(f"{name}_error")
                spread = np.std(values, ddof=1) / math.sqrt(len(values)) if len(values) > 1 else alone
                errors |= {} if spread is None else {name: float(spread)}
        rows = [found.tensor for found in self.found[label]]
        pairs = [match_directions(a[:ACTIVE], b)[1] for i, a in enumerate(rows) for b in rows[i + 1 :]]
        return means | ({"agreement": float(torch.stack(pairs).mean())} if pairs else {}), errors

    def _validated(self, result: Mapping[str, Any]) -> float | None:
        """Spearman's rank correlation, over directions, of purities by known factors and by statistics."""
        from scipy.stats import spearmanr

        cells = [cell for entry in result["methods"].values() for cell in entry["cells"] if "factor" in cell]
        pairs = [[value for cell in cells for value in cell[f"{name}_purities"]] for name in ("factor", "statistic")]
        return float(spearmanr(*pairs).statistic) if cells else None

    @torch.no_grad()
    def _page(self, result: Mapping[str, Any]) -> str:
        """Write pictures, and return the page: the first directions of one method, of the others what is nearest."""
        done = {label: found[0] for label, found in self.found.items() if found}
        means = {label: result["methods"][label]["mean"] for label in done}
        rows: list[list[dict[str, Any]]] = []
        best = min(done, key=lambda label: means[label]["hessian_penalty"], default="")
        done = {label: done[label] for label in sorted(done, key=lambda label: label != best)}  # it comes first
        for label, directions in done.items():
            reference, other = (done[key].tensor for key in (best, label))
            partners, cosines = match_directions(reference[:SHOWN], other[:JUDGED])
            for row, (index, cosine) in enumerate(zip(partners.tolist(), cosines.tolist(), strict=True)):
                sign = 1.0 if float(reference[row] @ other[index]) >= 0 else -1.0
                size = directions.header["directions"][index]["path_size"]
                name = f"pictures/{label}-{index}.webp"
                words = self._picture(sign * other[index], size, self.folder / name)
                rows += [[]] * (row >= len(rows))
                rows[row] = [*rows[row], {"picture": name, "name": f"d{index}", "cosine": cosine, "words": words}]
        loader = PackageLoader("directions.rendering")
        page = Environment(loader=loader, autoescape=True, trim_blocks=True).get_template("compare.html.j2")
        return page.render(result=result, labels=list(done), rows=rows, best=best, table=table(result))

    def _picture(self, row: torch.Tensor, size: float, path: Path) -> str | None:
        """Write a direction's −, 0 and + ends at the samples that all methods have; return words for it."""
        rng = derived_rng(HELD_OUT_SEED, purpose="pictures of a comparison")
        points = draw_points(self.generator, _PICTURES, rng, **self._drawn)
        layers, truncation = self._search.layers, self._config.truncation
        make_images = edited_images(self.generator, points.z, points.y, layers=layers, truncation=truncation)
        step = size * row.to(points.z)
        images = to_uint8(make_images(torch.cat([points.z + amount * step for amount in (-1, 0, 1)])))
        strips = [np.concatenate(list(images[sample::_PICTURES]), axis=1) for sample in range(_PICTURES)]
        path.parent.mkdir(exist_ok=True)
        write_bytes(path, iio.imwrite("<bytes>", np.concatenate(strips), plugin="pillow", extension=".webp"))
        judge = self._judges["statistic"]
        assert isinstance(judge, Statistics)
        where = {"layers": layers, "seed": HELD_OUT_SEED} | self._drawn
        return describe(judge.effects(self.generator, row[None], path_size=size, **where)[0])


def table(result: Mapping[str, Any]) -> list[list[str]]:
    """Return a comparison's table as text, the heading first; columns that no method has are left out."""
    entries = result["methods"]
    shown = [name for name in COLUMNS if any(name in entry.get("mean", {}) for entry in entries.values())]
    rows = [["method", "seeds", *(COLUMNS[name] for name in shown)]]
    for label, entry in entries.items():
        cells = [_number(name, entry.get("mean", {}), entry.get("error", {})) for name in shown]
        failed = f" (failed: {entry['failed']})" if "failed" in entry else ""
        rows.append([label + failed, str(len(entry["cells"])), *cells])
    return rows


def _number(name: str, means: Mapping[str, float], errors: Mapping[str, float]) -> str:
    if name not in means:
        return "–"
    if name in ("seconds", "images"):
        return f"{means[name]:,.0f}"
    return f"{means[name]:.3g}" + (f" ± {errors[name]:.2g}" if name in errors else "")


def markdown(result: Mapping[str, Any]) -> str:
    """Return a comparison's table in Markdown."""
    heading, *rows = table(result)
    lines = [heading, ["---", *["---:"] * (len(heading) - 1)], *rows]
    text = "".join(f"| {' | '.join(' '.join(cell.replace('|', '/').split()) for cell in line)} |\n" for line in lines)
    if result.get("rank_correlation") is None:
        return text
    return f"{text}\nRank correlation of purities by factors and by statistics: {result['rank_correlation']:.2f}\n"
