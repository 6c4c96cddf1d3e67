"""Images of moved samples: rounding, order, the same z in every row, batches that fit, layers that keep their z."""

from __future__ import annotations

import biggan_models
import numpy as np
import pytest
import torch
from fakes import BlobGenerator, blob_directions

from directions.errors import OutOfMemoryError, UserError
from directions.generators.base import LayerRange
from directions.generators.biggan_deep import BigGANDeep
from directions.generators.frozen import FrozenBlock
from directions.rendering.frames import Samples, Scene, dwell, there_and_back, to_uint8
from directions.settings.render import RenderSettings

LABELS = torch.tensor([0, 1, 2])


def scene_of(generator, z, y, **settings):
    settings = RenderSettings(**settings)
    return Scene(blob_directions(), Samples(generator, z, y, truncation=settings.truncation), settings)


@pytest.fixture
def generator():
    return BlobGenerator(resolution=16)


def test_to_uint8_is_exact_and_rounds_halves_up():
    """Every byte comes back from its own value; halves go up; what is outside is clipped; channels come last."""
    levels = torch.arange(256, dtype=torch.float64)
    row = (levels / 127.5 - 1).expand(1, 3, 1, 256)
    np.testing.assert_array_equal(to_uint8(row)[0, 0, :, 1], np.arange(256))
    special = torch.tensor([-1.0, -1 + 1 / 255, 0.0, 1.0, 1.5, -7.0]).expand(1, 3, 1, 6)
    np.testing.assert_array_equal(to_uint8(special)[0, 0, :, 0], [0, 1, 128, 255, 255, 0])
    images = torch.zeros(2, 3, 4, 5)
    images[1, 2, 3, 4] = 1.0
    assert np.argwhere(to_uint8(images) == 255).tolist() == [[1, 3, 4, 2]]


@pytest.mark.parametrize("remove_projection", [False, True])
def test_images_are_the_naive_loop(generator, remove_projection):
    """One image at a time, written from the definition, gives the same images; every row has the same samples."""
    z = generator.sample_z(3, seed=0)
    amounts = np.array([[0.0, 1.0, -2.0], [3.0, 0.0, 0.5]])
    scene = scene_of(generator, z, LABELS, remove_projection=remove_projection)
    made = list(scene.images([3, 0], amounts))
    assert len(made) == 3
    for step, images in enumerate(made):
        assert images.shape == (2, 3, 16, 16, 3)
        assert images.dtype == np.uint8
        for row, index in enumerate([3, 0]):
            q = torch.tensor(scene.directions.matrix[index])
            for column in range(3):
                start = z[column] - (z[column] @ q) * q if remove_projection else z[column]
                image = generator((start + amounts[row, step] * q)[None], LABELS[column : column + 1])
                np.testing.assert_allclose(images[row, column].astype(int), to_uint8(image)[0].astype(int), atol=1)


