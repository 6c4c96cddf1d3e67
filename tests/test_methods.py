"""Each method gives what its paper defines, by closed form or the naive way."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from biggan_models import random_model
from closed import DoubleGenerator, TwoLayers

from directions import methods
from directions.basis import check_orthonormal, gram_schmidt
from directions.discovery import discover
from directions.errors import UserError
from directions.generators.base import LayerRange
from directions.generators.biggan_deep import BigGANDeep, folded_weight
from directions.generators.registry import load_generator
from directions.joint.measure import draw_base_point, planned_measurement
from directions.sampling import derived_rng
from directions.search import Search
from directions.settings.discover import DiscoverConfig

FEW = {"held_out": 2, "held_out_probes": 2, "final_samples": 2, "seed": 3}


@pytest.fixture
def net():
    return load_generator(TwoLayers())


def basis_of(generator, **settings):
    *_, snapshot = discover(generator, DiscoverConfig(**FEW | settings))
    return snapshot.basis.double()


def assert_same_rows(found, wanted, tolerance=1e-5):
    """Up to signs."""
    products = (found.double() * torch.as_tensor(wanted).double()).sum(dim=1).abs()
    torch.testing.assert_close(products, torch.ones(len(found), dtype=torch.float64), rtol=0, atol=tolerance)


def test_axes_and_random(net):
    torch.testing.assert_close(basis_of(net, method="axes"), torch.eye(4, dtype=torch.float64))
    one, other = basis_of(net, method="random"), basis_of(net, method="random", seed=4)
    assert check_orthonormal(one) is None
    assert (one - other).abs().max() > 0.1


def test_sefa_is_the_right_singular_vectors_of_the_first_layer(net):
    _, _, rows = np.linalg.svd(net.module.first.weight.detach().numpy())
    assert_same_rows(basis_of(net, method="sefa"), rows)


def test_sefa_of_a_biggan_stacks_every_layer_that_sees_z():
    model = random_model()
    generator, inner = BigGANDeep(model, name="tiny", digest="0"), model.generator
    blocks = [layer for layer in inner.layers if hasattr(layer, "bn_0")]
    norms = [[getattr(block, f"bn_{i}") for i in range(4)] for block in blocks]

    def columns(layers):
        return torch.cat([folded_weight(layer) for layer in layers])[:, : model.config.z_dim]

    def gram(rows):
        return rows.mT @ rows

    every = [inner.gen_z, *(part for block in norms for norm in block for part in (norm.scale, norm.offset))]
    torch.testing.assert_close(gram(methods.sefa_weights(generator)), gram(columns(every)))
    second = [part for norm in norms[1] for part in (norm.scale, norm.offset)]
    found = methods.sefa_weights(generator, LayerRange(2, 3, generator.num_layers))
    torch.testing.assert_close(gram(found), gram(columns(second)))


@pytest.mark.parametrize("layer", [None, "last"])
def test_pca_is_ganspace(net, monkeypatch, layer):
    """All samples at once: components by SVD, then z by least squares from the coordinates."""
    monkeypatch.setattr(methods, "PCA_SAMPLES", 600)
    monkeypatch.setattr(methods, "_PCA_BATCH", 200)
    found = basis_of(net, method="pca", layer=layer)
    rng = derived_rng(FEW["seed"], purpose="principal components")
    z = torch.cat([net.sample_z_from(200, rng) for _ in range(3)]).double()
    with torch.no_grad():
        a = net.module.first(z)
        a = net.module.last(a.relu()) if layer else a
    centred = a - a.mean(dim=0)
    components = torch.linalg.svd(centred, full_matrices=False).Vh[:4]
    U = torch.linalg.lstsq(centred @ components.mT, z - z.mean(dim=0)).solution
    assert_same_rows(found, gram_schmidt(U))


def test_pca_of_several_classes_compares_within_a_class(monkeypatch):
    """What classes differ in is no component: classes far apart change nothing."""
    monkeypatch.setattr(methods, "PCA_SAMPLES", 500)
    generator = BigGANDeep(random_model(), name="tiny", digest="0")
    near = basis_of(generator, method="pca")
    generator.embeddings *= 50
    generator._class_parts.clear()
    assert_same_rows(near[:4], basis_of(generator, method="pca")[:4], tolerance=1e-4)


def test_pca_of_jacobian_is_the_eigenvectors_of_the_mean_matrix():
    generator = DoubleGenerator()
    config = DiscoverConfig(**FEW, method="pca", pca_of="jacobian", base_points=3, epsilon=1e-3)
    search = Search.resolve(generator, config)
    plan = planned_measurement(config, search, kind="jacobian")
    mean = torch.zeros(4, 4, dtype=torch.float64)
    for number in range(3):
        points, w = draw_base_point(generator, plan, number)
        J = torch.func.jacrev(lambda x, y=points.y: generator(x[None], y).flatten())((points.z + w)[0])
        mean += J.mT @ J / (J.square().sum() * 3)
    *_, snapshot = discover(generator, config)
    assert_same_rows(snapshot.basis, torch.linalg.eigh(mean).eigenvectors.mT.flip(0), tolerance=1e-4)


def test_voynov_gradient_and_learning():
    generator = DoubleGenerator(resolution=16)
    config = DiscoverConfig(**FEW, method="voynov", steps=40, batch_size=16)
    snapshots = list(discover(generator, config))
    losses = [snapshot.record.penalty for snapshot in snapshots[1:]]
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])
    whole, parts = (
        methods.Reconstructor(generator, config.replace(micro_batch=size), Search.resolve(generator, config))
        for size in (None, 4)
    )
    Q = torch.eye(4, dtype=torch.float64)
    (loss, gradient), (again, in_parts) = whole.step(Q, 1), parts.step(Q, 1)
    assert again == pytest.approx(loss, rel=1e-5)
    torch.testing.assert_close(in_parts, gradient, rtol=1e-3, atol=1e-6)


def test_voynov_resumes_bit_by_bit():
    generator = DoubleGenerator(resolution=16)
    config = DiscoverConfig(**FEW, method="voynov", steps=4, batch_size=4)
    unbroken = list(discover(generator, config))
    *_, resumed = discover(generator, config, resume_from=unbroken[2].state)
    assert torch.equal(resumed.basis, unbroken[-1].basis)
    one, other = (snapshot.state["reconstructor"]["network"] for snapshot in (resumed, unbroken[-1]))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_generators_that_cannot_be_looked_into():
    for method in ("sefa", "pca"):
        with pytest.raises(UserError, match="has no linear or convolutional layer of 4 inputs"):
            basis_of(DoubleGenerator(), method=method)
    with pytest.raises(UserError, match="layer must be one of"):
        basis_of(DoubleGenerator(), method="pca", layer="nowhere")
