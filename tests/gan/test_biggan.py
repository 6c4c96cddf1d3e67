"""The small BigGAN in the one training loop, its losses, and the scenes it is trained on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from directions.errors import UserError
from directions.evaluation.scene_reader import SHAPES
from directions.gan import biggan
from directions.gan.biggan import chroma_of, texture_of
from directions.gan.config import TrainConfig
from directions.gan.data.images import ImageData
from directions.gan.data.scenes import SceneImages
from directions.gan.data.source import open_data
from directions.gan.losses import (
    TextureStatistics,
    chroma,
    colour_matching,
    hinge_discriminator,
    hinge_generator,
    texture_matching,
)
from directions.gan.networks import ProjectionDiscriminator, build_generator
from directions.gan.recording import record_training
from directions.gan.run_folder import TrainingFolder
from directions.gan.trainer import Trainer
from directions.generators.registry import load_generator

SMALL = {"channel_width": 8, "discriminator_width": 4, "batch_size": (4,), "bfloat16": False, "arch": "biggan"}


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


def config(data: SceneImages, **changes: object) -> TrainConfig:
    """Settings of a run of four steps."""
    return TrainConfig.of(**({"data": str(Path(data.images.filename).parent), "kimg": 0.016} | SMALL | changes))


def trainer_of(settings: TrainConfig) -> Trainer:
    """A fresh trainer."""
    return Trainer(settings, open_data(settings))


def test_resumed_run_is_bit_identical(data: SceneImages) -> None:
    """Two steps, a checkpoint, a new process's worth of state, two more: the same as four."""
    whole, first, second = (trainer_of(config(data, texture=0.5, colour=1.0)) for _ in range(3))
    for _ in range(4):
        whole.train_step()
    for _ in range(2):
        first.train_step()
    torch.rand(7)  # the global random state is not what the run depends on
    second.load_state_dict(first.state_dict())
    for _ in range(2):
        second.train_step()
    assert second.step == whole.step == 4
    for name, network in whole._networks().items():
        got = second._networks()[name].state_dict()
        assert [key for key, tensor in network.state_dict().items() if not torch.equal(tensor, got[key])] == []
    assert {"loss_d", "loss_g", "texture", "colour", "diversity"} <= whole.record().terms.keys()


def test_finished_run_is_a_class_conditional_generator(
    data: SceneImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With fixed statistics and the scenes' classes; before the end there is nothing to load."""
    measured = []

    def measure(model: torch.nn.Module, *, samples: int) -> list[object]:
        measured.append(samples)
        return []

    monkeypatch.setattr(biggan, "measure_statistics", measure)
    settings = config(data)
    trainer = trainer_of(settings)
    folder = TrainingFolder.create(tmp_path, "run", settings, trainer.arch.export_config())
    trainer.export(folder.path)
    assert not folder.weights_path.exists()
    record_training(trainer, folder)
    assert measured == [biggan.STATISTICS_SAMPLES]
    generator = load_generator(str(folder.path))
    assert generator.class_names == SHAPES
    assert generator(generator.sample_z(2, seed=0), "cube").shape == (2, 3, 64, 64)
    (sheet,) = folder.sheets_path.iterdir()
    assert sheet.stat().st_size > 0


def test_images_without_classes_have_one(data: SceneImages) -> None:
    """So that any folder of images can be trained on."""
    settings = config(data)
    trainer = Trainer(settings, ImageData(data.images, "none"))
    trainer.train_step()
    assert trainer.arch.export_config()["num_classes"] == 1
    assert trainer.samples(3).shape == (3, 3, 64, 64)


def test_texture_term_reaches_the_generator(data: SceneImages) -> None:
    """It adds to the loss, from the same networks."""
    plain, textured = trainer_of(config(data)), trainer_of(config(data, texture=0.5))
    for trainer in (plain, textured):
        trainer.train_step()
    assert textured.record().terms["loss_g"] > plain.record().terms["loss_g"]


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


def test_measures_of_data_are_those_of_all_images_at_once(data: SceneImages) -> None:
    """Whatever the batches they were summed over."""
    images = open_data(config(data))
    every = images.batch(torch.arange(len(images)))[0]
    whole, parts = TextureStatistics.of(every), texture_of(images, batch_size=7)
    torch.testing.assert_close(parts.mean, whole.mean)
    torch.testing.assert_close(parts.square, whole.square)
    torch.testing.assert_close(chroma_of(images, batch_size=7), chroma(every))


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
