"""The script that trains the scene reader, on a handful of drawn images."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from program import load_program

from directions.evaluation.scene_reader import FACTORS, SHAPES, load_scene_reader

script = load_program("scripts/train_reader.py")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder like that of ``render_scenes.py``: 40 images of noise with random factors."""
    folder = tmp_path_factory.mktemp("scenes")
    rng = np.random.default_rng(0)
    np.save(folder / "images.npy", rng.integers(0, 256, (40, 64, 64, 3), dtype=np.uint8))
    lines = [f"{index},{SHAPES[index % 3]},{','.join(map(str, rng.uniform(0, 0.75, 4)))}" for index in range(40)]
    (folder / "factors.csv").write_text("\n".join([f"index,shape,{','.join(FACTORS)}", *lines]))
    (folder / "dataset.json").write_text(json.dumps({"sha256": "0" * 64}))
    return folder


def test_training_resumes_to_the_same_weights_and_exports_them(data, tmp_path, monkeypatch):
    """Stopped after the first epoch and run again, training ends bit-identical to an unbroken run."""
    scenes = script.load_scenes(data)
    settings = script.Settings(scenes.digest, epochs=2, batch=8, held_out=16, seed=3)
    unbroken, _ = script.train(scenes, settings, tmp_path / "unbroken.pt")

    def stop_in_second_epoch(step: int, steps: int) -> float:
        if step == 4:
            raise KeyboardInterrupt
        return rate(step, steps)

    rate = script.learning_rate
    monkeypatch.setattr(script, "learning_rate", stop_in_second_epoch)
    with pytest.raises(KeyboardInterrupt):
        script.train(scenes, settings, tmp_path / "broken.pt")
    monkeypatch.undo()
    resumed, seconds = script.train(scenes, settings, tmp_path / "broken.pt")
    for name, tensor in unbroken.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], tensor, rtol=0, atol=0)

    # Exported, it reads the same: weights, configuration and card go through the loader unchanged.
    held_out = torch.arange(24, 40)
    figures = {
        name: script.score(resumed, scenes, held_out, degraded=name != "clean") for name in ("clean", "degraded")
    }
    script.export(resumed, scenes, settings, figures, seconds, tmp_path / "out")
    loaded = load_scene_reader(tmp_path / "out")
    images = scenes.batch(held_out)
    torch.testing.assert_close(loaded.read(images), resumed.read(images), rtol=0, atol=0)
    card = (tmp_path / "out" / "card.md").read_text()
    assert json.loads((tmp_path / "out" / "config.json").read_text())["sha256"] in card
    assert "| degraded | " in card
