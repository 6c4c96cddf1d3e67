"""The metrics of ``directions gan evaluate`` by name; torch is not imported, so that the help can list them at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from directions.errors import UserError, nearest

Kind = Literal["activeness", "diagonalness", "path_length", "frechet", "factor_effects", "dci", "mig"]


@dataclass(frozen=True)
class NamedMetric:
    """A metric with its settings: numbers under one name can be compared.

    Attributes:
        name: What it is asked for by.
        kind: What is computed.
        summary: What the value is, and which way is better.
        cost: What it takes, in images made.
        settings: Everything that the number depends on but the generator and the data; the seed of whatever is drawn
            is 0.
        network: Feature network, by its name; ``None`` where there is none.
    """

    name: str
    kind: Kind
    summary: str
    cost: str
    settings: dict[str, Any]
    network: str | None = None

    @property
    def needs_data(self) -> bool:
        """Whether real images are needed."""
        return self.kind == "frechet"

    @property
    def reads_scenes(self) -> bool:
        """Whether it makes sense only where a judge reads the images, as for the rendered scenes."""
        return self.kind in ("factor_effects", "dci", "mig")


def _path_length(name: str, network: str, pairs: int) -> NamedMetric:
    summary, cost = "perceptual path length, lower is better", f"{2 * pairs:,} images and their features"
    return NamedMetric(name, "path_length", summary, cost, {"pairs": pairs, "step": 1e-4}, network)


def _frechet(name: str, network: str, images: int) -> NamedMetric:
    summary = "Fréchet distance to real images, lower is better"
    return NamedMetric(
        name, "frechet", summary, f"{images:,} images, features of as many real ones", {"images": images}, network
    )


def _scenes(name: str, kind: Kind, summary: str, cost: str, **settings: float) -> NamedMetric:
    return NamedMetric(name, kind, f"scenes: {summary}, higher is better", cost, settings)


_BENDING = "share of pixels whose Hessian is largest on the diagonal, higher is better"
_CARRIED = "components that carry 95 % of the activeness"
_ACTIVENESS = {"samples": 300, "progan_normalised_from": 12}
_HESSIANS = {"samples": 16, "step": 0.1, "floor": 1e-3}
_EFFECT = "share of a component's effect on one factor"

METRICS: dict[str, NamedMetric] = {
    metric.name: metric
    for metric in (
        NamedMetric("activeness", "activeness", _CARRIED, "900 images a component", _ACTIVENESS),
        NamedMetric("diagonalness", "diagonalness", _BENDING, "16 × (2 |z|² + 1) images", _HESSIANS),
        _path_length("ppl_zend_effnetlite0_10k", "effnetlite0", 10_000),
        _path_length("ppl_zend_effnetlite0", "effnetlite0", 100_000),
        _path_length("ppl_zend_lpips_vgg", "lpips_vgg", 100_000),
        _frechet("fd_effnetlite0_5k", "effnetlite0", 5_000),
        _frechet("fd_effnetlite0_50k", "effnetlite0", 50_000),
        _frechet("fid_inception_50k", "inception", 50_000),
        _scenes("factor_effects", "factor_effects", _EFFECT, "192 × (2 |z| + 1) images", num_points=192, path_size=2.0),
        _scenes("dci_10k", "dci", "DCI disentanglement", "10,000 images, a random forest a factor", samples=10_000),
        _scenes("mig_10k", "mig", "mutual information gap", "10,000 images (those of dci_10k)", samples=10_000),
    )
}

GROUPS: dict[str, tuple[str, ...]] = {
    "quick": ("activeness", "diagonalness", "ppl_zend_effnetlite0_10k", "fd_effnetlite0_5k"),
    "scenes": ("factor_effects", "dci_10k", "mig_10k"),
    "paper": ("activeness", "ppl_zend_lpips_vgg", "fid_inception_50k"),
}
"""Several metrics under one name."""


def find_metrics(names: str, *, have_data: bool) -> tuple[NamedMetric, ...]:
    """Look up metrics and groups of them.

    Args:
        names: Separated by commas.
        have_data: Whether there are real images. Without them a metric that needs them is left out of a group, and
            refused if it is asked for by its name.

    Returns:
        The metrics, each once, in the order asked for.

    Raises:
        UserError: If there is no such metric, it needs images that are not there, or none is left.
    """
    allowed = [*METRICS, *GROUPS]
    found: dict[str, NamedMetric] = {}
    for name in (part.strip() for part in names.split(",") if part.strip()):
        if name not in allowed:
            raise UserError(f"metrics must be of {', '.join(allowed)}; got {name!r}.{nearest(name, allowed)}")
        if name in METRICS and METRICS[name].needs_data and not have_data:
            raise UserError(f"metrics has {name}, which compares with real images. Give them with --data FOLDER.")
        members = (METRICS[member] for member in GROUPS.get(name, (name,)))
        found |= {metric.name: metric for metric in members if have_data or not metric.needs_data}
    if not found:
        raise UserError(f"metrics must name at least one of {', '.join(allowed)}; got {names!r}.")
    return tuple(found.values())