def test_images_are_made_in_batches_of_steps(generator):
    """A step is only made when it is asked for, with as many of the next as fill the batch."""
    scene = scene_of(generator, generator.sample_z(3, seed=0), LABELS)
    scene.samples.batch = 10
    for number, _ in enumerate(scene.images([0], np.zeros((1, 60)))):
        assert generator.batch_sizes == [9] * (number // 3 + 1)


class Narrow(BlobGenerator):
    """Has room for some images at once."""

    def __init__(self, room: int, error: Exception) -> None:
        super().__init__(resolution=16)
        self.room, self.error = room, error

    def __call__(self, z, y=0, *, truncation=1.0):
        if len(z) > self.room:
            raise self.error
        return super().__call__(z, y, truncation=truncation)


def edits(number: int, samples: int = 5) -> torch.Tensor:
    return torch.randn(number * samples, 6, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("batch", [1, 4, 32])
def test_images_do_not_depend_on_the_batch(generator, batch):
    """Cut by samples or by edits, each is that of its own z and class; no batch is larger; each is counted."""
    y = torch.tensor([0, 1, 2, 0, 1])
    counted: list[int] = []
    made = Samples(generator, torch.zeros(5, 6), y, made=counted.append, batch=batch).make(edits(4))
    assert max(generator.batch_sizes) <= batch
    assert generator.batch_sizes == counted
    assert sum(counted) == 20
    expected = to_uint8(generator(edits(4), y.repeat(4)))
    np.testing.assert_allclose(made.astype(int), expected.astype(int), atol=1)


def test_images_are_made_in_smaller_batches_when_memory_runs_out(generator):
    """Without a word, with the same result, and from then on; what cannot be made at all is refused."""
    counted: list[int] = []
    samples = Samples(Narrow(3, MemoryError()), torch.zeros(5, 6), None, made=counted.append)
    np.testing.assert_array_equal(samples.make(edits(4)), Samples(generator, torch.zeros(5, 6), None).make(edits(4)))
    assert sum(counted) == 20
    assert samples.batch <= 3
    for error, raised, message in [
        (MemoryError(), OutOfMemoryError, r"with a single image of 16 × 16 pixels\. Close other programs"),
        (RuntimeError("shapes"), RuntimeError, "shapes"),
    ]:
        with pytest.raises(raised, match=message):
            Samples(Narrow(0, error), torch.zeros(5, 6), None).make(edits(1))
    generator.forward = lambda z, y=0, *, truncation=1.0: torch.full((len(z), 3, 16, 16), torch.nan)
    with pytest.raises(UserError, match="The generator gave images with NaN or infinity"):
        Samples(generator, torch.zeros(5, 6), None).make(edits(1))


@pytest.mark.parametrize("batch", [2, 32])
def test_images_on_some_layers_compute_what_is_before_once(batch):
    """Equal to the prefix by hand, cut or not; the first block sees each sample once, whatever is made."""
    generator = BigGANDeep(biggan_models.random_model(), name="deep", digest="")
    rng = torch.Generator().manual_seed(0)
    z, moved = (torch.randn(n, 12, generator=rng, dtype=torch.float64) for n in (3, 12))
    y, layers = torch.tensor([0, 2, 1]), LayerRange(4, 6, 7)
    expected = to_uint8(generator.prefix(z, y, layers=layers, truncation=0.5)(moved))
    seen = []
    first = next(layer for layer in generator.layers if isinstance(layer, FrozenBlock))
    hook = first.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    samples = Samples(generator, z, y, layers, truncation=0.5, batch=batch)
    for _ in range(2):
        np.testing.assert_array_equal(samples.make(moved), expected)
    hook.remove()
    assert sum(seen) == 3


@pytest.mark.parametrize("frames", [*range(4, 40), 100, 199, 200])
def test_there_and_back_starts_ends_and_turns_exactly(frames):
    """Exactly 0 first and last, exactly ±path_size in between, + before −, never beyond, straight between the turns."""
    path = there_and_back(frames, 2.7)
    assert (len(path), path[0], path[-1]) == (frames, 0, 0)
    assert (path.max(), path.min()) == (2.7, -2.7)
    top, bottom = path.argmax(), path.argmin()
    assert 0 < top < bottom < frames - 1
    np.testing.assert_array_equal(path, -path[::-1])
    assert (np.diff(path[: top + 1]) > 0).all()
    assert (np.diff(path[top : bottom + 1]) < 0).all()
    assert (np.diff(path[bottom:]) > 0).all()


def test_there_and_back_follows_the_cubic_step():
    """Against the formula written out: quarters of 30 frames, a half of 60; which joins smoothly."""
    step = lambda t: 3 * t**2 - 2 * t**3  # noqa: E731 - a formula
    there, turn = step(np.arange(30) / 30), step(np.arange(60) / 60)
    expected = 3 * np.concatenate([there, 1 - 2 * turn, [-1.0], -there[:0:-1], [0.0]])
    np.testing.assert_allclose(there_and_back(121, 3.0), expected, atol=1e-12)


@pytest.mark.parametrize("motion", ["smooth", "linear"])
def test_dwell_is_the_time_of_the_trip(motion):
    """Against a trip cut into very many moments, each of which belongs to the nearest still."""
    places = np.linspace(-1, 1, 9)
    time = (np.arange(90_000) + 0.5) / 90_000
    trip = -np.cos(np.pi * time) if motion == "smooth" else 2 * time - 1
    nearest = np.abs(trip[:, None] - places).argmin(axis=1)
    np.testing.assert_allclose(dwell(places, motion), np.bincount(nearest) / len(time), atol=1e-4)
