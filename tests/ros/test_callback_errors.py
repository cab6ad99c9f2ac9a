"""What no callback is expected to raise: counted, named, and the node goes on. The oracle is what was thrown."""

from __future__ import annotations

from types import SimpleNamespace

import fake_car
import pytest
from fake_car import START_NS, TYPES

from any2seg_core.messages import serialise

pytest.importorskip("rclpy")
pytestmark = pytest.mark.ros


def throw(error):
    def fail(*_arguments, **_options):
        raise error

    return fail


def diagnosed(node):
    """The status of the node's next report."""
    got = []
    node._diagnostics = SimpleNamespace(publish=got.append)
    node._monitor._reported_as = ()
    node._publish_diagnostics()
    status = got[0].status[0]
    return status, {pair.key: pair.value for pair in status.values}


def image():
    return serialise.typestore().deserialize_cdr(fake_car.message("rgb", START_NS), TYPES["rgb"])


def subscription(node, topic):
    return next(each for each in node.subscriptions if each.topic_name == topic)


def test_exception_while_a_message_is_read_costs_that_message_and_is_accounted_for(active, monkeypatch):
    receive = active._inputs._decode
    monkeypatch.setattr(active._inputs, "_decode", throw(MemoryError("no room")))
    subscription(active, "/segment/in/image").callback(image(), {"source_timestamp": 0})
    monkeypatch.setattr(active._inputs, "_decode", receive)
    subscription(active, "/segment/in/image").callback(image(), {"source_timestamp": 0})
    status, values = diagnosed(active)
    assert status.level >= b"\x01"
    assert "callback failed: /segment/in/image: MemoryError('no room')" in status.message
    assert (values["callback_errors"], values["rgb.received"], values["rgb.drops_error"]) == ("1", "2", "1")


@pytest.mark.parametrize("kind", [MemoryError, KeyError, RecursionError])
def test_exception_in_camera_info_parameters_service_and_diagnostics(active, monkeypatch, kind):
    from rclpy.parameter import Parameter
    from sensor_msgs.msg import CameraInfo
    from std_srvs.srv import SetBool

    from any2seg_ros import parameters

    error = kind("no room")  # made here: its traceback holds the node, which must end with the test
    monkeypatch.setattr(active._segmenter, "set_camera_info", throw(error))
    subscription(active, "/segment/in/camera_info").callback(CameraInfo())
    monkeypatch.setattr(parameters, "check", throw(error))
    answer = active.set_parameters([Parameter("timeout_s", value=0.1)])[0]
    assert not answer.successful and answer.reason
    assert active.get_parameter("timeout_s").value == 0.05
    monkeypatch.setattr(active._monitor, "expect_labels", throw(error))
    (service,) = (each for each in active.services if each.srv_name.endswith("/enable"))
    response = service.callback(SetBool.Request(data=True), SetBool.Response())
    assert isinstance(response, SetBool.Response) and not response.success
    publishers = active._inputs.publishers
    monkeypatch.setattr(active._inputs, "publishers", throw(error))
    timers = [each for each in active.timers if each.timer_period_ns == 200_000_000]
    for timer in timers:
        timer.callback()
    monkeypatch.setattr(active._inputs, "publishers", publishers)
    status, values = diagnosed(active)
    assert int(values["callback_errors"]) >= 4
    assert values["last_callback_error"] == f"diagnostics: {error!r}"
    assert repr(error) in status.message


def test_exception_of_rclpy_itself_is_counted_and_spinning_goes_on():
    from rclpy.executors import ExternalShutdownException

    from any2seg_ros.running import _spin

    reports = []
    node = SimpleNamespace(report_callback_error=lambda name, error: reports.append((name, error)))
    errors = [UnicodeDecodeError("utf-8", b"\xff", 0, 1, "odd"), MemoryError("no room"), ExternalShutdownException()]

    def spin():
        raise errors[len(reports)]

    with pytest.raises(ExternalShutdownException):
        _spin(SimpleNamespace(spin=spin), [node])
    assert reports == [("executor", error) for error in errors[:2]]
