"""Acceptance of the node on an exported folder, in a process in which PyTorch is not installed: every subset."""

from __future__ import annotations

import os
from pathlib import Path

import fake_car
import pytest

for _package in ("rclpy", "onnx", "onnxruntime", "onnxscript"):
    pytest.importorskip(_package)

from test_acceptance_subsets import (  # noqa: E402
    car,
    monitor,
    test_property_every_subset_survives_and_whoever_returns_is_used,
)

from any2seg_core.runtime.export.write import export_checkpoint  # noqa: E402

pytestmark = pytest.mark.ros

BLOCKED = Path(__file__).resolve().parents[1] / "without_torch"
__all__ = ["car", "monitor", "test_property_every_subset_survives_and_whoever_returns_is_used"]


@pytest.fixture(scope="module")
def node_process(domain, checkpoint, calibration_file, tmp_path_factory):
    from any2seg_ros.processes import RosProcess, ros_arguments

    place = tmp_path_factory.mktemp("exported")
    export_checkpoint(checkpoint, place / "model")
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(BLOCKED), before or ""])
    parameters = {"checkpoint": place / "model", "calibration_file": calibration_file}
    arguments = ros_arguments(parameters, fake_car.TOPICS.node_remappings())
    process = RosProcess("any2seg_ros.segment_node", arguments, place / "node.log")
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before
    yield process
    process.stop()
    assert "Traceback" not in process.log.read_text()
