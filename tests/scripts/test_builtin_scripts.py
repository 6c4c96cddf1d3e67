"""The trainer of the packaged generators: resumes bit-identically, keeps letters grey, and exports what loads."""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

SCRIPTS = Path(__file__).parents[2] / "scripts" / "builtin"
OPTIONS = ["--batch-size", "4", "--dim-z", "4", "--channel-width", "4", "--discriminator-width", "4", "--no-bfloat16"]


@pytest.fixture
def scripts(monkeypatch):
    """The folder of scripts on the path, as it is for one that is run."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    monkeypatch.setattr(torch, "set_flush_denormal", lambda on: on)
    import train

    monkeypatch.setattr(train, "SHEET_COLUMNS", 1)
    monkeypatch.setattr(train, "COMPANIONS", 2)
    yield
    for name in ("networks", "matching", "images", "train", "export", "figures"):
        sys.modules.pop(name, None)


def write_letters(folder: Path, count: int = 52, side: int = 32) -> Path:
    """A folder as ``render_letters.py`` writes it, of random images."""
    import hashlib

    folder.mkdir()
    images = np.random.RandomState(0).randint(0, 256, (count, side, side)).astype(np.uint8)
    np.save(folder / "images.npy", images)
    rows = "".join(f"{chr(65 + i % 26)},{i // 26}\n" for i in range(count))
    (folder / "letters.csv").write_text("letter,face\n" + rows)
    digest = hashlib.sha256((folder / "letters.csv").read_bytes() + images.tobytes()).hexdigest()
    (folder / "dataset.json").write_text(json.dumps({"sha256": digest, "faces": 2, "licences": {"OFL": 2}}))
    return folder


def test_scaled_latents_are_the_same_network(scripts, tmp_path):
    """What is packaged makes of z what training's network makes of ``scale`` times z."""
    import train
    from networks import images_of, scale_latents, settle_spectral_norm

    model = train.generator_for(train.Images(write_letters(tmp_path / "data")), 4, 4)
    settle_spectral_norm(model)
    z, y = torch.randn(5, 4, generator=torch.Generator().manual_seed(0)), torch.arange(5)
    wanted = images_of(model.eval(), 1.2 * z, y)
    scale_latents(model, 1.2)
    assert torch.allclose(images_of(model, z, y), wanted, atol=1e-5)


def lines_of(run):
    return [{**json.loads(line), "seconds": 0} for line in (run / "stats.jsonl").read_text().splitlines()]


def test_training_resumes_bit_identically_and_its_network_is_exported(scripts, tmp_path, monkeypatch):
    """A step and another end as two do; what is exported loads by its path and makes grey letters."""
    import export
    import train

    from directions.generators.registry import load_generator

    data, whole, parts, out = write_letters(tmp_path / "data"), *(tmp_path / name for name in ("whole", "parts", "out"))
    command = ["--data", str(data), *OPTIONS, "--decay-from", "1", "--fold", "2"]
    assert train.main([*command, "--out", str(whole), "--steps", "2"]) == 0
    for steps in ("1", "2"):
        assert train.main([*command, "--out", str(parts), "--steps", steps]) == 0
    first, second = (torch.load(run / "checkpoint.pt", weights_only=True)["networks"] for run in (whole, parts))
    for name, state in first.items():
        assert all(torch.equal(value, second[name][key]) for key, value in state.items())
    assert lines_of(whole) == lines_of(parts)
    trainer = train.Trainer(train.Settings(), train.Images(data))
    with pytest.raises(SystemExit, match="trained on other images"):
        trainer.load_state_dict({**trainer.state_dict(), "data": "other"})

    measure = functools.partial(export.measure_statistics, batch_size=26)
    monkeypatch.setattr(export, "measure_statistics", measure)
    monkeypatch.setattr(export, "figures_of", lambda generator, data: [])
    export.export("letters", [whole], data, out, samples=26)
    generator = load_generator(str(out))
    images = generator(generator.sample_z(3, seed=0), y="Q")
    assert generator.class_names == tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    assert images.shape == (3, 3, 32, 32)
    assert torch.equal(images[:, :1].expand(3, 3, 32, 32), images)
    assert "--channel-width 4" in (out / "card.md").read_text()
