"""The scene reader: a small network, trained by ``scripts/train_reader.py``, that reads the factors of a scene."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from directions.errors import UserError

SHAPES = ("cube", "sphere", "cylinder")
FACTORS = ("hue", "x", "y", "size")
SCENE_FACTORS = (*FACTORS, "shape")
HUE_PERIOD = 1.0
# Hues are drawn from [0, 0.75]. The reader's scale is cut in the middle of the hues that never occur (the purplish
# reds), as far as possible from both ends, so that an error or a slight overshoot does not jump across the scale.
HUE_CUT = 0.875

READER_FOLDER = Path(__file__).with_name("reader")
WEIGHTS_NAME = "weights.safetensors"
CONFIG_NAME = "config.json"
FORMAT_VERSION = 1
_REMEDY = "Install the package again, or train a reader with scripts/train_reader.py."


@dataclass(frozen=True)
class SceneReading:
    """What the reader sees in a batch of n images.

    Attributes:
        shape_logits: (n, 3), unnormalised log-probabilities of `SHAPES`.
        shape: (n,), index of the most probable shape in `SHAPES`.
        hue: (n,), in turns of the colour circle, in [-0.125, 0.875); the data's lie in [0, 0.75].
        x: (n,), place to the right on the ground, in scene units; the data's lie in [-1.3, 1.3].
        y: (n,), place away from the camera, in scene units; the data's lie in [-1.5, 1.5].
        size: (n,), scale of the object, in scene units; the data's lie in [0.45, 0.8].
    """

    shape_logits: Tensor
    shape: Tensor
    hue: Tensor
    x: Tensor
    y: Tensor
    size: Tensor

    @property
    def shape_probabilities(self) -> Tensor:
        """(n, 3), the probability of each of `SHAPES`."""
        return self.shape_logits.softmax(dim=1)


class SceneReader(nn.Module):
    """Convolutional network from (n, 3, 64, 64) images in [-1, 1] to a `SceneReading`.

    Strided convolutions down to a 4 x 4 map that is flattened, not averaged, because the place is asked for. Hue comes
    out as a point (cos, sin) on the colour circle, so that red has one neighbourhood and not two ends.

    Args:
        means: Mean of x, y and size over the training data, in their units.
        deviations: Standard deviation over the training data of every factor in `FACTORS`, in their units.
        channels: Widths of the four stages.
        hidden: Width of the layer before the outputs.
    """

    resolution = 64

    def __init__(
        self,
        means: Mapping[str, float],
        deviations: Mapping[str, float],
        channels: tuple[int, int, int, int] = (24, 48, 72, 96),
        hidden: int = 96,
    ) -> None:
        super().__init__()
        self.means = {name: float(means[name]) for name in FACTORS[1:]}
        self.deviations = {name: float(deviations[name]) for name in FACTORS}
        self.channels = channels
        self.hidden = hidden
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

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.head.weight.device

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

    def forward(self, images: Tensor) -> SceneReading:
        """Read a batch at once, with gradients.

        Args:
            images: (n, 3, 64, 64), in [-1, 1].

        Returns:
            The reading, in the data's units.
        """
        logits, hue, scores = self.outputs(images)
        values = {
            name: score * self.deviations[name] + self.means[name]
            for name, score in zip(FACTORS[1:], scores.unbind(dim=1), strict=True)
        }
        turns = unwrap_hue(torch.atan2(hue[:, 1], hue[:, 0]) / (2 * math.pi))
        return SceneReading(logits, logits.argmax(dim=1), turns, values["x"], values["y"], values["size"])

    @torch.no_grad()
    def read(self, images: Tensor, *, batch: int = 256) -> SceneReading:
        """Read any number of images, in batches, without gradients.

        Args:
            images: (n, 3, 64, 64), in [-1, 1], on any device.
            batch: Images at a time.

        Returns:
            The reading of all n images, in their order, in the data's units.

        Raises:
            UserError: If the images are of another shape, not floating-point or outside [-1, 1].
        """
        if tuple(images.shape[1:]) != (3, self.resolution, self.resolution):
            raise UserError(
                f"images must be of shape (n, 3, {self.resolution}, {self.resolution}), got {tuple(images.shape)}: "
                "the scene reader reads the scenes of the built-in generator."
            )
        low, high = images.amin().item(), images.amax().item()
        if not (images.is_floating_point() and low >= -1.001 and high <= 1.001):
            raise UserError(
                f"images must be floating-point in [-1, 1], got {images.dtype} from {low:.4g} to {high:.4g}."
            )
        weight = self.head.weight
        parts = [self(chunk.to(weight.device, weight.dtype)) for chunk in images.split(batch)]
        return SceneReading(*(torch.cat([getattr(p, field.name) for p in parts]) for field in fields(SceneReading)))


def unwrap_hue(turns: Tensor) -> Tensor:
    """Bring hues to the reader's scale.

    Args:
        turns: Hues in turns, from any revolution.

    Returns:
        The same hues, in [-0.125, 0.875).
    """
    start = HUE_CUT - HUE_PERIOD
    wrapped = (turns - start).remainder(HUE_PERIOD)
    # The remainder of a tiny negative number rounds to the period itself.
    return torch.where(wrapped >= HUE_PERIOD, torch.zeros_like(wrapped), wrapped) + start


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
        config: dict[str, Any] = json.loads((folder / CONFIG_NAME).read_text())
        weights = (folder / WEIGHTS_NAME).read_bytes()
        reader = SceneReader(config["means"], config["deviations"], tuple(config["channels"]), config["hidden"])
        reader.load_state_dict({name: tensor.float() for name, tensor in load(weights).items()})
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise UserError(f"The scene reader in {folder} cannot be used ({error!r}). {_REMEDY}") from error
    written, digest = config.get("sha256"), hashlib.sha256(weights).hexdigest()
    if digest != written:
        raise UserError(f"{folder / WEIGHTS_NAME} has SHA-256 {digest}, but {CONFIG_NAME} says {written!r}. {_REMEDY}")
    return reader.to(device).eval().requires_grad_(False)


class SceneJudge:
    """Judges scenes by the scene reader, whatever their size; see `directions.evaluation.factors.Judge`.

    Its factors are hue, which lies on a circle, x, y, size, and shape: the reader's three probabilities, whose variance
    over the data is that of the true shape as a one-hot vector, 2/3.

    Args:
        reader: Reads images of its own size; others are brought to it.
    """

    names: tuple[str, ...] = (*FACTORS, *["shape"] * len(SHAPES))

    def __init__(self, reader: SceneReader) -> None:
        self._reader = reader
        variances = {name: deviation**2 for name, deviation in reader.deviations.items()}
        self.spread: Mapping[str, float] = variances | {"shape": 1 - 1 / len(SHAPES)}
        self.periods: Mapping[str, float] = {"hue": HUE_PERIOD}

    def read(self, images: Tensor, y: Tensor | None = None) -> Tensor:
        """Read images.

        Args:
            images: (n, 3, size, size) in [−1, 1].
            y: Not looked at.

        Returns:
            (n, 7): hue, x, y, size and the probabilities of the shapes.
        """
        if images.shape[-1] != self._reader.resolution:
            # Interpolation leaves the range by a rounding error at most, which the reader would refuse.
            images = resized(images, self._reader.resolution).clamp(-1, 1)
        reading = self._reader.read(images)
        factors = torch.stack([getattr(reading, name) for name in FACTORS], dim=1)
        return torch.cat((factors, reading.shape_probabilities), dim=1)


def load_scene_judge(device: torch.device | str = "cpu") -> SceneJudge:
    """Load the judge of scenes, with the reader of the package."""
    return SceneJudge(load_scene_reader(device=device))


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
    return [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.SiLU(),
    ]
