"""The scripts of examples/, run on a small file, as the recipes show them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from closed import ClosedFormGenerator
from PIL import Image
from program import load_program

from directions.direction_file import Directions, load_directions
from directions.generators.registry import load_generator

FOLDER = Path(__file__).parents[2] / "examples"


@pytest.fixture
def file(tmp_path):
    generator = ClosedFormGenerator(dim_z=4, resolution=8)
    path = tmp_path / "directions.safetensors"
    more = {"path_sizes": [3.0, 2.0, 1.0], "names": ["hue", "size", "light"]}
    Directions.from_basis(generator.directions[:3], generator, **more).save(path)
    return str(path)


def test_notebook(file, monkeypatch, capsys):
    """The table, the picture, the name."""
    module = load_program("examples/notebook.py")
    monkeypatch.setattr(module, "load_generator", lambda name: ClosedFormGenerator(dim_z=4, resolution=8))
    module.main(file)
    folder = Path(file).parent
    assert "hue" in (folder / "directions.html").read_text()
    with Image.open(folder / "path.png") as picture:
        assert picture.size == (9 * 10 - 2, 4 * 10 - 2)
    assert load_directions(file).names[0] == "first"
    assert capsys.readouterr().out == "first - 0 'hue': name 'first', note 'the most active'\n"


def test_discover_notebook_runs_from_top_to_bottom(tmp_path, monkeypatch):
    """Its cells, but for the one that installs, with a budget of a second; it has a curve, pictures and a file then."""
    pyplot = pytest.importorskip("matplotlib.pyplot", reason="the notebook draws with it")
    pyplot.switch_backend("agg")
    shown, updates = [], []

    def display(thing, display_id=False):
        shown.append(thing)
        return SimpleNamespace(update=updates.append)

    monkeypatch.setattr("directions.load_generator", lambda name: ClosedFormGenerator(dim_z=4, resolution=8))
    monkeypatch.chdir(tmp_path)
    cells = json.loads((FOLDER / "discover.ipynb").read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert "%pip install" in sources[0]
    assert "SECONDS = 60\n" in sources[1]
    names = {"display": display}  # which notebooks have
    small = {"SECONDS = 60\n": "SECONDS = 1\n", "held_out=16, final_samples=16": "held_out=2, final_samples=2"}
    for source in sources[1:]:
        for given, instead in small.items():
            source = source.replace(given, instead)
        exec(compile(source, "discover.ipynb", "exec"), names)
    assert updates
    assert sum(isinstance(thing, Image.Image) for thing in shown) == 6
    saved = load_directions("directions.safetensors")
    assert saved.names[0] == "first"
    assert not torch.equal(names["moved"], names["z"])


@pytest.mark.parametrize(
    ("name", "shape"), [("own_generator", (3, 4, 3, 16, 16)), ("pipeline", (4, 3, 1, 4)), ("inverse", None)]
)
def test_other_examples(file, capsys, name, shape):
    """Images change along a path and from moved latents; amounts come back, up to the little that was added."""
    made = load_program(f"examples/{name}.py").main(file)
    if shape is None:
        np.testing.assert_allclose(made[0, :2], [2.0, -1.0], atol=0.5)
        assert "not explained by any direction" in capsys.readouterr().out
    else:
        assert made.shape == shape
        assert not torch.equal(made[0], made[-1])


def test_faces():
    """Somebody else's network: faces that differ, in [-1, 1]; CI installs its package where it can (`.ci/run`)."""
    pytest.importorskip("gan_face_generate", reason="make faces installs it")
    generator = load_generator(f"{FOLDER / 'faces.py'}:load")
    assert (generator.dim_z, generator.num_classes, generator.resolution) == (100, 0, 64)
    images = generator(generator.sample_z(8, seed=0))
    assert images.shape == (8, 3, 64, 64)
    assert images.abs().max() <= 1
    assert 0.2 < images.std(dim=0).mean() < 0.8


def test_faces_are_shown_whole_and_pinned():
    """The documentation shows the adapter as it is; only the package that was looked at is installed."""
    source = (FOLDER / "faces.py").read_text(encoding="utf-8")
    assert source in (FOLDER.parent / "docs" / "faces.md").read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 30
    pins = (FOLDER / "faces-requirements.txt").read_text(encoding="utf-8").splitlines()
    assert all("==" in pin and "--hash=sha256:" in pin for pin in pins if not pin.startswith("#"))


def test_faces_offline(tmp_path):
    """Without the package and the network it is said what is missing, and that make demo needs nothing."""
    pip = tmp_path / "python"
    pip.write_text("#!/bin/sh\nexit 1\n")
    pip.chmod(0o755)
    result = subprocess.run(
        [FOLDER.parent / "scripts" / "faces.sh", "--install"],
        cwd=FOLDER.parent, env=os.environ | {"BIN": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (result.returncode, result.stdout) == (1, "")
    assert "Missing: the package gan_face_generate 1.1.1" in result.stderr
    assert "make demo needs nothing" in result.stderr


def test_example_of_a_sorted_z():
    """Seven of its 12 components carry 95% of the activeness, as its docs say; without the penalty 11 do."""
    from directions.evaluation.activeness import component_activeness

    assert component_activeness(load_generator(str(FOLDER / "sorted_z")), samples=300)["carrying_95"] == 7
