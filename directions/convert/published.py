"""The paper's files of directions: where they act, what they were learned on, and the names that the paper gives.

``conversion`` recognises a file by its digest and fills in what the file itself does not say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

DIM_Z = 120
"""|z| of the paper's BigGAN-128, the generator that all of the files belong to."""


@dataclass(frozen=True, kw_only=True)
class PublishedFile:
    """What is known of one of the paper's files of directions.

    Attributes:
        file: Its name there.
        sha256: Its digest.
        classes: Classes that it was learned on; ``None`` where that is not known.
        space: z components that move, of `DIM_Z`.
        names: Index to name, of the directions that the paper names.
    """

    file: str
    sha256: str
    classes: tuple[int, ...] | None
    space: tuple[int, int]
    names: Mapping[int, str]


PUBLISHED_FILES: Mapping[str, PublishedFile] = {
    "goldens": PublishedFile(
        file="our_goldens.pt",
        sha256="393a09048e089b343bfd83531bcc5ae34fcd39b2212a0d47d475577dbbe37933",
        classes=(207,),
        space=(0, 120),
        names={5: "rotation", 6: "zoom", 8: "smoosh"},
    ),
    "goldens-coarse": PublishedFile(
        file="our_goldens_coarse.pt",
        sha256="ea4a1bf844c32558d95ba6d1b50b7b7209bef40dcf2176bf19b5deb06a92f8de",
        classes=(207,),
        space=(0, 40),
        names={},
    ),
    "goldens-mid": PublishedFile(
        file="our_goldens_mid.pt",
        sha256="a7ea15fcc1fefac4cf966541638c97e61bcaa87b6450f973b463326054803ec5",
        classes=(207,),
        space=(40, 80),
        names={0: "background removal", 5: "colorization", 8: "scene lighting", 25: "object lighting"},
    ),
    "goldens-fine": PublishedFile(
        file="our_goldens_fine.pt",
        sha256="3b5b34a8f8ecfce0199d88b595e0ee011cf249e2ee791b80987765204b1b96e1",
        classes=(207,),
        space=(80, 120),
        names={1: "red filter", 5: "brightness", 13: "white filter", 20: "saturation"},
    ),
    "church": PublishedFile(
        file="our_church.pt",
        sha256="c938bd7a4d3c1644034f885b121a66fa0c61f4fec8587b7c31ff6318838b1c08",
        classes=(497,),
        space=(0, 120),
        names={4: "rotation", 14: "shifting", 55: "colorization"},
    ),
    "voynov": PublishedFile(
        file="voynov.pt",
        sha256="f5b8e91d3f7c68a36e6ee93a6de197ecaf82ed74e90df6bcd971b94b21225b60",
        classes=None,
        space=(0, 120),
        names={},
    ),
}
"""The files that the paper publishes, and the directions that it names."""
