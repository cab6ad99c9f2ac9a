"""Documents and parameter file are what the tables say, and the running node has the topics of the table."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import yaml
from acceptance import wait_for

from any2seg_core.runtime.reliability import Reliability
from any2seg_core.sync import StreamConfig, SyncConfig, Synchronizer
from any2seg_core.vocabulary.labels import DELIVER
from any2seg_ros.diagnostics_table import NODE_KEYS, STREAM_KEYS
from any2seg_ros.parameter_table import TABLE
from any2seg_ros.topic_table import OUTPUTS, TRANSFORMS, input_topics

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def made():
    spec = importlib.util.spec_from_file_location("make_node_docs", ROOT / "scripts" / "make_node_docs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def flat(tree: dict, above: str = "") -> dict:
    found = {}
    for key, value in tree.items():
        found |= flat(value, f"{above}{key}.") if isinstance(value, dict) else {above + key: value}
    return found


def test_value_costmap_parameters_name_topics_of_the_node_and_every_class_once():
    text = (ROOT / "docs" / "nav2.md").read_text().split("```yaml")[1].split("```")[0]
    layer = yaml.safe_load(text)["local_costmap"]["local_costmap"]["ros__parameters"]["semantic_segmentation_layer"]
    source = layer[layer["observation_sources"]]
    topics = {value for key, value in source.items() if key.endswith("_topic")}
    assert len(topics) == 4 and topics <= {topic.name.replace("~", "/segment") for topic in OUTPUTS}
    classes = [name for kind in source["class_types"] for name in source[kind]["classes"]]
    assert sorted(classes) == sorted(DELIVER.classes)


def test_value_page_and_parameter_file_are_up_to_date(made):
    hint = "run: python scripts/make_node_docs.py"
    assert made.PAGE.read_text() == made.page(made.PAGE.read_text()), hint
    assert made.PARAMETER_FILE.read_text() == made.parameter_yaml(), hint


def test_value_parameter_file_holds_every_default_with_its_type(made):
    values = flat(yaml.safe_load(made.parameter_yaml())["/**"]["ros__parameters"])
    assert values == {name: entry.default for name, entry in TABLE.items()}
    assert all(type(values[name]) is type(entry.default) for name, entry in TABLE.items())


def test_exception_page_without_a_place_for_a_table(made):
    with pytest.raises(ValueError, match="0 places marked"):
        made.page("no tables here")


@pytest.mark.ros
def test_value_running_node_has_the_topics_of_the_table(make_node, checkpoint):
    """The oracle is the ROS graph. LabelInfo is there only where vision_msgs is installed."""
    pytest.importorskip("rclpy")
    from rclpy.lifecycle import TransitionCallbackReturn

    from any2seg_ros import distro

    node = make_node(checkpoint=checkpoint)
    assert node.trigger_configure() == node.trigger_activate() == TransitionCallbackReturn.SUCCESS
    # A node hears of its own topics through discovery, a moment later.
    inputs = wait_for(lambda: complete(node.get_subscriber_names_and_types_by_node("segment", "/"), "/segment/in/"))
    outputs = wait_for(lambda: complete(node.get_publisher_names_and_types_by_node("segment", "/"), "/segment/out/"))
    assert written((*input_topics(), *(TRANSFORMS if distro.has("tf2_msgs") else ()))) == seen(inputs)
    absent = set() if distro.has("vision_msgs") else {"/segment/out/label_info"}
    assert {name: kind for name, kind in written(OUTPUTS).items() if name not in absent} == seen(outputs)


@pytest.mark.ros
def test_value_keys_of_the_diagnostics_are_those_of_the_table():
    """A set with a used, a missing and a malformed stream; the oracle is the message that the monitor makes of it."""
    pytest.importorskip("rclpy")
    from any2seg_ros.diagnostics import Monitor, Snapshot
    from any2seg_ros.segmenter import LiveResult

    names = ("rgb", "lidar")
    config = SyncConfig({name: StreamConfig() for name in names}, names, 50_000_000, 200_000_000)
    synchronizer = Synchronizer(config)
    for index in range(5):
        for name in names:
            for _ in range(2):  # zero stamps first, then each message twice
                synchronizer.add(name, index * 100_000_000, "payload", index * 100_000_000)
    monitor = Monitor()
    monitor.camera_info_refused("rgb")
    blank = np.zeros((3, 5), np.uint8)
    monitor.published(
        LiveResult(0, "camera", blank, blank, {}, ("rgb",), "rgb", missing={"lidar": "late"}, ages_ns={"rgb": 0},
                   stamps_ns={"rgb": (0,)}, novelty={"rgb": 1.5})
    )  # fmt: skip
    extrinsics = {"lidar": "tf"}
    fates = {"rgb": {"step": 1, "black": 1}}
    known = {"rgb": Reliability(0.5, {"data": 0.5, "clock": 1.0})}
    snapshot = Snapshot(
        synchronizer.stats, config, extrinsics=extrinsics, fates=fates, refused={"rgb": 2}, reliability=known
    )
    pairs = {pair.key: pair.value for pair in monitor.message(snapshot, "segment").status[0].values}
    keys = list(pairs)
    assert (pairs["unlike_training"], pairs["rgb.novelty"]) == ("rgb", "1.500")
    streams = {key.partition(".")[2] for key in keys if key.startswith(names)}
    streams = {key.replace(".step", ".REASON").replace(".black", ".REASON") for key in streams}
    streams = {key.replace(".data", ".PART").replace(".clock", ".PART") for key in streams}
    assert {key for key in keys if not key.startswith(names)} == set(NODE_KEYS)
    assert streams == set(STREAM_KEYS)


def complete(names_and_types, prefix: str):
    """What the graph says, once it knows as many of our topics as the tables."""
    expected = sum(topic.name.startswith(prefix.replace("/segment", "~")) for topic in (*input_topics(), *OUTPUTS))
    known = sum(name.startswith(prefix) for name, _ in names_and_types)
    return names_and_types if known >= expected - 1 else None  # LabelInfo is there only where vision_msgs is


def written(topics) -> dict[str, str]:
    return {topic.name.replace("~", "/segment"): topic.kind for topic in topics}


def seen(names_and_types) -> dict[str, str]:
    """Without what every ROS node has."""
    common = {"/rosout", "/parameter_events", "/segment/transition_event", "/clock"}
    return {name: kinds[0] for name, kinds in names_and_types if name not in common}
