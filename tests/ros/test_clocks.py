"""The node's clocks over real DDS: stamps of arrival where headers cannot be trusted, and simulated time on /clock."""

from __future__ import annotations

import time

import fake_car
import pytest
from acceptance import START_TIMEOUT_S, TIMEOUT_S, Listener, OddModelProcess, wait_for
from fake_car import NS_PER_S, PERIOD_NS, START_NS, TOPICS

from any2seg_core.messages import stamp_ns
from any2seg_core.vocabulary.modalities import VEHICLE

pytest.importorskip("rclpy")
pytestmark = pytest.mark.ros

CLOCKS_NS = {"rgb": 0, "depth": 1000 * NS_PER_S, "event": -50 * NS_PER_S, "lidar": 7 * NS_PER_S}


class UnsynchronisedCar(fake_car.FakeCar):
    """Every sensor has a clock of its own."""

    def _message(self, sensor: str, stamp_ns: int) -> bytes:
        return super()._message(sensor, stamp_ns + CLOCKS_NS[sensor])


class Simulation:
    """Sensors and /clock, published by hand."""

    def __init__(self, node) -> None:
        from rosgraph_msgs.msg import Clock
        from sensor_msgs.msg import Image, PointCloud2

        kinds = {"sensor_msgs/msg/Image": Image, "sensor_msgs/msg/PointCloud2": PointCloud2}
        self._sensors = {
            name: node.create_publisher(kinds[fake_car.TYPES[name]], TOPICS.streams[name], 10)
            for name in VEHICLE.members
        }
        self._clock_type, self._clock = Clock, node.create_publisher(Clock, "/clock", 10)

    def set_clock(self, time_ns: int) -> None:
        message = self._clock_type()
        message.clock.sec, message.clock.nanosec = divmod(time_ns, NS_PER_S)
        self._clock.publish(message)

    def send(self, time_ns: int, sensors=VEHICLE.members) -> None:
        for name in sensors:
            self._sensors[name].publish(fake_car.message(name, time_ns))

    def run(self, begin_ns: int, is_done) -> int:
        """Ten steps of 0.1 s per second from a time on, until something has happened; the last time."""
        deadline_s, time_ns = time.monotonic() + TIMEOUT_S, begin_ns
        while not is_done() and time.monotonic() < deadline_s:
            time_ns += PERIOD_NS
            self.set_clock(time_ns)
            self.send(time_ns)
            time.sleep(0.1)
        return time_ns


@pytest.fixture()
def start(monitor, checkpoint, calibration_file, tmp_path):
    """Starts the node with some more parameters."""
    from any2seg_ros.processes import ros_arguments

    started = []

    def start(**more):
        parameters = {"checkpoint": checkpoint, "calibration_file": calibration_file, **more}
        process = OddModelProcess(ros_arguments(parameters, TOPICS.node_remappings()), tmp_path)
        started.append(process)
        assert wait_for(lambda: monitor.lifecycle_state(1.0) == "active", START_TIMEOUT_S), process.tail()
        return process

    yield start
    for process in started:
        process.stop()


def is_fused(monitor, begin: int, sensors) -> bool:
    """Whether the last three labels since one are made of exactly these sensors."""
    return [record.used for record in monitor.recorded()[0][begin:][-3:]] == [tuple(sensors)] * 3


def test_value_stamps_of_arrival_match_sensors_whose_clocks_differ(monitor, start):
    """The header of the label still is that of the image: whoever looks for the image must find it."""
    start(stamp_source="arrival")
    begin = len(monitor.recorded()[0])
    car = UnsynchronisedCar(monitor.node)
    try:
        assert wait_for(lambda: is_fused(monitor, begin, VEHICLE.members))
    finally:
        car.stop()
    for record in monitor.recorded()[0][begin:]:
        if record.used == VEHICLE.members:
            assert START_NS <= record.stamp_ns <= car.stamp_ns
            assert record.stamp_ns % PERIOD_NS == 0  # only the camera fires then


def test_value_simulated_time_rules_stamps_waits_and_jumps(monitor, start):
    from diagnostic_msgs.msg import DiagnosticArray

    process = start(use_sim_time=True)
    listener, simulation = Listener(monitor.node, {"/diagnostics": (DiagnosticArray, 10)}), Simulation(monitor.node)
    assert wait_for(lambda: "nothing comes on /clock" in "".join(
        array.status[0].message for array in listener.got["/diagnostics"]
    )), process.tail()  # fmt: skip
    labels = len(monitor.recorded()[0])
    now_ns = simulation.run(START_NS, lambda: is_fused(monitor, labels, VEHICLE.members))
    assert is_fused(monitor, labels, VEHICLE.members), process.tail()

    # The camera falls silent and time stands still: whoever waits for it waits, however long it takes.
    waiting_ns = now_ns + PERIOD_NS
    simulation.set_clock(waiting_ns)
    time.sleep(0.5)  # other topics may be read first

    def has_gone_out() -> bool:
        return any(record.stamp_ns == waiting_ns for record in monitor.recorded()[0][labels:])

    simulation.send(waiting_ns, ("depth", "lidar"))
    listener.got["/diagnostics"].clear()
    assert wait_for(lambda: len(listener.got["/diagnostics"]) >= 2)  # of which the node sends one per second
    assert not has_gone_out()
    simulation.set_clock(waiting_ns + 2 * PERIOD_NS)  # three periods without the camera, two without the others
    assert wait_for(has_gone_out), process.tail()
    assert START_NS < stamp_ns(listener.got["/diagnostics"][-1].header) <= waiting_ns + 2 * PERIOD_NS

    # The simulation starts again: everything with it.
    before = len(monitor.recorded()[0])
    simulation.run(START_NS - 50 * NS_PER_S, lambda: is_fused(monitor, before, VEHICLE.members))
    assert is_fused(monitor, before, VEHICLE.members), process.tail()
    assert monitor.recorded()[0][-1].stamp_ns < START_NS
    assert "time jumped by -" in process.log.read_text()
    listener.close()
