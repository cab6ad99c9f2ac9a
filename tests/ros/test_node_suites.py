"""Parameters of the node follow the suite of its checkpoint, also of one that is put in its place; lines are told."""

from __future__ import annotations

import shutil

import pytest
import torch
import van_files
from raised import user_error
from van_files import VAN

from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.runtime.checkpoint import save_checkpoint
from any2seg_core.vocabulary.contract import InputContract
from any2seg_core.vocabulary.modalities import MUSES, VEHICLE, SensorSuite

pytest.importorskip("rclpy")
pytestmark = pytest.mark.ros


@pytest.fixture(scope="module")
def van(tmp_path_factory):
    return van_files.checkpoint(tmp_path_factory.mktemp("van") / "van.safetensors")


def sensors_of(node) -> set[str]:
    """Those that the node has parameters of."""
    return {name.partition(".")[0] for name in node._parameters if name.endswith(".max_age_s")}


def test_value_another_checkpoint_in_the_same_place_brings_its_own_parameters(make_node, checkpoint, van, tmp_path):
    from rclpy.lifecycle import TransitionCallbackReturn as Result

    path = tmp_path / "model.safetensors"
    shutil.copy(checkpoint, path)
    node = make_node(checkpoint=path, **{"radar.max_age_s": 0.3, "timeout_s": 0.1})
    assert sensors_of(node) == set(VEHICLE.members)
    assert node.trigger_configure() == Result.SUCCESS and node.trigger_cleanup() == Result.SUCCESS
    shutil.copy(van, path)
    assert node.trigger_configure() == Result.SUCCESS
    assert sensors_of(node) == set(VAN.members)
    assert node.get_parameter("modalities").value == list(VAN.members)
    assert node.get_parameter("radar.max_age_s").value == 0.3  # from outside, though unknown at the start
    assert node.describe_parameter("thermal_transport").read_only
    assert not node.has_parameter("depth_transport")
    assert node._settings.sync.timeout_ns == 100_000_000
    assert node.trigger_cleanup() == Result.SUCCESS
    shutil.copy(checkpoint, path)
    assert node.trigger_configure() == Result.SUCCESS
    assert sensors_of(node) == set(VEHICLE.members)
    assert node.get_parameter("modalities").value == list(VEHICLE.members)


@pytest.mark.parametrize("parameters", [{"modalities": "[rgb, depth]"}, {"reference_priority": "[front, depth]"}])
def test_exception_a_checkpoint_of_another_suite_than_the_parameters(make_node, van, capfd, parameters):
    from rclpy.lifecycle import TransitionCallbackReturn

    node = make_node(checkpoint=van, **parameters)
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    written = capfd.readouterr().err
    (line,) = [line for line in written.splitlines() if "cannot configure" in line]
    assert next(iter(parameters)) in line and "sensor suite van of the checkpoint" in line
    assert "thermal" in line and "[sensor-unknown]" in line


def test_value_parameters_of_sensors_that_the_suite_lacks_are_one_line_each(make_node, van):
    from any2seg_ros.unused_arguments import unused_arguments

    node = make_node(checkpoint=van, **{"depth.max_age_s": 0.2, "depth.required": True, "radra.offset_s": 0.1})
    lines = unused_arguments([node], ["program"])
    depth, radar = lines
    assert "depth.max_age_s and 1 more of depth" in depth and "sensor suite van has no sensor depth" in depth
    assert radar.endswith("did you mean radar? [sensor-absent]")


def test_value_checkpoints_of_shipped_suites_take_the_parameters_of_the_vehicle(make_node, tmp_path):
    """As somebody wrote them who had the checkpoint before suites had letters and names of their own."""
    from rclpy.lifecycle import TransitionCallbackReturn

    torch.manual_seed(0)
    path = tmp_path / "muses.safetensors"
    model = Any2Seg(ModelConfig(modalities=MUSES.members, num_classes=19))
    save_checkpoint(path, model, InputContract(suite=MUSES, height=32, width=64, label_space="muses-19"), {})
    order = "[lidar, depth, rgb]"
    node = make_node(checkpoint=path, modalities="[REL]", reference_priority=order)
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert node._settings.modalities == MUSES.members
    assert node._settings.sync.reference_priority == ("lidar", "rgb")
    assert node.has_parameter("image_transport") and not node.has_parameter("depth_transport")


def test_exception_a_sensor_that_is_called_as_a_parameter(make_node, tmp_path, capfd):
    from rclpy.lifecycle import TransitionCallbackReturn

    from any2seg_ros.parameter_table import parameter_table

    suite = SensorSuite.of_document({"name": "odd", "sensors": {"device": {"kind": "image", "letter": "D"}}})
    with user_error("value-twice", "device", "odd"):
        parameter_table(suite)
    node = make_node(checkpoint=van_files.checkpoint(tmp_path / "odd.safetensors", suite))
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert "sensor device is called as a parameter" in capfd.readouterr().err
