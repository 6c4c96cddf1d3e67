"""The BigGANs that are published: their architecture, their address, and what is known of their files.

A catalogue; ``sources`` finds and fetches what it names. Torch is not imported.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from directions.generators.download import Expected

CONFIG = "config.json"
WEIGHTS = "weights.safetensors"
TORCH_WEIGHTS = "pytorch_model.bin"
_ADDRESS = "https://s3.amazonaws.com/models.huggingface.co/biggan/{name}-pytorch_model.bin"

PLAIN_NAME = "biggan-128"
"""The paper's plain BigGAN, which no address gives directly."""
PLAIN_SIZES = (120, 1000, 128)
"""Its |z|, number of classes, and resolution in pixels."""
PLAIN_FILE_NAMES = ("G_ema.pth", "G_ema.safetensors")


@dataclass(frozen=True, kw_only=True)
class Published:
    """A published BigGAN-deep.

    Attributes:
        name: What `load_generator` takes.
        resolution: Height and width of the images, in pixels.
        layers: (upsample?, width in, width out) of each block, in units of 128 channels.
        least: Bytes that its tensors take.
        url: Where ``pytorch_pretrained_biggan`` has its weights.
        expected: What is known of the file at that address.
        hub: Repository on the Hub that mirrors it, or ``None``.
        hub_sha256: Digest of the file there, or ``None`` where unknown.
    """

    name: str
    resolution: int
    layers: tuple[tuple[bool, int, int], ...]
    least: int
    url: str
    expected: Expected
    hub: str | None = None
    hub_sha256: str | None = None

    @property
    def config(self) -> dict[str, Any]:
        """Fields of ``BigGANConfig``."""
        return {
            "output_dim": self.resolution,
            "z_dim": 128,
            "class_embed_dim": 128,
            "channel_width": 128,
            "num_classes": 1000,
            "layers": [list(layer) for layer in self.layers],
            "attention_layer_position": 8,
            "eps": 1e-4,
            "n_stats": 51,
        }


def _blocks(text: str) -> tuple[tuple[bool, int, int], ...]:
    """Read blocks written as ``16-16 16+8``: width in, ``+`` where the block upsamples, width out."""
    return tuple((sign == "+", int(a), int(b)) for a, sign, b in re.findall(r"(\d+)([+-])(\d+)", text))


def _published(name: str, resolution: int, least: int, layers: str, **known: Any) -> Published:
    known.setdefault("expected", Expected(least=least))
    url = _ADDRESS.format(name=name)
    return Published(name=name, resolution=resolution, least=least, layers=_blocks(layers), url=url, **known)


PUBLISHED = {
    published.name: published
    for published in (
        _published(
            "biggan-deep-128",
            128,
            210_749_700,
            "16-16 16+16 16-16 16+8 8-8 8+4 4-4 4+2 2-2 2+1",
            hub="osanseviero/BigGAN-deep-128",
            hub_sha256="b86146a8cfcde4cda135adba4b2806f78b3abe2dac9d0fd090cc3ab318604ad9",
        ),
        _published(
            "biggan-deep-256",
            256,
            234_292_740,
            "16-16 16+16 16-16 16+8 8-8 8+8 8-8 8+4 4-4 4+2 2-2 2+1",
            expected=Expected(
                sha256="5900ef4065047e3aa0d1b66197b7f2664dceb59b27080e414ad57e203c485bc5",
                size=234_411_737,
                least=234_292_740,
            ),
        ),
        _published(
            "biggan-deep-512", 512, 235_635_460, "16-16 16+16 16-16 16+8 8-8 8+8 8-8 8+4 4-4 4+2 2-2 2+1 1-1 1+1"
        ),
    )
}
"""The digests are as the Hub and another program's catalogue list them; where there is none, the one of the first
download is recorded and compared from then on."""


def deep_file_names(name: str) -> tuple[str, ...]:
    """Return the names that a BigGAN-deep's file of weights may have."""
    return (WEIGHTS, "model.safetensors", TORCH_WEIGHTS, f"{name}-{TORCH_WEIGHTS}")
