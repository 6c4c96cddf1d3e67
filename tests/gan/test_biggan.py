"""Adversarial training learns, resumes bit for bit, and refuses a checkpoint that is not its own."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from directions.errors import UserError
from directions.evaluation.scene_reader import SHAPES
from directions.gan.data.scenes import SceneImages
from directions.gan.losses import (
    TextureStatistics,
    chroma,
    colour_matching,
    hinge_discriminator,
    hinge_generator,
    texture_matching,
)
from directions.gan.networks import ProjectionDiscriminator, build_generator
from directions.gan.training import Trainer, TrainingConfig, read_checkpoint, resume, save, texture_of, train

SMALL = {"channel_width": 8, "discriminator_width": 4, "batch_size": 4, "bfloat16": False}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> SceneImages:
    """A scene folder of 24 flat colours, as the renderer writes one."""
    folder = tmp_path_factory.mktemp("scenes")
    images = np.random.default_rng(0).integers(0, 255, (24, 1, 1, 3), np.uint8).repeat(64, 1).repeat(64, 2)
    np.save(folder / "images.npy", images)
    rows = [f"{index},{SHAPES[index % 3]},0.1,0.2,0.3,0.5" for index in range(24)]
    (folder / "factors.csv").write_text("index,shape,hue,x,y,size\n" + "\n".join(rows) + "\n")
    digest = hashlib.sha256((folder / "factors.csv").read_bytes() + images.tobytes()).hexdigest()
    (folder / "dataset.json").write_text(json.dumps({"sha256": digest}))
    return SceneImages(folder)


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    """Everything that was learnt."""
    networks = {"generator": trainer.generator, "discriminator": trainer.discriminator, "average": trainer.average}
    return {f"{key}.{name}": t for key, net in networks.items() for name, t in net.state_dict().items()}


def test_resumed_run_is_bit_identical(data: SceneImages, tmp_path: Path) -> None:
    """Two steps, a checkpoint, a new process's worth of state, two more: the same as four."""
    config = TrainingConfig(steps=4, **SMALL)
    whole = Trainer(config, data)
    for _ in range(4):
        whole.train_step()

    first = Trainer(config, data)
    first.train_step()
    first.train_step()
    save(first, tmp_path)
    second = Trainer(config, data)
    torch.rand(7)  # the global random state is not what the run depends on
    resume(second, tmp_path)
    for _ in range(2):
        second.train_step()

    assert second.step == whole.step == 4
    expected, got = weights(whole), weights(second)
    assert expected.keys() == got.keys()
    assert [name for name in expected if not torch.equal(expected[name], got[name])] == []


def test_training_writes_stats_checkpoint_and_sheet(data: SceneImages, tmp_path: Path) -> None:
    """And a resumed run drops the lines of steps that it takes again."""
    trainer = Trainer(TrainingConfig(steps=2, **SMALL), data)
    records = list(train(trainer, tmp_path))
    assert [record["step"] for record in records] == [1, 2]
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint.pt", "stats.jsonl", "samples-000002.png"}
    with (tmp_path / "stats.jsonl").open("a") as file:
        file.write('{"step": 3}\n')
    resume(Trainer(TrainingConfig(steps=2, **SMALL), data), tmp_path)
    assert [json.loads(line)["step"] for line in (tmp_path / "stats.jsonl").read_text().splitlines()] == [1, 2]


def test_rates_fall_to_nothing(data: SceneImages) -> None:
    """The learning rate is whole until decay_from, then falls linearly."""
    trainer = Trainer(TrainingConfig(steps=100, decay_from=0.5, **SMALL), data)
    rates = []
    for step in (0, 50, 75, 99):
        trainer.step = step
        trainer._set_rates()
        rates.append(trainer.optimisers["generator"].param_groups[0]["lr"] / trainer.config.generator_rate)
    assert rates == pytest.approx([1, 1, 0.5, 0.02])


