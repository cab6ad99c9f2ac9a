"""AnyTimeSynchronizer beside the failures of ApproximateTimeSynchronizer that it is there for."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest
from acceptance import wait_for
from raised import user_error

pytest.importorskip("rclpy")
pytestmark = pytest.mark.ros

from any2seg_ros.any_time_synchronizer import AnyTimeSynchronizer, SimpleFilter, Subscriber  # noqa: E402


def message(time_s, text=""):
    stamp = SimpleNamespace(sec=int(time_s), nanosec=round(time_s % 1 * 1e9))
    return SimpleNamespace(header=SimpleNamespace(stamp=stamp), text=text)


def make(count=2, **options):
    """Synchroniser, its inputs, and the list that its callback fills with the stamps of each set."""
    inputs, got = [SimpleFilter() for _ in range(count)], []
    sync = AnyTimeSynchronizer(inputs, **{"queue_size": 20, "slop": 0.06, "timeout": 0.03, **options})
    sync.registerCallback(lambda *found: got.append(tuple(None if m is None else m.text for m in found)))
    return sync, inputs, got


def feed(inputs, texts, start_s=100.0, period_s=0.1, wall_s=0.01, silent=()):
    """Every input sends at 10 Hz of its own stamps, each message named input and number."""
    for number in texts:
        for index, each in enumerate(inputs):
            if index not in silent:
                each.signalMessage(message(start_s + number * period_s + index * 0.005, f"{'abcd'[index]}{number}"))
        time.sleep(wall_s)


def test_value_messages_that_belong_together_come_together_once():
    sync, inputs, got = make(3)
    feed(inputs, range(20))
    assert wait_for(lambda: len(got) == 20)
    assert got == [(f"a{k}", f"b{k}", f"c{k}") for k in range(20)]
    sync.close()


def test_value_a_dead_topic_costs_its_place_and_nothing_else():
    """ApproximateTimeSynchronizer stops here for good (ros2/message_filters#63)."""
    sync, inputs, got = make(2, timeout_without_reference=0.1)
    feed(inputs, range(10), wall_s=0.03)
    feed(inputs, range(10, 40), wall_s=0.03, silent={1})
    assert wait_for(lambda: got and got[-1][0] == "a39")
    assert ("a39", None) in got
    assert {first for first, _ in got} == {f"a{k}" for k in range(40)}
    sync.close()


def test_value_a_dead_first_topic_is_replaced_by_the_next():
    sync, inputs, got = make(2, timeout_without_reference=0.1)
    feed(inputs, range(60), wall_s=0.03, silent={0})
    assert wait_for(lambda: got and got[-1] == (None, "b59"))
    sync.close()


def test_value_time_that_jumps_back_starts_anew_whatever_is_held():
    """With leftovers in a queue ApproximateTimeSynchronizer never emits again."""
    sync, inputs, got = make(2)
    feed(inputs, range(10), start_s=200.0)
    feed(inputs, range(10, 14), start_s=200.0, silent={0})
    first = [found for found in got if None not in found]
    got.clear()
    feed(inputs, range(10), start_s=100.0)
    assert wait_for(lambda: sum(None not in found for found in got) == len(first))
    assert sync.stats.resets == 1
    sync.close()


def test_exception_in_a_callback_reaches_the_caller_and_blocks_nothing():
    """ApproximateTimeSynchronizer keeps its lock here, and the next message waits for ever."""
    sync, inputs, got = make(2)
    others = []
    sync.registerCallback(lambda first, second: others.append(1 / (first.text != "a1")))
    feed(inputs, range(1))
    with pytest.raises(ZeroDivisionError):
        feed(inputs, range(1, 2))
    thread = threading.Thread(target=feed, args=(inputs, range(2, 5)))
    thread.start()
    thread.join(10.0)
    assert not thread.is_alive()
    assert wait_for(lambda: len(got) == 5)
    assert len(others) == 4
    sync.close()


def test_value_headers_and_arrival_times():
    sync, inputs, got = make(1)
    inputs[0].signalMessage(SimpleNamespace(text="without header"))
    assert sync.stats.streams["0"].added == 0
    sync.close()
    for options in ({"allow_headerless": True}, {"sync_arrival_time": True}):
        sync, inputs, got = make(1, **options)
        inputs[0].signalMessage(SimpleNamespace(text="without header"))
        assert wait_for(lambda got=got: got == [("without header",)])
        sync.close()


@pytest.mark.parametrize("stamp", [SimpleNamespace(sec=-1, nanosec=0), SimpleNamespace(sec=0, nanosec=0), None])
def test_value_stamps_that_are_none_are_counted_and_told_once(stamp, caplog):
    sync, inputs, got = make(1)
    for _ in range(3):
        inputs[0].signalMessage(SimpleNamespace(header=SimpleNamespace(stamp=stamp), text="x"))
    inputs[0].signalMessage(message(100.0, "good"))
    assert wait_for(lambda: got == [("good",)])
    assert sync.stats.streams["0"].dropped == {"bad_stamp": 3}
    assert len(caplog.records) == 1
    assert "input 0" in caplog.text and "stamp" in caplog.text and "sync_arrival_time" in caplog.text
    sync.close()


def test_value_an_input_with_another_clock_is_told_with_its_distance(caplog):
    """message_filters is silent when everything is dropped (ros/ros_comm#1059)."""
    sync, inputs, got = make(2)
    for number in range(20):
        for each, shift_s in zip(inputs, (0.0, -0.34), strict=True):
            each.signalMessage(message(100.0 + number * 0.1 + shift_s, "x"))
        time.sleep(0.01)
    assert wait_for(lambda: len(got) >= 20)
    assert "input 1: not in the set: nearest message is" in caplog.text
    assert "ms older, slop is 0.06" in caplog.text
    assert sync.stats.streams["1"].used == 0
    sync.close()


def test_exception_in_a_callback_of_the_nodes_timer_is_logged_and_spinning_goes_on(domain, caplog):
    """Nobody delivered a message then, so nobody is there to raise to; the executor must not end."""
    import rclpy
    from rclpy.executors import SingleThreadedExecutor

    from sensor_msgs.msg import Image  # isort: skip

    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    node = rclpy.create_node("any_time_raising", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    inputs = [Subscriber(node, Image, "raising_a"), Subscriber(node, Image, "raising_b")]
    sync = AnyTimeSynchronizer(inputs, 10, 0.05)
    sync.registerCallback(lambda first, second: 1 / 0)

    def spun():
        executor.spin_once(timeout_sec=0.05)
        return "ZeroDivisionError" in caplog.text

    try:
        inputs[0].signalMessage(message(1.0))  # the other input is silent: time alone ends the wait
        assert wait_for(spun)
        assert "callback of a synchronised set" in caplog.text
        assert sync.stats.sets_emitted == 1
        spun()
    finally:
        sync.close()
        executor.shutdown(timeout_sec=1.0)
        node.destroy_node()
        rclpy.shutdown(context=context)


def test_value_other_inputs_can_be_connected():
    sync, inputs, got = make(2)
    feed(inputs, range(2))
    other = [SimpleFilter()]
    sync.connectInput(other)
    got.clear()
    feed(inputs, range(5, 7))
    feed(other, range(3))
    assert wait_for(lambda: len(got) == 3)
    assert got == [("a0",), ("a1",), ("a2",)]
    sync.close()


def test_exception_bad_arguments():
    with user_error("sensor-none"):
        AnyTimeSynchronizer([], 10, 0.1)
    with user_error("value-range"):
        AnyTimeSynchronizer([SimpleFilter()], 1, 0.1)


def test_value_subscribers_over_dds_call_back_in_the_nodes_executor(domain):
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from std_msgs.msg import Header, String

    from sensor_msgs.msg import Image, PointCloud2  # isort: skip

    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    node = rclpy.create_node("any_time", context=context)
    sync = AnyTimeSynchronizer([Subscriber(node, Image, "a"), Subscriber(node, PointCloud2, "b")], 10, 0.05)
    got, threads = [], set()

    def callback(image, cloud, tag):
        threads.add(threading.current_thread())
        got.append((image is not None, cloud is not None, tag))

    sync.registerCallback(callback, String(data="tag"))
    publishers = node.create_publisher(Image, "a", 10), node.create_publisher(PointCloud2, "b", 10)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    try:
        seconds = iter(range(1, 10_000))

        def both():
            header = Header()
            header.stamp.sec = next(seconds)
            publishers[0].publish(Image(header=header))
            publishers[1].publish(PointCloud2(header=header))
            time.sleep(0.05)
            return any(found[:2] == (True, True) for found in got)

        def one():
            header = Header()
            header.stamp.sec = next(seconds)
            publishers[1].publish(PointCloud2(header=header))
            time.sleep(0.05)
            return any(found[:2] == (False, True) for found in got[-3:])

        assert wait_for(both)
        assert wait_for(one)
        assert threads == {thread}
        assert got[0][2].data == "tag"
    finally:
        sync.close()
        executor.shutdown(timeout_sec=1.0)
        thread.join(2.0)
        node.destroy_node()
        rclpy.shutdown(context=context)
