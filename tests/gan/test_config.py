"""Settings of a training are checked where they enter, and recorded as they were."""

from __future__ import annotations

import pytest

from directions.config import ConfigError
from directions.gan.config import PAPER_CHANNELS, RESOLUTIONS, TrainConfig


def test_defaults_are_the_papers():
    """ProGAN at 128 pixels, 50,000 kimg, 600 + 600 a level."""
    config = TrainConfig(data="x")
    assert config.channels == PAPER_CHANNELS
    assert config.schedule.growth == 5 * 1_200_000
    assert config.activations() == (tuple(range(10)), False)
    assert (config.learning_rate, config.gradient_weight, config.drift) == (1e-3, 10, 1e-3)


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_channels_are_cut_to_the_resolution(resolution):
    """And every level is trained, from 4 pixels on."""
    config = TrainConfig.of(data="x", resolution=resolution)
    assert config.schedule.at(0).resolution == 4
    assert config.schedule.at(10**9).resolution == resolution
    assert len(config.channels) == config.schedule.last_level + 1


def test_recorded_settings_are_read_back():
    """Through JSON's types."""
    config = TrainConfig.of(
        data="x", resolution=16, kimg=9, batch_size=(8, 4, 4), stable_kimg=(1,), fade_kimg=(0, 2, 3)
    )
    assert TrainConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ConfigError, match=r"kimgs is not a setting of a training run\. Did you mean 'kimg'"):
        TrainConfig.from_dict({"data": "x", "kimgs": 3})


def test_biggan_has_defaults_of_its_own():
    """And a rate for each network."""
    config = TrainConfig.of(data="x", arch="biggan")
    assert (config.loss, config.resolution, config.batch_size) == ("hinge", 64, (32,))
    assert (config.learning_rate, config.discriminator_rate) == (2e-4, 4e-4)
    assert TrainConfig.of(data="x", learning_rate=0.5).discriminator_rate == 0.5


@pytest.mark.parametrize(
    ("spec", "layers", "image"),
    [("all", range(12), False), ("image", (), True), ("0-2,7", (0, 1, 2, 7), False), ("11", (11,), False)],
)
def test_layers_are_chosen_by_number(spec, layers, image):
    """Two a resolution, from 4 pixels on."""
    assert TrainConfig(data="x", penalty_layers=spec).activations() == (tuple(layers), image)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data": ""}, "data must be the path of a folder"),
        ({"arch": "stylegan"}, "arch must be progan or biggan"),
        ({"resolution": 48}, "resolution must be 8 or 16 or 32 or 64 or 128 for arch progan, got 48"),
        ({"arch": "biggan", "resolution": 32}, "resolution must be 64 for arch biggan"),
        ({"first_resolution": 64, "resolution": 32}, "first_resolution must be 4 or 8 or 16 or 32, got 64"),
        ({"channels": (4, 4)}, "channels must be 6 whole numbers"),
        ({"channels": (0,) * 6}, "channels must be 6 whole numbers of at least 1"),
        ({"dim_z": 0}, "dim_z must be a whole number, at least 1"),
        ({"kimg": 0}, "kimg must be a number above 0"),
        ({"kimg": 5999}, "kimg must be at least 6000, which growing to 128 pixels takes"),
        ({"stable_kimg": (1, 2)}, "stable_kimg must have one value, or one for each of 6 levels, got 2"),
        ({"fade_kimg": (-1,)}, "fade_kimg must be a number of at least 0"),
        ({"batch_size": (1,)}, "batch_size must be a whole number of at least 2"),
        ({"batch_size": (6,)}, "batch_size must be at most 4 or a multiple of 4"),
        ({"loss": "hinge"}, "loss must be wgan-gp or nonsaturating, got 'hinge'"),
        ({"penalty": "hessien"}, "penalty must be none or hessian, got 'hessien'. Did you mean 'hessian'"),
        ({"penalty_layers": "12"}, "penalty_layers must be paper, all, image, or numbers from 0 to 11"),
        ({"penalty_layers": "rgb"}, "penalty_layers must be paper"),
        ({"penalty_weight": -1}, "penalty_weight must be a number at least 0"),
        ({"num_probes": 1}, "num_probes must be a whole number, at least 2"),
        ({"epsilon": float("nan")}, "epsilon must be a number above 0"),
        ({"infogan": 13}, "infogan must be a whole number, from 0 to 12"),
        ({"decay_from": 1.5}, "decay_from must be a number at least 0 and at most 1"),
        ({"bfloat16": "yes"}, "bfloat16 must be true or false"),
        ({"seed": -1}, "seed must be a whole number, from 0"),
        ({"device": "gpu"}, "device must be cpu, cuda"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    """With the name of the field, what was given and what is allowed."""
    with pytest.raises(ConfigError, match=message):
        TrainConfig.of(**({"data": "x"} | settings))