def test_checkpoint_of_other_settings_is_refused(data: SceneImages, tmp_path: Path) -> None:
    """The setting that differs is named."""
    save(Trainer(TrainingConfig(steps=2, **SMALL), data), tmp_path)
    with pytest.raises(UserError, match=r"other settings \(seed differ\)"):
        resume(Trainer(TrainingConfig(steps=2, seed=1, **SMALL), data), tmp_path)


def test_damaged_checkpoint_is_refused(data: SceneImages, tmp_path: Path) -> None:
    """Without a traceback from the reader of the file."""
    (tmp_path / "checkpoint.pt").write_bytes(b"PK\x03\x04 half a file")
    with pytest.raises(UserError, match="cannot be read"):
        resume(Trainer(TrainingConfig(steps=2, **SMALL), data), tmp_path)


@pytest.mark.parametrize(
    ("field", "value"), [("steps", 0), ("batch_size", 1), ("generator_rate", 0.0), ("decay_from", 1.5), ("ema", 1.0)]
)
def test_settings_outside_their_range_are_refused(field: str, value: float) -> None:
    """With the name of the field."""
    with pytest.raises(UserError, match=f"{field} must be"):
        TrainingConfig(**{field: value})


def test_missing_scene_files_are_named(tmp_path: Path) -> None:
    """And the command that makes them."""
    with pytest.raises(UserError, match=r"has no images.npy.*make scenes"):
        SceneImages(tmp_path)


def test_changed_pixels_are_noticed(data: SceneImages, tmp_path: Path) -> None:
    """The digest covers factors and pixels."""
    data.check_digest()
    folder = Path(data.images.filename).parent
    for name in ("factors.csv", "dataset.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    np.save(tmp_path / "images.npy", np.asarray(data.images) // 2)
    with pytest.raises(UserError, match=r"is not what its dataset\.json records"):
        SceneImages(tmp_path).check_digest()


def test_batch_is_scaled_to_the_range_of_images(data: SceneImages) -> None:
    """0 becomes -1 and 255 becomes 1; classes follow the table."""
    images, labels = data.batch(torch.tensor([4, 5]))
    expected = torch.from_numpy(np.array(data.images[4:6])).permute(0, 3, 1, 2) / 127.5 - 1
    torch.testing.assert_close(images, expected)
    assert labels.tolist() == [1, 2]


def test_hinge_losses_on_known_scores() -> None:
    """Worked out by hand."""
    real, fake = torch.tensor([2.0, 0.5]), torch.tensor([-3.0, 0.0])
    assert hinge_discriminator(real, fake).item() == pytest.approx((0 + 0.5) / 2 + (0 + 1) / 2)
    assert hinge_generator(fake).item() == pytest.approx(1.5)


def test_batch_statistics_normalise_in_training_only() -> None:
    """In training mode a doubled batch mean changes nothing; in evaluation mode the function is the package's."""
    torch.manual_seed(0)
    norm = build_generator({"channel_width": 8}).generator.layers[0].bn_0
    x, condition = torch.randn(6, 128, 4, 4), torch.randn(6, 24)
    norm.train()
    torch.testing.assert_close(norm(x, 1.0, condition), norm(3 * x + 5, 1.0, condition), rtol=1e-3, atol=1e-3)
    norm.eval()
    torch.testing.assert_close(norm(x, 1.0, condition), type(norm).forward(norm, x, 1.0, condition))


def test_projection_head_depends_on_the_class() -> None:
    """The same image scores differently as another class; the score of a batch is that of its images."""
    torch.manual_seed(0)
    discriminator = ProjectionDiscriminator(16, 3, 4).eval()
    images = torch.randn(2, 3, 16, 16)
    both = discriminator(images, torch.tensor([0, 1]))
    assert not torch.allclose(both, discriminator(images, torch.tensor([2, 0])))
    torch.testing.assert_close(both[:1], discriminator(images[:1], torch.tensor([0])))


def test_texture_sees_a_grid_and_grain_and_nothing_smooth() -> None:
    """A flat image has none; a checkerboard of one grey level has its amplitude, whatever the brightness."""
    flat = torch.full((2, 3, 8, 8), 0.3, dtype=torch.float64)
    signs = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64).repeat(4, 4)
    none, grid = TextureStatistics.of(flat), TextureStatistics.of(flat + signs / 127.5)
    torch.testing.assert_close(none.mean, torch.zeros_like(none.mean))
    # A pixel minus the mean of its 3 by 3: five of its own sign and four of the other leave 1 - 1/9.
    torch.testing.assert_close(grid.mean[:, 1:-1, 1:-1].abs(), torch.full((3, 6, 6), 8 / 9, dtype=torch.float64))
    assert texture_matching(none, none).item() == 0
    assert texture_matching(grid, none) > 0.5
    grain = TextureStatistics.of(torch.cat((flat[:1] + signs / 127.5, flat[:1] - signs / 127.5)))
    torch.testing.assert_close(grain.mean, none.mean)
    assert texture_matching(grain, none) > 0.3


