"""Perceptual path length against closed forms, a naive reference and torchmetrics."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from closed import DoubleGenerator

from directions.errors import NonFiniteError, UserError
from directions.evaluation.path_length import perceptual_path_length, slerp, without_outer


class Linear(DoubleGenerator):
    """Pixel p is (Az)_p; z is normal, as the paper's."""

    def __init__(self, A, num_classes=0, gains=(1.0,)):
        super().__init__(dim_z=A.shape[1], resolution=2, num_classes=num_classes)
        self.A, self.gains = A, torch.tensor(gains).double()

    def sample_z_from(self, n, rng, truncation=1.0):
        return truncation * torch.randn(n, self.dim_z, generator=rng, dtype=torch.float64)

    def forward(self, z, y=0, *, truncation=1.0):
        gain = self.gains[self.class_indices(y, len(z)) if self.num_classes else torch.zeros(len(z), dtype=int)]
        return (gain[:, None] * (z @ self.A.mT)).unflatten(1, (3, 2, 2))


class Normalising(Linear):
    """Takes the length out of z first, as the paper's generator does."""

    def forward(self, z, y=0, *, truncation=1.0):
        return super().forward(z / z.square().mean(dim=1, keepdim=True).sqrt())


class LinearFeatures(torch.nn.Module):
    """The squared distance of linear features."""

    name, digest = "linear", "0" * 64

    def __init__(self, W=None):
        super().__init__()
        self.W = torch.eye(12).double() if W is None else W

    def distances(self, first, second):
        return ((first - second).flatten(1) @ self.W.mT).square().sum(dim=1)

    forward = distances


def embedding(dim_z, scale=1.0):
    return scale * torch.eye(12, dim_z).double()


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_path_length_of_a_plane_is_known(scale):
    """|z| = 2: the angle between two latents is uniform on [0, π], so the mean of |z|θ² without its tails is known."""
    measured = perceptual_path_length(Linear(embedding(2, scale)), LinearFeatures(), pairs=20_000, rows=8192)
    expected = scale**2 * 2 * math.pi**2 * (0.99**3 - 0.01**3) / (3 * 0.98)
    assert measured.value == pytest.approx(expected, rel=0.015)
    assert abs(measured.value - expected) < 4 * measured.error
    assert measured.error == pytest.approx(scale**2 * 2 * math.pi**2 * 0.295 / math.sqrt(20_000), rel=0.05)


def naive(generator, network, z0, z1, step, radius):
    """Pair by pair, as it is written down."""
    values = []
    for a, b in zip(z0.numpy(), z1.numpy(), strict=True):
        a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
        theta = math.acos(a @ b)
        moved = (math.sin((1 - step) * theta) * a + math.sin(step * theta) * b) / math.sin(theta)
        x, y = (generator(torch.from_numpy(radius * v)[None]) for v in (a, moved))
        values.append(float(network.distances(x, y)) / step**2)
    low, high = np.percentile(values, 1, method="lower"), np.percentile(values, 99, method="higher")
    return np.mean([v for v in values if low <= v <= high])


class Recording(Linear):
    """Remembers the latents that it was asked to draw."""

    def sample_z_from(self, n, rng, truncation=1.0):
        z = super().sample_z_from(n, rng, truncation)
        self.__dict__.setdefault("drawn", []).append(z)
        return z


def test_path_length_equals_naive_reference():
    """The other form of slerp, trimming by percentiles."""
    rng = torch.Generator().manual_seed(0)
    generator = Recording(torch.randn(12, 5, generator=rng, dtype=torch.float64))
    network = LinearFeatures(torch.randn(7, 12, generator=rng, dtype=torch.float64))
    measured = perceptual_path_length(generator, network, pairs=150, seed=3)
    z0, z1 = generator.drawn
    assert measured.value == pytest.approx(naive(generator, network, z0, z1, 1e-4, math.sqrt(5)), rel=1e-6)


