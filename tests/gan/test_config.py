"""Settings of a training are checked where they enter, and recorded as they were."""

from __future__ import annotations

import re

import pytest

from directions.settings.base import ConfigError
from directions.settings.train import PAPER_CHANNELS, RESOLUTIONS, Stage, TrainConfig


def test_defaults_are_the_papers():
    """ProGAN at 128 pixels, 50,000 kimg, 600 + 600 a level; every level is trained, from 4 pixels on."""
    config = TrainConfig(data="x")
    assert config.channels == PAPER_CHANNELS
    assert config.growth == 5 * 1_200_000
    assert config.activations() == (tuple(range(10)), False)
    assert (config.learning_rate, config.gradient_weight, config.drift) == (1e-3, 10, 1e-3)
    for spec, chosen in {"all": range(12), "0-2,7": (0, 1, 2, 7), "11": (11,)}.items():
        assert TrainConfig(data="x", penalty_layers=spec).activations() == (tuple(chosen), False)
    assert TrainConfig(data="x", penalty_layers="image").activations() == ((), True)
    for resolution in RESOLUTIONS:
        config = TrainConfig(data="x", resolution=resolution)
        assert (config.stage(0).resolution, config.stage(10**9).resolution) == (4, resolution)
        assert len(config.channels) == config.trained_levels


def test_recorded_settings_are_read_back():
    """Through JSON's types; those that no longer exist are passed over, as in runs of earlier versions."""
    config = TrainConfig(data="x", resolution=16, kimg=9, batch_size="8,4,4", stable_kimg=1, fade_kimg=(0, 2, 3))
    assert TrainConfig.from_dict(config.to_dict() | {"arch": "progan", "texture": 0.0}) == config
    assert TrainConfig(data="x", learning_rate=0.5).discriminator_rate == 0.5


def test_schedule_goes_through_the_levels():
    """Stable, then fade and stable for each level, the last one without an end."""
    kimg = {"fade_kimg": (0.009, 0.01, 0.02), "stable_kimg": (0.005, 0.01, 0.099), "batch_size": (8, 4, 2)}
    config = TrainConfig(data="x", resolution=32, first_resolution=8, **kimg)
    stages = [config.stage(seen) for seen in (0, 4, 5, 10, 15, 24, 25, 35, 45, 10**9)]
    assert [stage.level for stage in stages] == [1, 1, 2, 2, 2, 2, 3, 3, 3, 3]
    assert [stage.alpha for stage in stages] == [1, 1, 0, 0.5, 1, 1, 0, 0.5, 1, 1]
    assert [stage.batch_size for stage in stages] == [8, 8, 4, 4, 4, 4, 2, 2, 2, 2]
    assert (config.growth, stages[-1].resolution) == (45, 32)
    tuned = TrainConfig(data="x", resolution=32, fine_tune="run", batch_size=8, kimg=0.01)
    assert (tuned.stage(100), tuned.growth) == (Stage(3, 1.0, 8), 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"first_resolution": 64, "resolution": 32}, "first_resolution must be 4, 8, 16, … up to the resolution"),
        ({"channels": (4, 4)}, "channels must be 6 numbers, for 4 to 128 pixels, got 4,4"),
        ({"stable_kimg": (1, 2)}, "stable_kimg must be one value, or one for each of 6 levels, got 1,2"),
        ({"batch_size": 1}, "batch_size must be whole numbers of at least 2"),
        ({"batch_size": 6}, "batch_size must be at most 4 or a multiple of 4"),
        ({"penalty": "hessien"}, "penalty must be none or hessian, got 'hessien'. Did you mean 'hessian'"),
        ({"penalty_layers": "12"}, "penalty_layers must be paper, all, image, or numbers from 0 to 11"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    """With the name of the field, what was given and what is allowed."""
    with pytest.raises(ConfigError, match=re.escape(message)):
        TrainConfig(**({"data": "x"} | settings))