def test_texture_of_data_is_that_of_all_images_at_once(data: SceneImages) -> None:
    """Whatever the batches it was summed over."""
    whole = TextureStatistics.of(data.batch(torch.arange(len(data)))[0])
    parts = texture_of(data, batch_size=7)
    torch.testing.assert_close(parts.mean, whole.mean)
    torch.testing.assert_close(parts.square, whole.square)


def test_second_stage_starts_from_the_networks_of_the_first(data: SceneImages, tmp_path: Path) -> None:
    """With its own settings, and a texture term that reaches the generator."""
    first = Trainer(TrainingConfig(steps=1, **SMALL), data)
    first.train_step()
    save(first, tmp_path)
    second = Trainer(TrainingConfig(steps=3, texture=0.5, seed=1, **SMALL), data)
    second.start_from(read_checkpoint(tmp_path))
    assert second.step == 0
    expected, got = weights(first), weights(second)
    assert [name for name in expected if not torch.equal(expected[name], got[name])] == []
    plain = Trainer(TrainingConfig(steps=3, seed=1, **SMALL), data)
    plain.start_from(read_checkpoint(tmp_path))
    assert second.train_step()["loss_g"] > plain.train_step()["loss_g"]
    wide = Trainer(TrainingConfig(**{**SMALL, "discriminator_width": 6}), data)
    with pytest.raises(UserError, match="networks of another size"):
        wide.start_from(read_checkpoint(tmp_path))


def test_chroma_does_not_see_brightness() -> None:
    """Grey has none; a colour has the same length whatever grey is added, and turns with its hue."""
    grey = torch.full((1, 3, 4, 4), 0.2, dtype=torch.float64)
    red = torch.zeros(1, 3, 4, 4, dtype=torch.float64)
    red[:, 0] = 0.5
    torch.testing.assert_close(chroma(grey), torch.zeros(1, 8, dtype=torch.float64))
    torch.testing.assert_close(chroma(red + 0.3), chroma(red))
    assert chroma(red)[0, 0].item() == pytest.approx(0.5 * 127.5 * 2 / 6**0.5)
    torch.testing.assert_close(chroma(red.roll(1, dims=1)).norm(), chroma(red).norm())


def test_colour_matching_asks_for_the_extremes() -> None:
    """It is 0 for the same distribution, and by hand for one that is shrunk by a half."""
    real = torch.linspace(-1, 1, 2001, dtype=torch.float64)[:, None]
    ranks = (torch.arange(10, dtype=torch.float64) + 0.5) / 10
    same = (2 * ranks - 1)[:, None].flip(0)
    assert colour_matching(same, real).item() == pytest.approx(0, abs=1e-12)
    expected = ((same / 2) ** 2).mean() / real.var()
    assert colour_matching(same / 2, real).item() == pytest.approx(expected.item(), rel=1e-6)
