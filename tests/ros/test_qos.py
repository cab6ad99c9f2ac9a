"""What a replay offers follows from what was recorded."""

from __future__ import annotations

import pytest
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime

from any2seg_core.bags.reader import RecordedQos

pytest.importorskip("rclpy")
pytestmark = pytest.mark.ros


def offered(reliability: str, is_latched: bool = False) -> Qos:
    """A recorded profile, as rosbags writes it."""
    forever = QosTime(9223372036, 854775807)
    durability = QosDurability.TRANSIENT_LOCAL if is_latched else QosDurability.VOLATILE
    return Qos(
        QosHistory.KEEP_LAST, 5, QosReliability[reliability.upper()], durability, forever, forever,
        QosLiveliness.AUTOMATIC, forever, False,
    )  # fmt: skip


def test_value_replay_offers_the_strongest_of_what_was_recorded():
    from any2seg_ros import qos

    weak = RecordedQos("best_effort", "volatile", "keep_last", 5)
    strong = RecordedQos("reliable", "transient_local", "keep_last", 1)
    best_effort, both = qos.as_recorded([weak], False), qos.as_recorded([weak, strong], False)
    assert best_effort.reliability == qos.RELIABILITIES["best_effort"]
    assert best_effort.depth == 10
    assert both.reliability == qos.RELIABILITIES["reliable"]
    assert both.durability == qos.LATCHED.durability
    assert qos.as_recorded([], True) == qos.LATCHED
    assert qos.as_recorded([], False) == qos.REPLAY
