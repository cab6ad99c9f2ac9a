"""Sets through the node over real DDS and through the offline reader: byte-equal model input, equal labels."""

from __future__ import annotations

import json
import threading
import zlib
from dataclasses import replace

import numpy as np
import pytest
import yaml
from bag_files import pan_entries, write_bag
from fake_car import CAMERA, EVENT_CAMERA, TOPICS

from any2seg_core.bags.lookup import read_sets
from any2seg_core.bags.reader import Recording
from any2seg_core.bags.sets import SetStream
from any2seg_core.bags.topics import choose_topics
from any2seg_core.evaluation.recording.evaluate import evaluate_bag
from any2seg_core.evaluation.recording.settings import EvaluateRequest
from any2seg_core.faults.grammar import parse_fault
from any2seg_core.faults.injector import FaultInjector
from any2seg_core.runtime.frame_builder import FrameBuilder
from any2seg_core.runtime.preprocess import planes_to_tensor
from any2seg_core.sensors.calibration import load_calibration
from any2seg_core.vocabulary.contract import InputContract
from any2seg_core.vocabulary.modalities import VEHICLE

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
    full = [result for result in live_results if set(result.used) == set(VEHICLE.members)]
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
        for name in VEHICLE.members:
            assert offline.planes[name].any(), name
            np.testing.assert_array_equal(offline.planes[name], result.planes[name], err_msg=name)
        tensors = planes_to_tensor(offline.planes, contract)
        live_tensors = planes_to_tensor(result.planes, contract)
        assert all(tensors[name].equal(live_tensors[name]) for name in VEHICLE.members)


def test_value_node_and_evaluation_give_the_same_labels(live_results, checkpoint, bag, tmp_path):
    """For every set that both made of the same messages; which these are depends on the load of the machine."""
    evaluate_bag(EvaluateRequest(bag, checkpoint, tmp_path, subsets="all"))
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


_PARAMETERS = {
    "modalities": ["rgb", "event", "lidar"], "lidar.offset_s": -0.02, "event.offset_s": -0.06, "intensity_max": 0.9
}  # fmt: skip
_FAULTS = [
    "skew:event,offset_s=-0.06", "exposure:rgb@1.5:1.8,stops=-2", "noise:event@1.4:1.9", "drop:lidar@2.2:2.4",
    "freeze:event@2.6:",
]  # fmt: skip


def labels_of_node(settings, path, faults):
    """Stamp, sensors in use and labels of each set, through the node's Segmenter.

    Messages reach it in the order of the bag.

    No wheel has tf2_msgs or event_camera_msgs, so what a subscription would do is done here by hand.
    """
    from any2seg_ros.inputs import Received
    from any2seg_ros.model_pool import ModelPool
    from any2seg_ros.segmenter import Segmenter

    segmenter = Segmenter(settings, ModelPool())
    window_ns = segmenter.event_window_ns
    with Recording(path) as recording:
        suite = settings.suite
        topics = choose_topics(recording, suite=suite).map
        plan = [parse_fault(text, suite) for text in faults]
        injector = FaultInjector(plan, topics, 0, recording.start_ns, suite)

        def heard():
            for message in injector(recording.messages()):
                if message.kind == "tf2_msgs/msg/TFMessage":
                    segmenter.transforms.add_message(message.value, message.topic == "/tf_static")
                for name, topic in topics.camera_infos.items():
                    if topic == message.topic:
                        segmenter.set_camera_info(name, message.value)
                yield message

        frames = FrameBuilder(None, window_ns, suite=suite)
        sets = SetStream(heard(), topics, settings.sync_for(window_ns), frames)
        for bag_set in sets:
            samples = {
                name: tuple(replace(each, payload=Received(each.payload, each.stamp_ns, 0)) for each in found)
                for name, found in bag_set.sample_set.samples.items()
            }
            result = segmenter(replace(bag_set.sample_set, samples=samples))
            yield result.stamp_ns, result.used, result.labels


def test_value_moving_head_jpeg_and_event_packets_with_faults(checkpoint, tmp_path):
    """A panning LiDAR, a jpeg camera and evt3 packets, broken on the way: the node's labels and the evaluation's."""
    from any2seg_ros.parameter_table import TABLE
    from any2seg_ros.parameters import check

    path = write_bag(tmp_path / "bag", pan_entries(20))
    params = tmp_path / "params.yaml"
    params.write_text(yaml.safe_dump({"/**": {"ros__parameters": _PARAMETERS}}))
    plan = tuple(parse_fault(text) for text in _FAULTS)
    defaults = {name: entry.default for name, entry in TABLE.items()}
    settings = check({**defaults, **_PARAMETERS, "checkpoint": str(checkpoint)})
    request = EvaluateRequest(path, checkpoint, tmp_path / "out", faults=plan, subsets="all", params=params)
    result = evaluate_bag(request)
    lines = [json.loads(line) for line in (tmp_path / "out" / "frames.jsonl").read_text().splitlines()[1:]]
    offline = {line["stamp_ns"]: (line["used"], line["subsets"]["REL"]["labels_crc32"]) for line in lines}
    online = {
        stamp_ns: (VEHICLE.subset_letters(used), zlib.crc32(labels))
        for stamp_ns, used, labels in labels_of_node(settings, path, _FAULTS)
    }
    assert online == offline
    assert sum(used == "REL" for used, _ in offline.values()) >= 10
    assert all(sum(hits.values()) >= 2 for hits in result.injected.values()), result.injected
    assert not any(left for left in result.unreadable.values())
