"""Find a class by what people call it: its whole name, a synonym, or a part of either.

Beside ``base``, which asks here whenever a class is given as text. Nothing here knows about generators.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from directions.errors import UserError, nearest

_SHOWN = 8


class ClassNames:
    """The names of a generator's classes.

    Args:
        names: One for each class, shown to users; all different.
        synonyms: Other names of each class; different classes may share one. ``None`` where there are none.
    """

    def __init__(self, names: Sequence[str], synonyms: Sequence[Sequence[str]] | None = None) -> None:
        self.names = tuple(names)
        self._plain = [name.casefold() for name in names]
        others = synonyms if synonyms is not None else [()] * len(self.names)
        self._all = [(plain, *map(str.casefold, more)) for plain, more in zip(self._plain, others, strict=True)]
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
            return self._checked(int(wanted))
        if wanted:
            words = re.compile(rf"(?<!\w){re.escape(wanted)}(?!\w)")
            for fits in (
                lambda plain, every: plain == wanted,
                lambda plain, every: wanted in every,
                lambda plain, every: words.search(plain) is not None,
                lambda plain, every: any(words.search(name) for name in every),
                lambda plain, every: any(wanted in name for name in every),
            ):
                pairs = zip(self._plain, self._all, strict=True)
                found = [index for index, (plain, every) in enumerate(pairs) if fits(plain, every)]
                if len(found) == 1:
                    return found[0]
                if found:
                    several = self._listed(found)
                    raise UserError(f"{text!r} fits {len(found)} classes: {several}. Give one by its index.")
        hint = nearest(wanted, self._known) or f" The classes are: {self._listed(range(len(self.names)))}."
        raise UserError(
            f"There is no class {text!r}.{hint} Give a name, a part of one, or an index from 0 to "
            f"{len(self.names) - 1}."
        )

    def _checked(self, index: int) -> int:
        if index >= len(self.names):
            few = f" ({', '.join(self.names)})" if len(self.names) <= _SHOWN else ""
            raise UserError(f"A class must be from 0 to {len(self.names) - 1}{few}, got {index}.")
        return index

    def _listed(self, indices: Sequence[int]) -> str:
        shown = ", ".join(f"{i} {self.names[i]}" for i in indices[:_SHOWN])
        return shown + (f", … ({len(indices)} in all)" if len(indices) > _SHOWN else "")
