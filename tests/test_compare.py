"""Methods side by side: the same unseen places for all, runs that are used again, faults that are named."""

from __future__ import annotations

import json

import pytest
import torch
from closed import DoubleGenerator, TwoLayers

import directions.compare
from directions.cli.main import main
from directions.compare import PRESETS, Comparison, markdown
from directions.discovery import discover
from directions.generators.registry import load_generator
from directions.settings.discover import DiscoverConfig

SMALL = {
    "held_out": 2, "held_out_probes": 2, "final_samples": 2, "base_points": 2, "starts": 1, "steps": 2, "batch_size": 2,
    "eval_every": 1,
}  # fmt: skip
METHODS = ("random", "axes", "sefa", "pca-jacobian", "voynov", "hessian", "jacobian", "hessian+adam", "adam")


@pytest.fixture
def generator():
    return load_generator(TwoLayers())


def compare(generator, folder, methods=("random", "axes", "hessian"), seeds=(0, 1)):
    folder.mkdir(exist_ok=True)
    return Comparison(generator, SMALL, methods, seeds, folder, samples=8)


def test_tables_and_page(generator, tmp_path, monkeypatch):
    """Every method has its row; the page opens from the disk, and its pictures are there."""
    result = compare(generator, tmp_path / "out").run()
    assert json.loads((tmp_path / "out" / "compare.json").read_text()) == result
    assert [len(entry["cells"]) for entry in result["methods"].values()] == [2, 1, 2]  # axes need one seed
    means = {label: entry["mean"] for label, entry in result["methods"].items()}
    assert means["hessian"]["hessian_penalty"] < means["random"]["hessian_penalty"]
    assert 0 < means["random"]["agreement"] <= 1
    assert "agreement" not in means["axes"]
    assert means["random"]["images"] > 0
    text = (tmp_path / "out" / "compare.md").read_text()
    assert text == markdown(result)
    assert text.count("\n| ") == 4
    page = (tmp_path / "out" / "index.html").read_text()
    pictures = sorted(path.relative_to(tmp_path / "out").as_posix() for path in tmp_path.glob("out/pictures/*"))
    assert len(pictures) == 12
    assert all(f'src="{picture}"' in page for picture in pictures)

    # Again: nothing is run or judged a second time.
    monkeypatch.setattr(directions.compare, "discover", None)
    monkeypatch.setattr(Comparison, "_scores", None)
    assert compare(generator, tmp_path / "out").run() == result


def test_judges_look_where_no_method_was_fitted(generator, tmp_path, monkeypatch):
    """No latent that a judge draws is one that a method has drawn, for any method; and all are judged at the same."""
    drawn: set[tuple[float, ...]] = set()
    sample = type(generator).sample_z_from

    def recording(self, n, rng, truncation=1.0):
        z = sample(self, n, rng, truncation)
        drawn.update(map(tuple, z.tolist()))
        return z

    monkeypatch.setattr(type(generator), "sample_z_from", recording)
    monkeypatch.setattr("directions.methods.PCA_SAMPLES", 500)
    for label in (*METHODS, "pca"):
        for seed in (0, 1):  # the last snapshot: what follows only describes what was found
            *_, snapshot = discover(generator, DiscoverConfig(**SMALL | {**PRESETS[label], "seed": seed}))
    fitted = set(drawn)
    found = snapshot.directions(generator)
    judged = []
    for number in range(2):
        drawn.clear()
        comparison = compare(generator, tmp_path / str(number))
        comparison._scores(found)
        comparison._picture(torch.eye(4)[0], 1.0, tmp_path / "pictures" / "x.webp")
        judged.append(set(drawn))
    assert fitted
    assert judged[0] == judged[1]
    assert not fitted & judged[0]


def test_command(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("directions.generators.registry.load_generator", lambda *_, **__: DoubleGenerator())
    options = ["--seeds=1", "--samples=8", "--final-samples=2", "--held-out=2", "--out", str(tmp_path / "o")]
    assert main(["compare", "toy", "--methods", "axes,sefa", "--quiet", *options]) == 0
    out = capsys.readouterr().out
    assert "axes" in out
    assert "index.html" in out
    assert "sefa (failed: method sefa and pca need the first layer" in (tmp_path / "o" / "compare.md").read_text()
    assert main(["compare", "toy", "--methods", "axis", *options]) == 2
    assert "Did you mean 'axes'?" in capsys.readouterr().err
