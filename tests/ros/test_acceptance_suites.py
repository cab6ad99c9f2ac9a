"""Acceptance, other sensors than the vehicle's: the node as a process of its own over real DDS, fed by a fake van."""

from __future__ import annotations

import fake_car
import pytest
import van_files
from acceptance import START_TIMEOUT_S, labels_until, labels_until_fused, wait_for
from van_files import VAN

from any2seg_core.vocabulary.modalities import SensorSuite

pytest.importorskip("rclpy")
pytestmark = pytest.mark.ros

ONE = SensorSuite.of_document({"name": "one", "sensors": {"front": {"kind": "image", "letter": "F"}}})


def car_of(suite: SensorSuite) -> fake_car.Sensors:
    topics = {name: van_files.TOPICS[name] for name in suite.members}
    return fake_car.Sensors(topics, van_files.TYPES, van_files.OFFSETS_NS, van_files.message)


@pytest.fixture(scope="module", params=[VAN, ONE], ids=lambda suite: suite.name)
def driving(request, domain, tmp_path_factory):
    """Suite, monitor and van, with the node up."""
    from any2seg_ros.demo_monitor import Monitor
    from any2seg_ros.processes import RosProcess, ros_arguments

    suite, folder = request.param, tmp_path_factory.mktemp(request.param.name)
    path = van_files.checkpoint(folder / "model.safetensors", suite)
    calibration = van_files.write_calibration(folder / "calibration.yaml")
    remappings = {f"~/in/{name}": van_files.TOPICS[name] for name in suite.members}
    arguments = ros_arguments({"checkpoint": path, "calibration_file": calibration}, remappings)
    process = RosProcess("any2seg_ros.segment_node", arguments, folder / "node.log")
    monitor = Monitor("segment", "/truth/label")
    car = None
    try:
        assert wait_for(lambda: monitor.lifecycle_state(1.0) == "active", START_TIMEOUT_S), process.tail()
        car = fake_car.FakeCar(monitor.node, sensors=car_of(suite))
        yield suite, monitor, car, process
    finally:
        if car is not None:
            car.stop()
        monitor.close()
        process.stop()


def test_value_all_sensors_are_fused_and_each_may_die_and_come_back(driving):
    suite, monitor, car, process = driving
    labels_until_fused(monitor, suite.members)
    for dead in suite.members if len(suite.members) > 1 else ():
        alive = tuple(name for name in suite.members if name != dead)
        car.silent = {dead}
        try:
            records = labels_until_fused(monitor, alive)
        finally:
            car.silent = set()
        assert records[-1].reference == alive[0]
        assert records[-1].labels.shape == (64, 96)
        labels_until_fused(monitor, suite.members)
    assert "Traceback" not in process.tail()


def test_value_topics_and_parameters_are_those_of_the_suite(driving):
    suite, monitor, _, _ = driving
    from rcl_interfaces.srv import ListParameters

    client = monitor.node.create_client(ListParameters, "/segment/list_parameters")
    assert client.wait_for_service(20.0)
    future = client.call_async(ListParameters.Request())
    assert wait_for(future.done)
    names = set(future.result().result.names)
    assert {f"{name}.max_age_s" for name in suite.members} <= names
    assert {name.partition(".")[0] for name in names if name.endswith(".max_age_s")} == set(suite.members)
    cameras = {name for name in suite.members if name in van_files.CAMERAS}
    assert {name for name in names if name.endswith("_url")} == {f"{name}_camera_info_url" for name in cameras}
    monitor.node.destroy_client(client)


def test_value_a_sensor_is_switched_off_by_its_name(driving):
    suite, monitor, _, _ = driving
    if len(suite.members) == 1:
        pytest.skip("nothing is left of one sensor")
    from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
    from rcl_interfaces.srv import SetParameters

    client = monitor.node.create_client(SetParameters, "/segment/set_parameters")
    assert client.wait_for_service(20.0)
    for is_on in (False, True):
        value = ParameterValue(type=ParameterType.PARAMETER_BOOL, bool_value=is_on)
        future = client.call_async(SetParameters.Request(parameters=[Parameter(name="radar.enabled", value=value)]))
        assert wait_for(future.done) and future.result().results[0].successful
        labels_until(monitor, lambda record, on=is_on: ("radar" in record.used) == on)
    monitor.node.destroy_client(client)
