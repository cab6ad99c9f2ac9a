"""Plans that a recording cannot take are refused before the run, by the name of the topic."""

from __future__ import annotations

import pytest
from bag_files import NS_PER_S, PACKET, START_NS, event_packet, lidar_entries, small_entries, write_bag
from raised import user_error

from any2seg_core.bags.reader import Recording
from any2seg_core.bags.topics import choose_topics
from any2seg_core.faults.check import check_faults
from any2seg_core.faults.grammar import parse_fault
from any2seg_core.faults.injector import FaultInjector

EVENTS = "/dvs/events"


def packets(encoding):
    return [
        (START_NS + k * NS_PER_S // 10, EVENTS, PACKET,
         event_packet(START_NS + k * NS_PER_S // 10, k, bytes(16), (6, 9), encoding))
        for k in range(3)
    ]  # fmt: skip


def checked(path, entries, *texts, fixed=()):
    faults = [parse_fault(text) for text in texts]
    with Recording(write_bag(path, sorted(entries))) as bag:
        topics = choose_topics(bag, None, fixed).map
        notes = check_faults(faults, bag, topics)
        injector = FaultInjector(faults, topics, start_ns=bag.start_ns)
        return notes, list(injector(bag.messages())), injector


@pytest.mark.parametrize("text", ["noise:event", "freeze:event", "skew:event@0.1:"])
def test_exception_packets_of_a_closed_format_are_refused_by_topic(tmp_path, text):
    with user_error("fault-impossible", EVENTS) as caught:
        checked(tmp_path / "bag", packets("libcaer_cmp"), text)
    assert "\n" not in str(caught.value)


def test_value_what_does_not_touch_the_content_is_possible_with_any_format(tmp_path):
    notes, out, _ = checked(tmp_path / "bag", packets("libcaer_cmp"), "delay:event", "drop:event@0.2:")
    assert notes == []
    assert len(out) == 2


def test_exception_a_topic_of_a_type_that_has_no_such_content(tmp_path):
    entries = [*small_entries(3), *lidar_entries(2)]
    with user_error("bag-topic-type", "/ouster/points", "sensor_msgs/msg/PointCloud2"):
        checked(tmp_path / "bag", entries, "blur:rgb", fixed=("rgb=/ouster/points", "lidar=none"))


def test_exception_no_sensor_of_the_fault_is_recorded(tmp_path):
    with user_error("sensor-absent", "rgb", "lidar"):
        checked(tmp_path / "bag", lidar_entries(2), "drop:rgb")
    notes, out, _ = checked(tmp_path / "both", lidar_entries(2), "drop:rgb+lidar")  # one of them is
    assert (notes, out) == ([], [])


def test_value_a_fault_after_the_end_is_told(tmp_path):
    notes, out, _ = checked(tmp_path / "bag", small_entries(3), "drop:rgb@70:90")
    assert notes == ["fault drop:rgb@70:90 never acts: the recording lasts 0.2 s"]
    assert len(out) == 3


def test_value_one_broken_message_is_spared_and_counted(tmp_path):
    entries = small_entries(4)
    time_ns, topic, kind, data = entries[0]
    entries[0] = (time_ns, topic, kind, data[:60])
    _, out, injector = checked(tmp_path / "bag", entries, "exposure:rgb,stops=-1")
    assert out[0].data == data[:60]
    assert injector.counts == {"exposure:rgb,stops=-1": {"rgb": 3}}
    assert injector.unreadable == {"exposure:rgb,stops=-1": {"rgb": 1}}
