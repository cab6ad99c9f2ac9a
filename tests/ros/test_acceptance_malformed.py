"""Acceptance, malformed messages: each kind through the running node over real DDS; the oracle is what was sent."""

from __future__ import annotations

import time
from functools import partial

import fake_car
import numpy as np
import pytest
from acceptance import START_TIMEOUT_S, Listener, labels_until_fused, wait_for

from any2seg_core.vocabulary.modalities import VEHICLE

pytest.importorskip("rclpy")
pytestmark = pytest.mark.ros

LOG_PERIOD_S = 5.0  # log_period_s of the node
NAN = np.float32(np.nan)


def fields(**values):
    """Function that sets fields of a message, and nothing else."""

    def spoil(message):
        for name, value in values.items():
            setattr(message, name, value)

    return spoil


def truncate(message):
    message.data = message.data[:-5]


def nowhere(message):
    """Every number is NaN, the layout stays."""
    message.data = np.full(message.data.size // 4, NAN).view(np.uint8)


def before_the_epoch(message):
    message.header.stamp.sec = -1


def of_another_camera(message):
    message.header.frame_id = "rear_camera"


# No sensor has two kinds with one reason: the node would log only one of them in five seconds.
KINDS = {
    "wrong step": ("rgb", fields(step=7), "malformed.step", "step 7 is smaller than a row"),
    "truncated image": ("depth", truncate, "malformed.length", "image: data holds"),
    "truncated cloud": ("lidar", truncate, "malformed.length", "cloud: data holds"),
    "truncated events": ("event", truncate, "malformed.length", "no whole number of 13-byte events"),
    "depth of NaN": ("depth", nowhere, "ill.no_depth", "depth image is empty"),
    "cloud of NaN": ("lidar", nowhere, "ill.sparse", "cloud has 0 points"),
    "unknown encoding": ("rgb", fields(encoding="rgb77"), "malformed.encoding", "unknown encoding 'rgb77'"),
    "zero size": ("rgb", fields(width=0, height=0), "malformed.size", "is 0, expected 1 to"),
    "huge size": ("depth", fields(width=2**31, height=2**31), "malformed.size", "is 2147483648, expected 1 to"),
    "negative stamp": ("event", before_the_epoch, "malformed.stamp", "sec is -1"),
    "wrong frame": ("rgb", of_another_camera, "malformed.frame", "frame_id is 'rear_camera'"),
    "point_step 0": ("lidar", fields(point_step=0), "malformed.step", "point_step is 0"),
}


@pytest.fixture(scope="module")
def diagnostics(monitor, node_process):
    from diagnostic_msgs.msg import DiagnosticArray

    assert wait_for(lambda: monitor.lifecycle_state(1.0) == "active", START_TIMEOUT_S), node_process.tail()
    listener = Listener(monitor.node, {"/diagnostics": (DiagnosticArray, 10)})
    yield listener
    listener.close()


@pytest.fixture(scope="module")
def car(monitor, diagnostics):
    car = fake_car.FakeCar(monitor.node)
    yield car
    car.stop()


@pytest.mark.parametrize(("sensor", "spoil", "key", "words"), KINDS.values(), ids=KINDS)
def test_value_bad_message_is_counted_and_named_and_costs_only_itself(
    car, monitor, node_process, diagnostics, sensor, spoil, key, words
):
    def counted():
        return int(diagnostics.values("/diagnostics").get(f"{sensor}.{key}", 0))

    labels_until_fused(monitor, VEHICLE.members)
    assert words not in node_process.log.read_text()
    before, begin_s = counted(), time.monotonic()
    car.instead = {sensor: partial(fake_car.spoiled, sensor, spoil)}
    try:
        labels_until_fused(monitor, [name for name in VEHICLE.members if name != sensor])
        assert wait_for(lambda: counted() >= before + 3)
    finally:
        car.instead = {}
    labels_until_fused(monitor, VEHICLE.members)  # the next good one is used
    told = [line for line in node_process.log.read_text().splitlines() if words in line]
    assert 1 <= len(told) <= 1 + (time.monotonic() - begin_s) / LOG_PERIOD_S, told
    assert f"{sensor}: left out: " in told[0]
    assert "Traceback" not in node_process.log.read_text()