def test_path_length_equals_torchmetrics(monkeypatch):
    """A library's, for a generator that normalises z: the radius of the circle is then of no effect."""
    from torchmetrics.functional.image import perceptual_path_length as theirs

    # It asks for torchvision even where its networks are not used.
    monkeypatch.setitem(theirs.__globals__, "_TORCHVISION_AVAILABLE", True)
    A = torch.randn(12, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    class Both(Normalising, Recording):
        pass

    generator, network = Both(A), LinearFeatures()
    measured = perceptual_path_length(generator, network, pairs=300, seed=2)

    drawn = list(generator.drawn)

    class Theirs(torch.nn.Module):
        def sample(self, num_samples):
            # Of length 1: it would mix the directions by their lengths.
            return torch.nn.functional.normalize(drawn.pop(0), dim=1)

        def forward(self, z):
            return (generator(z) + 1) * 127.5

    *_, distances = theirs(
        Theirs(), 300, interpolation_method="slerp_unit", lower_discard=None, upper_discard=None, sim_net=network
    )
    assert measured.value == pytest.approx(float(without_outer(distances).mean()), rel=1e-5)


def test_path_length_does_not_depend_on_the_batch():
    """Nor on its last, smaller part."""
    generator = DoubleGenerator()
    values = [
        perceptual_path_length(generator, LinearFeatures48(), pairs=11, classes=(0, 2), rows=rows).value
        for rows in (1, 6, 1000)
    ]
    assert values == pytest.approx([values[0]] * 3, rel=1e-9)


class LinearFeatures48(LinearFeatures):
    def __init__(self):
        super().__init__(torch.eye(48).double())


def test_path_length_draws_one_class_for_both_images_of_a_pair():
    """A class that doubles the image makes its pairs four times as long; a mixed pair would be far longer."""
    lengths = {
        classes: perceptual_path_length(
            Linear(embedding(3), num_classes=2, gains=(1.0, 2.0)), LinearFeatures(), pairs=2000, classes=classes
        ).value
        for classes in ((0,), (1,), (0, 1))
    }
    assert lengths[(1,)] == pytest.approx(4 * lengths[(0,)], rel=1e-6)
    assert lengths[(0, 1)] == pytest.approx(2.5 * lengths[(0,)], rel=0.1)


def test_path_length_of_a_generator_that_does_nothing_is_zero():
    """All images alike."""
    assert perceptual_path_length(Linear(embedding(3, 0.0)), LinearFeatures(), pairs=5).value == 0


def test_path_length_counts_its_pairs():
    """For the progress bar."""
    counted = []
    perceptual_path_length(Linear(embedding(2)), LinearFeatures(), pairs=7, rows=4, count=counted.append)
    assert counted == [2, 2, 2, 1]


@pytest.mark.parametrize("t", [0.0, 0.3, 1.0])
def test_slerp_goes_evenly_from_one_to_the_other(t):
    """Of length 1, at t times the angle from the first, in their plane; whatever their lengths."""
    a, b = torch.tensor([[3.0, 0.0, 0.0]]), torch.tensor([[1.0, 1.0, 0.0]])
    angle = t * math.pi / 4
    expected = torch.tensor([[math.cos(angle), math.sin(angle), 0.0]]).double()
    torch.testing.assert_close(slerp(a, b, t), expected)


def test_slerp_between_equal_and_opposite_latents_is_finite():
    """No division by the sine of zero."""
    a = torch.tensor([[1.0, 2.0]])
    for b in (a, -a):
        assert torch.linalg.vector_norm(slerp(a, b, 0.5)) == pytest.approx(1.0) or not a.equal(b)
        assert slerp(a, b, 1e-4).isfinite().all()


def test_without_outer_keeps_few_values_whole_and_ties_together():
    """Of fewer than 100 values the outermost count; equal values are one."""
    assert without_outer(torch.tensor([5.0])).tolist() == [5.0]
    assert len(without_outer(torch.arange(50.0))) == 50
    assert len(without_outer(torch.arange(1001.0))) == 981
    assert without_outer(torch.ones(500)).sum() == 500


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pairs": 0}, "pairs must be at least 1, got 0"),
        ({"step": 0.0}, "step must be above 0 and at most 1"),
        ({"rows": 0}, "rows must be at least 1, got 0"),
    ],
    ids=lambda value: "".join(value) if isinstance(value, dict) else "",
)
def test_path_length_refuses(changes, message):
    """What, got, allowed."""
    with pytest.raises(UserError, match=message):
        perceptual_path_length(Linear(embedding(2)), LinearFeatures(), **({"pairs": 2} | changes))


def test_path_length_stops_at_images_that_are_no_numbers():
    """Trimming would hide some of them."""
    with pytest.raises(NonFiniteError, match="hold NaN or infinity"):
        perceptual_path_length(Linear(embedding(2, math.nan)), LinearFeatures(), pairs=3)
