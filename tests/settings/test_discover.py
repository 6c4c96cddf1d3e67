"""The configuration: defaults, what is refused, and the way through JSON; ranges in general are in test_base."""

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
    ({"space": "12"}, "space must be start:stop, such as 0:12, or coarse, mid or fine, got '12'"),
    ({"layers": "corse"}, "layers must be start:stop, such as 0:4, .* got 'corse'. Did you mean 'coarse'"),
    ({"layers": (0, 1)}, r"layers must be start:stop, .* got \(0, 1\)"),
    ({"truncation": 1.5}, "truncation must be a number above 0 and at most 1, got 1.5"),
    ({"batch_size": 16, "micro_batch": 5}, "micro_batch must divide batch_size 16 .* got 5. Allowed: 1, 2, 4, 8, 16"),
    ({"num_probes": 1}, "num_probes must be a whole number, at least 2 .* got 1"),
    ({"learning_rate": "0.1"}, "learning_rate must be a finite number above 0, got '0.1'"),
    ({"decay_steps": -1}, "decay_steps must be a whole number, at least 0, got -1"),
    ({"init": "identiy"}, "init must be random or identity, got 'identiy'. Did you mean 'identity'"),
    ({"seed": 2**63}, "seed must be a whole number, between 0 and"),
    ({"device": "gpu"}, "device must be cpu, cuda, cuda:N or auto, got 'gpu'"),
    ({"ndir": 3}, r"ndir is not a setting\. Did you mean 'ndirs'\?"),
    *(
        ({field: 0}, f"{field} must be")
        for field in ("ndirs", "steps", "epsilon", "held_out", "eval_every", "checkpoint_every", "final_samples")
    ),
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
        {"classes": (0, "cube"), "micro_batch": 4, "weights": "x"},
        {"classes": "all", "space": "0:4", "layers": "fine", "ndirs": 3, "method": "adam"},
        {"seed": np.int64(3), "learning_rate": np.float32(0.5), "compile": np.bool_(True), "path_size": 5},
    ],
    ids=str,
)
def test_config_survives_json(settings):
    """A run folder's config.json gives the same configuration back, whatever an older one has beside it."""
    config = DiscoverConfig(**settings)
    written = json.loads(json.dumps(config.to_dict() | {"gone": 1}))
    assert DiscoverConfig.from_dict(written) == config
    assert DiscoverConfig.from_dict(written).to_dict() == config.to_dict()


def test_config_differences_are_in_the_order_of_declaration():
    """Differences name fields; the resumable ones are fields."""
    a, b = DiscoverConfig(), DiscoverConfig(seed=1, epsilon=0.2)
    assert a.differences(b) == ("seed", "epsilon")
    assert a.differences(a) == ()
    assert set(RESUMABLE) <= set(a.to_dict())


@pytest.mark.parametrize(
    ("text", "classes"),
    [(" ALL ", "all"), ("0", (0,)), ("0, 2,cube", (0, 2, "cube")), ("golden retriever", ("golden retriever",))],
)
def test_parse_classes_reads_indices_and_names(text, classes):
    """Numbers are indices, everything else is a name; one alone need not be in a tuple."""
    assert parse_classes(text) == classes
    assert DiscoverConfig(classes=classes[0] if len(classes) == 1 else classes).classes == classes
    if classes == (0,):
        assert DiscoverConfig(classes=np.array(classes)) == DiscoverConfig(classes=(np.int64(0),))


@pytest.mark.parametrize(
    ("text", "message"),
    [(text, "must be 'all' or one or more") for text in ("", "0,,1", "-1", ",")]
    + [(text, "must be 'all' alone, or classes without it") for text in ("retriever,all", "0, All ,1")],
)
def test_parse_classes_refuses_gaps_and_all_beside_others(text, message):
    """A forgotten entry is no empty name; "all" would be taken for a part of one, such as "all-terrain bike"."""
    with pytest.raises(ConfigError, match=f"classes {message}"):
        parse_classes(text)


@pytest.mark.parametrize(("method", "expected"), [("adam", 64), ("joint", 16), ("joint+adam", 16)])
def test_batch_size_follows_from_the_method(method, expected):
    """Fewer leave the paper's loop near its random start; what is given stays."""
    assert DiscoverConfig(method=method).batch_size == expected
    assert DiscoverConfig(method=method, batch_size=5).batch_size == 5
