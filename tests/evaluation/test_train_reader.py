"""The script that trains the scene reader, on a handful of drawn images."""

from __future__ import annotations

import json

import numpy as np
import torch
from program import load_program

from directions.evaluation.scene_reader import FACTORS, SHAPES, load_scene_reader

script = load_program("scripts/train_reader.py")


def test_training_exports_what_reads_the_same(tmp_path):
    """Weights, configuration and card go through the loader unchanged; 40 images of noise with random factors."""
    rng = np.random.default_rng(0)
    np.save(tmp_path / "images.npy", rng.integers(0, 256, (40, 64, 64, 3), dtype=np.uint8))
    lines = [f"{index},{SHAPES[index % 3]},{','.join(map(str, rng.uniform(0, 0.75, 4)))}" for index in range(40)]
    (tmp_path / "factors.csv").write_text("\n".join([f"index,shape,{','.join(FACTORS)}", *lines]))
    (tmp_path / "dataset.json").write_text(json.dumps({"sha256": "0" * 64}))
    scenes = script.load_scenes(tmp_path)
    settings = script.Settings(scenes.digest, epochs=1, batch=8, held_out=16, seed=3)
    reader, seconds = script.train(scenes, settings, tmp_path / "checkpoint.pt")
    held_out = torch.arange(24, 40)
    figures = {name: script.score(reader, scenes, held_out, degraded=name != "clean") for name in ("clean", "degraded")}
    script.export(reader, scenes, settings, figures, seconds, tmp_path / "out")
    loaded = load_scene_reader(tmp_path / "out")
    images = scenes.batch(held_out)
    torch.testing.assert_close(loaded.read(images), reader.read(images), rtol=0, atol=0)
    card = (tmp_path / "out" / "card.md").read_text()
    assert json.loads((tmp_path / "out" / "config.json").read_text())["sha256"] in card
    assert "| degraded | " in card
