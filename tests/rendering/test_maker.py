"""Images of edits: those of a plain call, however they are cut; on some layers the others keep their z."""

from __future__ import annotations

import biggan_models
import numpy as np
import pytest
import torch
from fakes import BlobGenerator

from directions.errors import OutOfMemoryError
from directions.generators.biggan_deep import BigGANDeep
from directions.generators.frozen_layers import FrozenBlock
from directions.generators.layers import LayerRange
from directions.rendering.maker import ImageMaker, to_uint8


class Narrow(BlobGenerator):
    """Has room for some images at once."""

    def __init__(self, room: int, error: Exception) -> None:
        super().__init__(resolution=16)
        self.room, self.error = room, error

    def __call__(self, z, y=0, *, truncation=1.0):
        if len(z) > self.room:
            raise self.error
        return super().__call__(z, y, truncation=truncation)


ERRORS = [
    RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    torch.cuda.OutOfMemoryError("CUDA"),
    MemoryError(),
]


def edits(number: int, samples: int = 5) -> torch.Tensor:
    return torch.randn(number * samples, 6, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("batch", [1, 2, 4, 5, 7, 10, 32])
def test_images_do_not_depend_on_the_batch(batch):
    """Cut by samples or by edits, each is that of its own z and class; no batch is larger."""
    generator = BlobGenerator(resolution=16)
    y = torch.tensor([0, 1, 2, 0, 1])
    counted: list[int] = []
    maker = ImageMaker(generator, torch.zeros(5, 6), y, count=counted.append)
    maker.batch = batch
    made = maker.make(edits(4))
    assert max(generator.batch_sizes) <= batch
    assert generator.batch_sizes == counted
    assert sum(counted) == 20
    expected = to_uint8(generator(edits(4), y.repeat(4)))
    np.testing.assert_allclose(made.astype(int), expected.astype(int), atol=1)


@pytest.mark.parametrize("error", ERRORS, ids=["CPU", "GPU", "NumPy"])
def test_images_are_made_in_smaller_batches_when_memory_runs_out(error):
    """Without a word, with the same result; later calls begin with the batch that worked."""
    generator = Narrow(3, error)
    counted: list[int] = []
    maker = ImageMaker(generator, torch.zeros(5, 6), None, count=counted.append)
    made = maker.make(edits(4))
    np.testing.assert_array_equal(
        made, ImageMaker(BlobGenerator(resolution=16), torch.zeros(5, 6), None).make(edits(4))
    )
    assert sum(counted) == 20
    assert maker.batch <= 3
    calls = len(generator.batch_sizes)
    maker.make(edits(1))
    assert len(generator.batch_sizes) > calls


def test_single_image_that_does_not_fit_is_refused():
    """There is nothing smaller."""
    maker = ImageMaker(Narrow(0, MemoryError()), torch.zeros(5, 6), None)
    with pytest.raises(OutOfMemoryError, match=r"with a single image of 16 × 16 pixels\. Close other programs"):
        maker.make(edits(1))


def test_other_errors_are_not_hidden():
    """They are not about memory."""
    error = RuntimeError("shapes")
    with pytest.raises(RuntimeError, match="shapes"):
        ImageMaker(Narrow(0, error), torch.zeros(5, 6), None).make(edits(1))


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
    maker = ImageMaker(generator, z, y, layers=layers, truncation=0.5)
    maker.batch = batch
    for _ in range(2):
        np.testing.assert_array_equal(maker.make(moved), expected)
    hook.remove()
    assert sum(seen) == 3
