"""A tiny recording of the fake car on a running page."""

from __future__ import annotations

import fake_car
import pytest
import torch
from bag_files import write_bag
from shown import MARKUP, serving, tiny_checkpoint, word

from any2seg_core.bags.opened import BagOptions
from any2seg_core.bags.reader import Recording
from any2seg_core.fleet.sources import find_sources, fingerprint
from any2seg_core.fleet.store import FleetStore
from any2seg_core.runtime.predictor import Predictor
from any2seg_core.view.single import SingleRecording

NS = 1_000_000_000


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


@pytest.fixture(scope="session")
def store(tmp_path_factory, car_bag):
    """Five drives: the first is a recording that is there; of the second the camera is in trouble, of the third the
    LiDAR is missing in most frames, the fourth is broken, the last one's names are markup.
    """
    pytest.importorskip("duckdb")
    pytest.importorskip("pyarrow")
    from store_tables import IDS, frames_table, recordings_table, topics_table

    store = FleetStore.create(tmp_path_factory.mktemp("fleet") / "store")
    real, _ = fingerprint(find_sources([str(car_bag)])[0])
    rows = [
        {"recording_id": real, "url": str(car_bag), "vehicle": "van-1", "weather": "sunny", "date": "2026-03-01",
         "duration_s": 2.4, "start_ns": 100 * NS, "end_ns": 100 * NS + 2_403_000_000},
        {"vehicle": "van-1", "weather": "rainy", "date": "2026-03-02", "time_of_day": "night"},
        {"vehicle": "van-2", "weather": "rainy", "date": "2026-03-03", "start_ns": NS, "end_ns": 4 * NS},
        {"vehicle": "van-2", "state": "broken", "code": "bag-format", "reason": f"no bag {MARKUP}"},
        {"vehicle": MARKUP, "url": f"/bags/{MARKUP}/drive", "weather": MARKUP, "tags": [MARKUP]},
    ]  # fmt: skip
    ids = [real, *IDS[1:5]]
    topics = [{"recording_id": each, "topic": f"/{sensor}", "sensor": sensor, "n_messages": 9, "rate_hz": 10.0}
              for each in ids for sensor in ("rgb", "lidar")]  # fmt: skip
    topics[2]["problems"] = [f"frozen {MARKUP}"]
    store.write_index(recordings_table(rows), topics_table(topics))
    store.write_evaluation("night", {"sensors": {"rgb": "R", "lidar": "L"}, "checkpoint": {}})
    for each, start_ns, missed in ((real, 100 * NS, 0), (IDS[1], NS, 0), (IDS[2], NS, 6)):
        frames = [
            {"stamp_ns": start_ns + at * NS // 4, "used": "R" if at < missed else "RL", "confidence": 0.5 + 0.05 * at,
             "agreement": {"R": 0.5, "RL": 1.0}, "reliability": {"rgb": 0.75, "lidar": None},
             "missing": ["lidar: dead"] if at < missed else [], "latitude": 49.0 + 1e-4 * at, "longitude": 8.4}
            for at in range(10)
        ]  # fmt: skip
        store.write_part("night", each, frames_table(each, frames))
    return store, real
