"""The end of a run, and the baselines that it is compared with."""

from __future__ import annotations

import pytest
import torch
from closed import DoubleGenerator

from directions.discovery import discover
from directions.evaluation import summary
from directions.evaluation.activeness import activeness
from directions.evaluation.summary import summarise
from directions.held_out import HeldOutHessians, baseline_penalties, draw_held_out, held_out_penalty
from directions.search import Search
from directions.settings.discover import DiscoverConfig

CONFIG = DiscoverConfig(
    method="adam", steps=4, batch_size=4, held_out=6, held_out_probes=2, eval_every=3, final_samples=4, space="1:4",
    classes=(0, 2),
)  # fmt: skip


@pytest.fixture(scope="module")
def run():
    generator = DoubleGenerator()
    *_, snapshot = discover(generator, CONFIG)
    return generator, snapshot, summarise(generator, CONFIG, snapshot)


def test_summarise_orders_by_activeness(run):
    """The most active first; each row is one of the learned ones, with its own activeness."""
    generator, snapshot, directions = run
    active = directions.activeness
    assert list(active) == sorted(active, reverse=True)
    agreement = torch.tensor(directions.matrix).double() @ snapshot.basis.T
    assert agreement.abs().amax(dim=1).tolist() == pytest.approx([1.0] * 3, abs=1e-6)
    again = activeness(generator, torch.tensor(directions.matrix), samples=4, classes=(0, 2))
    assert again.tolist() == pytest.approx(active, rel=1e-5)


def test_summarise_measures_the_most_active_with_all_samples(run, monkeypatch):
    """Of many directions the others get fewer."""
    generator, snapshot, _ = run
    monkeypatch.setattr(summary, "_FIRST", 2)
    directions = summarise(generator, CONFIG.replace(final_samples=40), snapshot)
    measured = activeness(generator, torch.tensor(directions.matrix), samples=40, classes=(0, 2)).tolist()
    assert list(directions.activeness[:2]) == pytest.approx(measured[:2], rel=1e-5)
    assert list(directions.activeness) == sorted(directions.activeness, reverse=True)


def test_summarise_scores_what_is_in_the_file(run):
    """Whoever scores the file gets the number that stands in it, which is that of the last step."""
    generator, snapshot, directions = run
    held_out = draw_held_out(generator, CONFIG)
    penalty = directions.header["penalty"]
    assert penalty["before"] == snapshot.held_out_before
    assert DiscoverConfig.from_dict(directions.header["config"]) == CONFIG
    assert sum(entry["penalty_share"] for entry in directions.header["directions"]) == pytest.approx(1.0)
    scored = held_out_penalty(generator, torch.tensor(directions.matrix), held_out)
    assert penalty["after"] == pytest.approx(scored, rel=1e-4)
    assert penalty["after"] == pytest.approx(held_out_penalty(generator, snapshot.basis, held_out), rel=1e-4)
    baselines = baseline_penalties(generator, Search.resolve(generator, CONFIG), held_out)
    assert {name: penalty[name] for name in ("random", "axes")} == baselines


def test_summarise_says_how_diagonal_held_out_hessians_are(run):
    """Along the directions of the file, random ones and the axes; those measured before are taken."""
    generator, snapshot, directions = run
    hessians = HeldOutHessians.measure(generator, CONFIG, places=2)
    said = directions.header["penalty"]["hessians"]
    assert said["found"] == pytest.approx(hessians.score(torch.tensor(directions.matrix)).to_dict(), rel=1e-3)
    assert said["random"]["off_diagonal"] == pytest.approx(hessians.random().off_diagonal, rel=1e-4)
    other = HeldOutHessians(hessians.space, tuple(2 * place for place in hessians.places))
    known = {("hessians", CONFIG.held_out_places): other}
    again = summarise(generator, CONFIG, snapshot, known=known).header["penalty"]["hessians"]
    assert again["axes"]["off_diagonal"] == pytest.approx(4 * said["axes"]["off_diagonal"], rel=1e-4)
