"""Acceptance, sensors that are switched off and on at run time: the node as a process of its own over real DDS."""

from __future__ import annotations

from contextlib import contextmanager

import fake_car
import pytest
from acceptance import DEAD_AFTER_MS, START_TIMEOUT_S, TIMEOUT_S, Listener, labels_until_fused, longest_gap_ms, wait_for
from fake_car import TOPICS

from any2seg_core.vocabulary.modalities import VEHICLE

pytest.importorskip("rclpy")
pytestmark = pytest.mark.ros


@pytest.fixture(scope="module")
def diagnostics(monitor, node_process):
    from diagnostic_msgs.msg import DiagnosticArray

    assert wait_for(lambda: monitor.lifecycle_state(1.0) == "active", START_TIMEOUT_S), node_process.tail()
    topics = {"/diagnostics": (DiagnosticArray, 10), "/segment/out/modalities": (DiagnosticArray, 10)}
    listener = Listener(monitor.node, topics)
    yield listener
    listener.close()


@pytest.fixture(scope="module")
def car(monitor, diagnostics):
    car = fake_car.FakeCar(monitor.node)
    yield car
    car.stop()


def switch(monitor, **enabled):
    """As `ros2 param set /segment lidar.enabled false` does."""
    from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
    from rcl_interfaces.srv import SetParametersAtomically

    client = monitor.node.create_client(SetParametersAtomically, "/segment/set_parameters_atomically")
    assert client.wait_for_service(TIMEOUT_S)
    values = {name: ParameterValue(type=ParameterType.PARAMETER_BOOL, bool_value=is_on)
              for name, is_on in enabled.items()}  # fmt: skip
    changes = [Parameter(name=f"{name}.enabled", value=value) for name, value in values.items()]
    future = client.call_async(SetParametersAtomically.Request(parameters=changes))
    assert wait_for(future.done)
    monitor.node.destroy_client(client)
    assert future.result().result.successful, future.result().result.reason


@contextmanager
def switched_off(monitor, *names):
    switch(monitor, **dict.fromkeys(names, False))
    try:
        yield
    finally:
        switch(monitor, **dict.fromkeys(names, True))


def newest(diagnostics, **expected):
    """The newest diagnostics once it has these values, dots in the keys written as two underscores."""
    wanted = {key.replace("__", "."): value for key, value in expected.items()}
    found = wait_for(lambda: wanted.items() <= diagnostics.values("/diagnostics").items())
    assert found, diagnostics.values("/diagnostics")
    return diagnostics.got["/diagnostics"][-1].status[0]


@pytest.mark.parametrize("name", VEHICLE.members)
def test_value_sensor_is_switched_off_and_on_while_labels_go_on(car, monitor, diagnostics, name):
    usual_ms = longest_gap_ms(labels_until_fused(monitor, VEHICLE.members))
    others = tuple(other for other in VEHICLE.members if other != name)
    with switched_off(monitor, name):
        records = labels_until_fused(monitor, others)
        assert longest_gap_ms(records) <= DEAD_AFTER_MS + 3 * usual_ms
        status = newest(diagnostics, **{f"{name}__state": "disabled", f"{name}__fault": "", "fusion_state": "ok"})
        assert (status.level, status.message) == (b"\x00", f"all sensors fused, switched off: {name}")
        assert wait_for(lambda: car.listeners()[name] == 0)  # not even subscribed to
        label = diagnostics.got["/segment/out/modalities"][-1].status[0]
        assert label.level == b"\x00"
        assert diagnostics.values("/segment/out/modalities")[f"{name}.missing"] == "disabled"
    labels_until_fused(monitor, VEHICLE.members)
    newest(diagnostics, **{f"{name}__state": "alive", "fusion_state": "ok"})


def test_value_all_switched_off_is_no_error_and_says_so(car, monitor, diagnostics):
    labels_until_fused(monitor, VEHICLE.members)
    with switched_off(monitor, *VEHICLE.members):
        status = newest(diagnostics, fusion_state="disabled")
        assert status.level == b"\x00"
        assert "all sensors are switched off" in status.message
    labels_until_fused(monitor, VEHICLE.members)


@pytest.mark.parametrize("parameter_file", [False, True])
def test_value_sensor_that_is_off_from_the_start(monitor, car, checkpoint, calibration_file, tmp_path, parameter_file):
    """By argument and by parameter file; another node beside the first."""
    from diagnostic_msgs.msg import DiagnosticArray

    from any2seg_ros.processes import RosProcess, ros_arguments

    given = {"checkpoint": checkpoint, "calibration_file": calibration_file}
    if parameter_file:
        path = tmp_path / "node.yaml"
        path.write_text("/**:\n  ros__parameters:\n    lidar:\n      enabled: false\n")
        arguments = [*ros_arguments(given, TOPICS.node_remappings()), "--params-file", str(path)]
    else:
        arguments = ros_arguments(given | {"lidar.enabled": False}, TOPICS.node_remappings())
    arguments += ["-r", "__node:=other"]
    topic = "/other/out/modalities"
    process = RosProcess("any2seg_ros.segment_node", arguments, tmp_path / "node.log")
    listener = Listener(monitor.node, {topic: (DiagnosticArray, 10)})
    try:
        used = "rgb,depth,event"
        assert wait_for(lambda: listener.values(topic).get("used") == used, START_TIMEOUT_S), process.tail()
        assert listener.values(topic)["lidar.missing"] == "disabled"
    finally:
        process.stop()
        listener.close()
