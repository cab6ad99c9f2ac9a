"""Sets through the node over real DDS and through the offline reader: byte-equal model input, equal labels."""

from __future__ import annotations

import json
import threading
import zlib

import numpy as np
import pytest
from fake_car import CAMERA, EVENT_CAMERA, TOPICS

from any2seg_core.bags.evaluate import EvaluateRequest, evaluate_bag
from any2seg_core.bags.lookup import read_sets
from any2seg_core.contract import InputContract
from any2seg_core.frames import FrameBuilder
from any2seg_core.modalities import MODALITIES
from any2seg_core.preprocess import planes_to_tensor
from any2seg_core.sensors.calibration import load_calibration

pytest.importorskip("rclpy")
pytestmark = pytest.mark.ros


@pytest.fixture(scope="module")
def live_results(domain, checkpoint, bag, tmp_path_factory):
    """Results of the real node, run in this process so that its planes can be seen, fed by the replay process."""
    import rclpy
    from rclpy.executors import SingleThreadedExecutor

    from any2seg_ros.processes import RosProcess, ros_arguments
    from any2seg_ros.segment_node import SegmentNode

    results = []
    parameters = {"checkpoint": checkpoint, "calibration_file": bag / "calibration.yaml"}
    rclpy.init(args=ros_arguments(parameters, TOPICS.node_remappings()))
    node = SegmentNode()
    node.trigger_configure()
    node._outputs.is_wanted = lambda: True  # nobody subscribes here
    publish = node._outputs.publish
    node._outputs.publish = lambda result: (results.append(result), publish(result))
    node.trigger_activate()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    replay = RosProcess(
        "any2seg_ros.replay_node",
        ros_arguments({"bag": bag, "rate": 2.0, "wait_s": 1.0}),
        tmp_path_factory.mktemp("replay") / "replay.log",
    )
    try:
        assert replay.wait(40.0) == 0, replay.tail()
    finally:
        replay.stop()
        executor.shutdown(timeout_sec=1.0)
        thread.join(2.0)
        node.trigger_deactivate()
        node.trigger_cleanup()
        node.destroy_node()
        rclpy.try_shutdown()
    return results


def test_value_node_and_offline_reader_make_the_same_input(live_results, bag):
    full = [result for result in live_results if set(result.used) == set(MODALITIES)]
    assert len(full) >= 5
    wanted = {result.stamp_ns: result.stamps_ns for result in full}
    messages = read_sets(bag, TOPICS, wanted)
    contract = InputContract()
    frames = FrameBuilder(load_calibration(bag / "calibration.yaml"), contract.event_window_ns)
    frames.set_camera("rgb", CAMERA)
    frames.set_camera("event", EVENT_CAMERA)
    for result in full:
        offline = frames.build(messages[result.stamp_ns], result.stamp_ns)
        assert offline.errors == {}
        for name in MODALITIES:
            assert offline.planes[name].any(), name
            np.testing.assert_array_equal(offline.planes[name], result.planes[name], err_msg=name)
        tensors = planes_to_tensor(offline.planes, contract)
        live_tensors = planes_to_tensor(result.planes, contract)
        assert all(tensors[name].equal(live_tensors[name]) for name in MODALITIES)


def test_value_node_and_evaluation_give_the_same_labels(live_results, checkpoint, bag, tmp_path):
    """For every set that both made of the same messages; which these are depends on the load of the machine."""
    evaluate_bag(EvaluateRequest(bag, checkpoint, tmp_path, subsets="full"))
    lines = [json.loads(line) for line in (tmp_path / "frames.jsonl").read_text().splitlines()[1:]]
    offline = {line["stamp_ns"]: line for line in lines}
    same = 0
    for result in live_results:
        line = offline.get(result.stamp_ns)
        if line is not None and {name: list(stamps) for name, stamps in result.stamps_ns.items()} == line["stamps_ns"]:
            assert zlib.crc32(result.labels) == line["subsets"]["RDEL"]["labels_crc32"], result.stamp_ns
            assert result.missing.keys() == line["missing"].keys()
            same += 1
    assert same >= 5
