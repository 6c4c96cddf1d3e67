"""The configuration: defaults, every refused value, and the way through JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest

from directions.settings.base import ConfigError
from directions.settings.discover import RESUMABLE, DiscoverConfig, parse_classes

WRONG = [
    ({"generator": " "}, "generator must be a name, got ' '"),
    ({"weights": 3}, "weights must be text, got 3"),
    ({"classes": ()}, "classes must be 'all' or one or more class indices or names, got ()"),
    ({"classes": (-1,)}, "classes must be 'all' or"),
    ({"classes": (True,)}, "classes must be 'all' or"),
    ({"ndirs": 0}, "ndirs must be a whole number, at least 1, got 0"),
    ({"ndirs": 2.0}, "ndirs must be a whole number, at least 1, got 2.0"),
    ({"space": "12"}, "space must be start:stop, such as 0:12, or coarse, mid or fine, got '12'"),
    ({"layers": "4"}, "layers must be start:stop, such as 0:4, or coarse, mid or fine, got '4'"),
    ({"layers": "corse"}, "got 'corse'. Did you mean 'coarse'"),
    ({"layers": (0, 1)}, r"layers must be start:stop, .* got \(0, 1\)"),
    ({"truncation": 0.0}, "truncation must be a number above 0 and at most 1, got 0.0"),
    ({"truncation": 1.5}, "truncation must be a number above 0 and at most 1, got 1.5"),
    ({"steps": 0}, "steps must be a whole number, at least 1, got 0"),
    ({"steps": True}, "steps must be a whole number, at least 1, got True"),
    ({"batch_size": -4}, "batch_size must be a whole number, at least 1, got -4"),
    ({"batch_size": 16, "micro_batch": 5}, "micro_batch must divide batch_size 16 .* got 5. Allowed: 1, 2, 4, 8, 16"),
    ({"num_probes": 1}, "num_probes must be a whole number, at least 2 .* got 1"),
    ({"held_out_probes": 1}, "held_out_probes must be a whole number, at least 2 .* got 1"),
    ({"epsilon": 0.0}, "epsilon must be a finite number above 0, got 0.0"),
    ({"epsilon": float("nan")}, "epsilon must be a finite number above 0, got nan"),
    ({"path_size": -1}, "path_size must be a finite number above 0, got -1"),
    ({"learning_rate": float("inf")}, "learning_rate must be a finite number above 0, got inf"),
    ({"learning_rate": "0.1"}, "learning_rate must be a finite number above 0, got '0.1'"),
    ({"decay_steps": -1}, "decay_steps must be a whole number, at least 0, got -1"),
    ({"init": "identiy"}, "init must be random or identity, got 'identiy'. Did you mean 'identity'"),
    ({"reduction": "sum"}, "reduction must be mean or max, got 'sum'"),
    ({"seed": -1}, "seed must be a whole number, between 0 and"),
    ({"seed": 2**63}, "seed must be a whole number, between 0 and"),
    ({"device": "gpu"}, "device must be cpu, cuda, cuda:N or auto, got 'gpu'"),
    *(({field: 0}, f"{field} must be") for field in ("held_out", "eval_every", "checkpoint_every", "final_samples")),
]


@pytest.mark.parametrize(("settings", "message"), WRONG, ids=[str(settings) for settings, _ in WRONG])
def test_config_refuses(settings, message):
    """Each wrong value is refused at construction, by a message that starts with the field's name."""
    with pytest.raises(ConfigError, match=message) as caught:
        DiscoverConfig(**settings)
    assert str(caught.value).startswith(caught.value.field + " ")
    assert caught.value.field in settings


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"classes": (0, "cube")},
        {"classes": "all", "space": "0:4", "layers": "fine", "ndirs": 3},
        {"micro_batch": 4, "weights": "x"},
    ],
    ids=str,
)
def test_config_survives_json(settings):
    """A run folder's config.json gives the same configuration back."""
    config = DiscoverConfig(**settings)
    assert DiscoverConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_config_takes_one_class_and_whole_numbers_for_floats():
    """A single class need not be in a tuple, and 5 and 5.0 are one setting, also in JSON."""
    assert DiscoverConfig(classes="cube").classes == ("cube",)
    assert json.dumps(DiscoverConfig(path_size=5).to_dict()) == json.dumps(DiscoverConfig(path_size=5.0).to_dict())


def test_config_passes_over_settings_that_are_gone():
    """An older run's file may name them; a misspelt one in code is refused."""
    assert DiscoverConfig.from_dict({"ndir": 3, "seed": 2}) == DiscoverConfig(seed=2)
    with pytest.raises(ConfigError, match=r"ndir is not a setting\. Did you mean 'ndirs'\?"):
        DiscoverConfig(ndir=3)


def test_config_takes_scalars_of_numpy():
    """They are the numbers that they are, also in JSON."""
    config = DiscoverConfig(seed=np.int64(3), learning_rate=np.float32(0.5), compile=np.bool_(True))
    assert config == DiscoverConfig(seed=3, learning_rate=0.5, compile=True)
    assert json.loads(json.dumps(config.to_dict()))["seed"] == 3


def test_config_differences_are_in_the_order_of_declaration():
    """Differences name fields; the resumable ones are fields."""
    a, b = DiscoverConfig(), DiscoverConfig(seed=1, epsilon=0.2)
    assert a.differences(b) == ("seed", "epsilon")
    assert a.differences(a) == ()
    assert set(RESUMABLE) <= set(a.to_dict())


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("all", "all"),
        (" ALL ", "all"),
        ("0", (0,)),
        ("0, 2,cube", (0, 2, "cube")),
        ("golden retriever", ("golden retriever",)),
    ],
)
def test_parse_classes_reads_indices_and_names(text, classes):
    """Numbers are indices, everything else is a name."""
    assert parse_classes(text) == classes


@pytest.mark.parametrize(
    ("text", "message"),
    [(text, "must be 'all' or one or more") for text in ("", "0,,1", "-1", ",")]
    + [(text, "must be 'all' alone, or classes without it") for text in ("retriever,all", "all,3", "0, All ,1")],
)
def test_parse_classes_refuses_gaps_and_all_beside_others(text, message):
    """A forgotten entry is no empty name; "all" would be taken for a part of one, such as "all-terrain bike"."""
    with pytest.raises(ConfigError, match=f"classes {message}"):
        parse_classes(text)


@pytest.mark.parametrize(("method", "expected"), [("adam", 64), ("joint", 16), ("joint+adam", 16)])
def test_batch_size_follows_from_the_method(method, expected):
    """Fewer leave the paper's loop near its random start; what is given stays, and so does what was resolved."""
    config = DiscoverConfig(method=method)
    assert config.batch_size == expected
    assert DiscoverConfig(method=method, batch_size=5).batch_size == 5
    assert DiscoverConfig.from_dict(config.to_dict()) == config
