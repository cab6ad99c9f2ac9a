"""A tiny recording of the fake car on a running page."""

from __future__ import annotations

import fake_car
import pytest
import torch
from bag_files import write_bag
from shown import MARKUP, serving, tiny_checkpoint, word

from any2seg_core.bags.opened import BagOptions
from any2seg_core.bags.reader import Recording
from any2seg_core.runtime.predictor import Predictor
from any2seg_core.view.single import SingleRecording


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A tiny model with random weights."""
    torch.manual_seed(0)
    return tiny_checkpoint(tmp_path_factory.mktemp("model") / "m.safetensors")


@pytest.fixture(scope="session")
def predictor(checkpoint):
    return Predictor.load(checkpoint)


@pytest.fixture(scope="session")
def car_bag(tmp_path_factory):
    """2.5 s of camera, depth, events and LiDAR, 96x64, the LiDAR silent from 1.0 to 1.6 s; one topic has a name that
    would be markup.
    """
    folder = tmp_path_factory.mktemp("view")
    with Recording(fake_car.write_bag(folder / "whole", 2.5)) as bag:
        entries = [(m.time_ns, m.topic, m.kind, m.data) for m in bag.messages()]
    lidar, start_ns = fake_car.TOPICS.streams["lidar"], fake_car.START_NS
    silent = range(start_ns + 1_000_000_000, start_ns + 1_600_000_000)
    entries = [entry for entry in entries if entry[1] != lidar or entry[0] not in silent]
    path = write_bag(folder / "<b>car", [*entries, (start_ns, MARKUP, "std_msgs/msg/String", word())])
    fake_car.write_calibration(path / "calibration.yaml")
    return path


@pytest.fixture(scope="session")
def page(car_bag, predictor):
    """A client of the page of that recording."""
    with serving(SingleRecording(car_bag, BagOptions(), predictor, "m.safetensors")) as client:
        yield client
