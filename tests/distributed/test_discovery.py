"""Discovery on two ranks: what one process finds, up to rounding, and resumed with another number of ranks too."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import pytest
import torch
from ranks import Started, discoveries, run_of

from directions.search import shared_among
from directions.settings.base import ConfigError
from directions.settings.discover import DiscoverConfig

ADAM = DiscoverConfig(
    method="adam", steps=4, batch_size=8, held_out=5, held_out_probes=2, eval_every=2, final_samples=4, base_points=5,
    starts=4,
)  # fmt: skip
"""Three starts agree: of two ranks that make two starts each, the last one is left out."""

BOTH = ADAM.replace(method="joint+adam", learning_rate=0.01)
GRADIENTS = BOTH.replace(measurement="gradients", output_probes=2)
CASES = {
    "adam": ADAM,
    "max in micro-batches": ADAM.replace(reduction="max", micro_batch=2),
    "joint": ADAM.replace(method="joint"),
    "joint+adam in micro-batches": BOTH.replace(micro_batch=2),
    "gradients": GRADIENTS.replace(ndirs=2),
}
RESUMED = {"adam from step 1": (ADAM, 1), "measured 3 of 5": (BOTH, 3), "joint+adam from step 1": (GRADIENTS, 7)}
"""Runs of one process, and the number of the snapshot that two ranks go on from."""


@pytest.fixture(scope="module")
def alone():
    """What one process finds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        configs = CASES | {name: config for name, (config, _) in RESUMED.items()}
        return {name: run_of(config, None) for name, config in configs.items()}


@pytest.fixture(scope="module")
def pair(alone):
    """What two ranks find, by rank."""
    states = {name: alone[name]["states"][number] for name, (_, number) in RESUMED.items()}
    configs = CASES | {name: config for name, (config, _) in RESUMED.items()}
    return Started(discoveries, configs, states).results()


def assert_same(found, expected):
    """Up to the rounding of sums; what is None must be None."""
    assert found.keys() == expected.keys()
    known = [{name: value for name, value in numbers.items() if value is not None} for numbers in (found, expected)]
    torch.testing.assert_close(*known, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", [*CASES, *RESUMED])
def test_two_ranks_find_what_one_process_finds(pair, alone, name):
    """Samples belong to numbers, not to ranks, so the same comes out, also resumed; on all ranks to the last bit."""
    one, other = pair[0][name], pair[1][name]
    assert_same(one["end"], alone[name]["end"])
    assert_same(one["records"][-1], alone[name]["records"][-1])
    if name in RESUMED:
        assert one["records"][0] == {**alone[name]["records"][RESUMED[name][1]], "seconds": 0.0}
    else:
        steps, shared = ([r for r in found["records"] if r["base_points"] is None] for found in (alone[name], one))
        for record, expected in zip(shared, steps, strict=True):
            assert_same(record, expected)
    torch.testing.assert_close(one["end"], other["end"], rtol=0, atol=0)
    assert one["records"] == other["records"]


@pytest.mark.parametrize(("name", "number"), [("adam", 3), ("joint+adam in micro-batches", 1), ("gradients", 5)])
def test_one_process_goes_on_where_two_ranks_stopped(pair, alone, name, number):
    """The other way round, from the state of either rank."""
    for rank in (0, 1):
        assert_same(run_of(CASES[name], pair[rank][name]["states"][number])["end"], alone[name]["end"])


def test_shared_among_gives_every_rank_as_much(pair):
    """One rank is left with what the user said; several take equal parts, or refuse, on every rank."""
    for world_size, micro_batch, together in ((1, None, None), (2, None, 3), (3, 2, 2)):
        config = DiscoverConfig(batch_size=6, micro_batch=micro_batch)
        assert shared_among(SimpleNamespace(world_size=world_size), config).micro_batch == together
    with pytest.raises(ConfigError, match=r"multiple of 4 .*ranks: 1, 2, 3, 6\."):
        shared_among(SimpleNamespace(world_size=4), DiscoverConfig(batch_size=6))
    assert pair[0]["refused"] == pair[1]["refused"]
    assert "must be a multiple of 4 (2 ranks × a micro-batch of 2), got 6." in pair[0]["refused"]
