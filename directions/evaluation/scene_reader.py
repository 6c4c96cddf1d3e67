"""The scene reader: a small network, trained by ``scripts/train_reader.py``, that reads the factors of a scene."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from directions.errors import UserError
from directions.generators.weights import CONFIG, WEIGHTS

SHAPES = ("cube", "sphere", "cylinder")
FACTORS = ("hue", "x", "y", "size")
SCENE_FACTORS = (*FACTORS, "shape")
# Hues are drawn from [0, 0.75]. The reader's scale is cut in the middle of the hues that never occur (the purplish
# reds), as far as possible from both ends, so that an error or a slight overshoot does not jump across the scale.
HUE_CUT = 0.875

READER_FOLDER = Path(__file__).with_name("reader")
_REMEDY = "Install the package again, or train a reader with scripts/train_reader.py."


class SceneReader(nn.Module):
    """Judges scenes, whatever their size; see `directions.evaluation.factors.Judge`.

    A convolutional network from (n, 3, 64, 64) images in [-1, 1] to factors in the units of the data. Strided
    convolutions go down to a 4 x 4 map that is flattened, not averaged, because the place is asked for. Hue comes out
    as a point (cos, sin) on the colour circle, so that red has one neighbourhood and not two ends.

    Args:
        means: Mean of x, y and size over the training data, in their units.
        deviations: Standard deviation over the training data of every factor in `FACTORS`, in their units.
        channels: Widths of the four stages.
        hidden: Width of the layer before the outputs.

    Attributes:
        names: The columns that are read: hue in turns of the colour circle, in [-0.125, 0.875), where the data's lie in
            [0, 0.75]; x to the right, [-1.3, 1.3]; y away from the camera, [-1.5, 1.5]; size, [0.45, 0.8]; and the
            probability of each of `SHAPES`.
        spread: Variances over the data; of the shape as a one-hot vector, 2/3.
        periods: Hue lies on a circle.
    """

    resolution = 64
    names: tuple[str, ...] = (*FACTORS, *["shape"] * len(SHAPES))

    def __init__(
        self, means: Mapping[str, float], deviations: Mapping[str, float],
        channels: tuple[int, int, int, int] = (24, 48, 72, 96), hidden: int = 96,
    ) -> None:  # fmt: skip
        super().__init__()
        self.means = {name: float(means[name]) for name in FACTORS[1:]}
        self.deviations = {name: float(deviations[name]) for name in FACTORS}
        self.spread: Mapping[str, float] = {name: value**2 for name, value in self.deviations.items()} | {
            "shape": 1 - 1 / len(SHAPES)
        }
        self.periods: Mapping[str, float] = {"hue": 1.0}
        self.channels, self.hidden = channels, hidden
        first, second, third, fourth = channels
        self.trunk = nn.Sequential(
            *_convolution(3, first, kernel=5, stride=2),
            *_convolution(first, second, stride=2),
            *_convolution(second, second),
            *_convolution(second, third, stride=2),
            *_convolution(third, third),
            *_convolution(third, fourth, stride=2),
            nn.Flatten(),
            nn.Linear(fourth * (self.resolution // 16) ** 2, hidden),
            nn.SiLU(),
        )
        self.head = nn.Linear(hidden, len(SHAPES) + 2 + len(FACTORS[1:]))

    def outputs(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The raw outputs, which the training loss compares with its targets.

        Args:
            images: (n, 3, 64, 64), in [-1, 1].

        Returns:
            Shape logits (n, 3), hue as (cos, sin) (n, 2), and x, y, size as standard scores (n, 3).
        """
        raw = self.head(self.trunk(images.contiguous(memory_format=torch.channels_last)))
        logits, hue, scores = raw.split([len(SHAPES), 2, len(FACTORS[1:])], dim=1)
        return logits, hue, scores

    def forward(self, images: Tensor) -> Tensor:
        """Read a batch at once, with gradients.

        Args:
            images: (n, 3, 64, 64), in [-1, 1].

        Returns:
            (n, 7), as ``names``, in the data's units.
        """
        logits, hue, scores = self.outputs(images)
        means, deviations = (
            scores.new_tensor([of[name] for name in FACTORS[1:]]) for of in (self.means, self.deviations)
        )
        turns = unwrap_hue(torch.atan2(hue[:, 1:], hue[:, :1]) / (2 * math.pi))
        return torch.cat((turns, scores * deviations + means, logits.softmax(dim=1)), dim=1)

    @torch.no_grad()
    def read(self, images: Tensor, y: Tensor | None = None, *, batch: int = 256) -> Tensor:
        """Read any number of images, in batches, without gradients.

        Args:
            images: (n, 3, size, size), in [-1, 1], on any device.
            y: Not looked at.
            batch: Images at a time.

        Returns:
            (n, 7), as ``names``, in the data's units.
        """
        images = resized(images, self.resolution).to(self.head.weight)
        return torch.cat([self(chunk) for chunk in images.split(batch)])


def unwrap_hue(turns: Tensor) -> Tensor:
    """Bring hues to the reader's scale.

    Args:
        turns: Hues in turns, from any revolution.

    Returns:
        The same hues, in [-0.125, 0.875).
    """
    wrapped = (turns + 1 - HUE_CUT).remainder(1.0)
    # The remainder of a tiny negative number rounds to the period itself.
    return torch.where(wrapped >= 1, torch.zeros_like(wrapped), wrapped) + HUE_CUT - 1


def load_scene_reader(folder: Path | None = None, *, device: torch.device | str = "cpu") -> SceneReader:
    """Load a trained scene reader.

    Args:
        folder: Folder with ``weights.safetensors`` and ``config.json``; ``None`` takes the reader of the package.
        device: Where to put it.

    Returns:
        The reader, in evaluation mode and frozen.

    Raises:
        UserError: If a file is missing or damaged, or the weights are not those that the configuration describes.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    folder = READER_FOLDER if folder is None else folder
    try:
        config = json.loads((folder / CONFIG).read_text())
        weights = (folder / WEIGHTS).read_bytes()
        reader = SceneReader(config["means"], config["deviations"], tuple(config["channels"]), config["hidden"])
        reader.load_state_dict({name: tensor.float() for name, tensor in load(weights).items()})
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise UserError(f"The scene reader in {folder} cannot be used ({error!r}). {_REMEDY}") from error
    if hashlib.sha256(weights).hexdigest() != config["sha256"]:
        raise UserError(f"{folder / WEIGHTS} has another SHA-256 than {CONFIG} says. {_REMEDY}")
    return reader.to(device).eval().requires_grad_(False)


def resized(images: Tensor, size: int) -> Tensor:
    """Bring images to a size, smoothly: bilinear, and without aliasing where they get smaller.

    Args:
        images: (batch, 3, height, width).
        size: Height and width wanted, in pixels.

    Returns:
        (batch, 3, size, size), within the range of the images; the images themselves if they have the size already.
    """
    if images.shape[-2:] == (size, size):
        return images
    return nn.functional.interpolate(images, (size, size), mode="bilinear", align_corners=False, antialias=True)


def _convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    """Convolution, normalisation and a smooth activation: a reading that changes smoothly with the image."""
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.SiLU()]
