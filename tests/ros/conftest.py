"""Fixtures of the ROS tests: a random model, a private domain, a running node, a recording."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import fake_car
import pytest
import torch

from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.runtime.checkpoint import save_checkpoint
from any2seg_core.vocabulary.contract import InputContract


@pytest.fixture(scope="module", autouse=True)
def one_thread_per_process():
    """The model of these tests is tiny: a second thread would only wait for a core."""
    before = torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    yield
    torch.set_num_threads(before[0])
    os.environ.pop("OMP_NUM_THREADS")
    if before[1] is not None:
        os.environ["OMP_NUM_THREADS"] = before[1]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Path:
    """MiT-B0 with random weights and a small input."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("checkpoint") / "random.safetensors"
    save_checkpoint(path, Any2Seg(ModelConfig()), InputContract(height=64, width=96), {"note": "random weights"})
    return path


@pytest.fixture(scope="session")
def calibration_file(tmp_path_factory) -> Path:
    return fake_car.write_calibration(tmp_path_factory.mktemp("calibration") / "calibration.yaml")


@pytest.fixture(scope="session")
def bag(tmp_path_factory) -> Path:
    """Eight seconds of the fake car."""
    return fake_car.write_bag(tmp_path_factory.mktemp("recording") / "bag", 8.0)


@pytest.fixture(scope="module")
def domain():
    """A ROS domain that no other test run on this machine uses."""
    from any2seg_ros.processes import private_domain, use_large_message_profile

    use_large_message_profile()
    with private_domain() as number:
        yield number


@pytest.fixture(scope="module")
def monitor(domain):
    """Watches the node `segment`, whenever a test starts one; modules whose node is always there wait for it first."""
    from any2seg_ros.demo_monitor import Monitor

    monitor = Monitor("segment", fake_car.TOPICS.truth)
    yield monitor
    monitor.close()


@pytest.fixture(scope="module")
def node_process(domain, checkpoint, calibration_file, tmp_path_factory):
    """The node as a process of its own, hearing the car's topics; its model can be told to fail or to be slow."""
    from acceptance import OddModelProcess

    from any2seg_ros.processes import ros_arguments

    parameters = {"checkpoint": checkpoint, "calibration_file": calibration_file}
    remappings = fake_car.TOPICS.node_remappings()
    process = OddModelProcess(ros_arguments(parameters, remappings), tmp_path_factory.mktemp("node"))
    yield process
    process.stop()


@pytest.fixture()
def make_node(domain):
    """Function that makes a node in this process from parameters, and remappings where it is given some."""
    import rclpy

    from any2seg_ros.processes import ros_arguments
    from any2seg_ros.segment_node import SegmentNode

    made = []

    def make(remappings=None, **parameters):
        context = rclpy.Context()
        rclpy.init(args=ros_arguments(parameters, remappings), context=context, domain_id=domain)
        made.append((context, SegmentNode(context=context)))
        return made[-1][1]

    yield make
    contexts = [context for context, _ in made]
    for _, node in made:
        node._stop()
        node.destroy_node()
        del node
    made.clear()
    gc.collect()  # the participant leaves the graph with the last reference to the node
    for context in contexts:
        rclpy.shutdown(context=context)
        context.destroy()


@pytest.fixture()
def active(make_node, checkpoint, calibration_file):
    from rclpy.lifecycle import TransitionCallbackReturn

    node = make_node(checkpoint=checkpoint, calibration_file=calibration_file)
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS
    return node
