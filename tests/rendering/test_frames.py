"""The images between path and encoding: rounding, order, the same z in every row, batches."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
import torch
from fakes import BlobGenerator, blob_directions

from directions.errors import UserError
from directions.rendering import maker
from directions.rendering.frames import render_frames
from directions.rendering.maker import ImageMaker, to_uint8

LABELS = torch.tensor([0, 1, 2])


def frames_of(generator, directions, indices, z, y, amounts, *, remove_projection=False, **settings):
    """Frames that start at the samples themselves."""
    made = ImageMaker(generator, z, y, **settings)
    return render_frames(made, directions, indices, z, amounts, remove_projection=remove_projection)


@pytest.fixture
def generator():
    return BlobGenerator(resolution=16)


def test_to_uint8_is_exact_and_rounds_halves_up():
    """Every byte comes back from its own value; halves go up; what is outside is clipped."""
    levels = torch.arange(256, dtype=torch.float64)
    row = (levels / 127.5 - 1).expand(1, 3, 1, 256)
    np.testing.assert_array_equal(to_uint8(row)[0, 0, :, 1], np.arange(256))
    special = torch.tensor([-1.0, -1 + 1 / 255, 0.0, 1.0, 1.5, -7.0]).expand(1, 3, 1, 6)
    np.testing.assert_array_equal(to_uint8(special)[0, 0, :, 0], [0, 1, 128, 255, 255, 0])


def test_to_uint8_puts_channels_last():
    """(batch, 3, height, width) becomes (batch, height, width, 3)."""
    images = torch.zeros(2, 3, 4, 5)
    images[1, 2, 3, 4] = 1.0
    converted = to_uint8(images)
    assert converted.shape == (2, 4, 5, 3)
    assert converted[1, 3, 4, 2] == 255
    assert (converted == 255).sum() == 1


@pytest.mark.parametrize("remove_projection", [False, True])
def test_render_frames_is_the_naive_loop(generator, remove_projection):
    """One image at a time, written from the definition, gives the same images."""
    directions = blob_directions(generator)
    z = generator.sample_z(3, seed=0)
    amounts = np.array([[0.0, 1.0, -2.0], [3.0, 0.0, 0.5]])
    chosen = [3, 0]
    made = list(
        frames_of(generator, directions, chosen, z, LABELS, amounts, remove_projection=remove_projection)
    )  # fmt: skip
    assert len(made) == 3
    for step, images in enumerate(made):
        assert images.shape == (2, 3, 16, 16, 3)
        assert images.dtype == np.uint8
        for row, index in enumerate(chosen):
            q = torch.tensor(directions.matrix[index])
            for column in range(3):
                start = z[column] - (z[column] @ q) * q if remove_projection else z[column]
                image = generator((start + amounts[row, step] * q)[None], LABELS[column : column + 1])
                np.testing.assert_allclose(images[row, column].astype(int), to_uint8(image)[0].astype(int), atol=1)


def test_render_frames_shows_the_same_samples_in_every_row(generator):
    """At the centre all rows are equal, and the columns are not."""
    z = generator.sample_z(3, seed=0)
    (images,) = frames_of(generator, blob_directions(generator), [0, 1, 2], z, LABELS, np.zeros((3, 1)))
    np.testing.assert_array_equal(images[0], images[1])
    np.testing.assert_array_equal(images[0], images[2])
    assert (images[0, 0] != images[0, 1]).any()


def test_render_frames_removed_projection_starts_at_the_same_place(generator):
    """Without its part along "hue", every sample of a class has the hue of z = 0."""
    directions = blob_directions(generator)
    z = torch.zeros(4, generator.dim_z)
    z[:, 3] = torch.tensor([-2.0, -1.0, 1.0, 2.0])
    (images,) = frames_of(
        generator, directions, [3], z, torch.zeros(4, dtype=torch.long), np.zeros((1, 1)), remove_projection=True
    )
    assert (images == images[:, :1]).all()


def test_render_frames_works_in_batches(generator, monkeypatch):
    """Big images are made a few at a time, with the same result, and each is counted."""
    arguments = (blob_directions(generator), [0, 1], generator.sample_z(3, seed=0), LABELS, np.ones((2, 2)))
    whole = list(frames_of(generator, *arguments))
    assert generator.batch_sizes == [12], "both steps at once"
    generator.batch_sizes.clear()
    monkeypatch.setattr(maker, "PIXELS_AT_ONCE", 4 * 16 * 16 + 1)
    counted: list[int] = []
    parts = list(frames_of(generator, *arguments, count=counted.append))
    assert generator.batch_sizes == counted == [3, 3, 3, 3], "all samples of as many directions as fit"
    np.testing.assert_array_equal(whole, parts)


def test_render_frames_without_classes(generator):
    """A generator without classes is called with y = None."""
    seen: list[object] = []

    class Plain(BlobGenerator):
        def __call__(self, z, y=0, *, truncation=1.0):
            seen.append((y, truncation))
            return super().__call__(z, None)

    plain = Plain(resolution=16, num_classes=0)
    list(frames_of(plain, blob_directions(plain), [0], plain.sample_z(2), None, np.zeros((1, 1)), truncation=0.5))
    assert seen == [(None, 0.5)]


def test_render_frames_refuses_nan(generator):
    """A broken image is not turned into an arbitrary colour."""

    class Broken(BlobGenerator):
        def __call__(self, z, y=0, *, truncation=1.0):
            return super().__call__(z, y) / 0.0 * 0.0

    broken = Broken(resolution=16)
    with pytest.raises(UserError, match="The generator gave images with NaN or infinity"):
        next(frames_of(broken, blob_directions(), [0], broken.sample_z(3), LABELS, np.zeros((1, 1))))


def test_render_frames_is_lazy(generator, monkeypatch):
    """A step is only made when it is asked for, with as many of the next as fill the batch, and no more."""
    monkeypatch.setattr(maker, "PIXELS_AT_ONCE", 10 * 16 * 16)
    stream = frames_of(generator, blob_directions(), [0], generator.sample_z(3), LABELS, np.zeros((1, 1000)))
    for _ in range(3):
        next(stream)
    assert generator.batch_sizes == [9]
    next(stream)
    assert generator.batch_sizes == [9, 9]


def test_render_frames_holds_on_to_no_step(generator, monkeypatch):
    """However many frames there are, only those of one batch are alive."""
    monkeypatch.setattr(maker, "PIXELS_AT_ONCE", 4 * 16 * 16)
    alive: list[weakref.ref[np.ndarray]] = []
    most = 0
    for images in frames_of(generator, blob_directions(), [0], generator.sample_z(2), LABELS[:2], np.zeros((1, 60))):
        alive.append(weakref.ref(images.base))
        del images
        most = max(most, sum(reference() is not None for reference in alive))
    assert most <= 4
