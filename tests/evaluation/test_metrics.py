"""Names of metrics, what they measure, and the file that keeps it."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from closed import ClosedFormGenerator
from fakes import Pixels

from directions.evaluation import image_metrics
from directions.evaluation.activeness import component_activeness, diagonalness
from directions.evaluation.metrics import METRICS, Measuring, MetricFile, find_metrics


class Images:
    """A data set of 40 images."""

    digest = "d" * 64

    def __init__(self, seed=0):
        self.images = torch.rand(40, 3, 8, 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1
        self.asked = []

    def __len__(self):
        return len(self.images)

    def read(self, indices):
        self.asked += indices.tolist()
        return self.images[indices]


@pytest.fixture
def measuring(monkeypatch):
    monkeypatch.setattr(image_metrics, "load_network", lambda name, device: Pixels())
    return Measuring(ClosedFormGenerator(4, 8), Images(), classes=(0, 2), rows=16)


def small(name, **settings):
    """A named metric with settings that take no time."""
    return dataclasses.replace(METRICS[name], name=f"{name}_small", settings=METRICS[name].settings | settings)


def test_activeness_and_diagonalness_are_their_functions_with_the_settings_of_the_name(measuring):
    """For the components of z, over the classes asked for."""
    line = measuring.measure(small("activeness", samples=3))
    expected = component_activeness(measuring.generator, samples=3, classes=(0, 2))
    assert line["results"]["activeness"] == pytest.approx(expected["activeness"], rel=1e-5)
    assert line["value"] == expected["carrying_95"]
    line = measuring.measure(small("diagonalness", samples=2))
    expected = diagonalness(measuring.generator, torch.eye(4), samples=2, step=0.1, floor=1e-3, classes=(0, 2))
    assert line["value"] == pytest.approx(expected["share"])
    assert line["results"]["ratio"] == pytest.approx(expected["ratio"], rel=1e-3)


def test_frechet_takes_each_real_image_at_most_once(measuring):
    """As many as there are, or as are asked for; as many generated ones as the name says."""
    found = measuring.measure(small("fd_effnetlite0_5k", images=60))["results"]
    assert (found["real"], found["generated"]) == (40, 60)
    assert sorted(measuring.real.asked) == list(range(40))
    found = measuring.measure(small("fd_effnetlite0_5k", images=10))["results"]
    assert found["real"] == len(set(measuring.real.asked[40:])) == 10
    assert found["distance"] > 0


def test_frechet_keeps_the_statistics_of_real_images(measuring, tmp_path):
    """The second time only generated images are looked at, with the same result; other data have others."""
    measuring.cache = tmp_path / "cache"
    metric = small("fd_effnetlite0_5k", images=12)
    first = measuring.measure(metric)["value"]
    Pixels.seen = 0
    assert measuring.measure(metric)["value"] == first
    assert Pixels.seen == 12
    (kept,) = measuring.cache.iterdir()
    kept.write_bytes(kept.read_bytes()[:-9])  # damaged: made anew
    assert measuring.measure(metric)["value"] == first
    other = Images(seed=1)
    other.digest = "e" * 64
    assert Measuring(measuring.generator, other, (0, 2), 16, measuring.cache).measure(metric)["value"] != first


def test_scene_metrics_read_the_same_images_once(measuring):
    """DCI and MIG of one number of samples; all results are plain JSON."""
    made = []
    forward = measuring.generator.forward
    measuring.generator.forward = lambda *args, **kwargs: made.append(len(args[0])) or forward(*args, **kwargs)
    dci = measuring.measure(small("dci_10k", samples=100))
    mig = measuring.measure(small("mig_10k", samples=100))
    assert sum(made) == 100
    assert np.shape(dci["results"]["importances"]) == np.shape(mig["results"]["information"])
    effects = measuring.measure(small("factor_effects", num_points=6))
    assert [row["name"] for row in effects["results"]["directions"]] == ["z0", "z1", "z2", "z3"]
    assert effects["value"] == effects["results"]["single_factor_share"]
    json.dumps([dci, mig, effects], allow_nan=False)


def test_find_metrics_in_order_each_once():
    """Names and groups; a group leaves out what there are no images for."""
    names = [metric.name for metric in find_metrics("mig_10k, quick,activeness", have_data=False)]
    assert names == ["mig_10k", "activeness", "diagonalness", "ppl_zend_effnetlite0_10k"]
    assert find_metrics("quick", have_data=True)[-1].name == "fd_effnetlite0_5k"


def test_metric_file_finds_what_was_measured_on_the_same_things(measuring, tmp_path):
    """Other classes, data, settings or another generator are other measurements."""
    file, metric = MetricFile(tmp_path / "run"), small("fd_effnetlite0_5k", images=6)
    assert file.find(metric, measuring) is None
    line = measuring.measure(metric)
    file.append(line)
    assert file.find(metric, measuring) == line
    assert (line["network"], line["network_digest"]) == ("effnetlite0", Pixels.digest)
    assert line["data_digest"] == Images.digest
    assert file.find(small("fd_effnetlite0_5k", images=7), measuring) is None
    generator, real, other = measuring.generator, measuring.real, Images()
    other.digest = "e" * 64
    others = ((generator, real, (0,)), (ClosedFormGenerator(4, 8, seed=1), real, (0, 2)), (generator, other, (0, 2)))
    assert all(file.find(metric, Measuring(*one)) is None for one in others)


def test_metric_file_survives_a_kill_in_the_middle_of_a_line(measuring, tmp_path):
    """Half a line is passed over, and the next one starts on its own."""
    file, metric = MetricFile(tmp_path), small("activeness")
    file.append(measuring.identity(metric))
    with file.path.open("a") as end:
        end.write('{"metric": "acti')
    file.append({"metric": "other"})
    assert file.read() == [measuring.identity(metric), {"metric": "other"}]
    assert file.find(metric, measuring) == file.read()[0]
