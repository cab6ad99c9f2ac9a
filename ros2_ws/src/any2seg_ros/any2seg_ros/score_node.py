"""Score the labels of a running node against truth on a topic; the table comes at the end (Ctrl-C, or end of replay).

    python -m any2seg_ros.score_node --ros-args -p out:=score.json -r '~/in/label:=/segment/out/label' \\
        -r '~/in/modalities:=/segment/out/modalities' -r '~/in/truth:=/truth/image'

For watching: DDS may lose a label. Reproducible figures come from reading the bag in code.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rich.console import Console
from rich.table import Table
from sensor_msgs.msg import Image

from any2seg_core.base.atomic import replacing
from any2seg_core.base.errors import UserError
from any2seg_core.base.home import expanded_text
from any2seg_core.base.screen import refusal
from any2seg_core.base.shipped import default_checkpoint
from any2seg_core.data.recording_truth import TruthCoding
from any2seg_core.evaluation.live import LiveScorer
from any2seg_core.messages import image_to_array, stamp_ns
from any2seg_core.runtime.checkpoint_metadata import read_contract
from any2seg_core.vocabulary.truth_codings import CARLA_VERSION, CODINGS, RIDER, TRAIN_IDS
from any2seg_ros import qos
from any2seg_ros.command_line import init, node_help, require_ros_arguments
from any2seg_ros.guard import Guard
from any2seg_ros.signals import ended_by_signal
from any2seg_ros.throttle import Throttle

_QUEUE = QoSProfile(depth=50)  # reliable: a label that was sent must be counted
_JOINED = 50
_PARAMETERS = (
    ("checkpoint", "", "Checkpoint of the judged node: tells the classes; empty: the shipped one, as there."),
    ("out", "", "JSON file for the figures; empty: none."),
    ("truth_coding", TRAIN_IDS, f"Truth images: {', '.join(CODINGS)}."),
    ("carla_version", CARLA_VERSION, "Which list of tags CARLA's truth has; not for train_ids."),
    ("rider", RIDER, "Class of CARLA's riders: ignore, Pedestrian or TwoWheeler."),
)


def score_table(summary: dict[str, Any]) -> Table:
    """One row per subset of sensors that was fused."""
    table = Table(title=f"{summary['judged']} of {summary['labels']} labels judged; mIoU in percent")
    table.add_column("fused")
    for heading in ("mIoU present", "mIoU all", "classes", "pixel accuracy"):
        table.add_column(heading, justify="right")
    for letters, row in summary["subsets"].items():
        figures = (row["miou_present"], row["miou_all"], row["pixel_accuracy"])
        present, everything, accuracy = ("-" if figure is None else f"{figure:.1f}" for figure in figures)
        table.add_row(letters, present, everything, str(len(summary["class_iou"][letters])), accuracy)
    return table


class ScoreNode(Node):
    """Joins labels with what was fused for them and hands both to the scorer, next to the truth."""

    def __init__(self) -> None:
        super().__init__("score")
        for name, default, description in _PARAMETERS:
            self.declare_parameter(name, default, ParameterDescriptor(description=description, read_only=True))
        values = {name: self.get_parameter(name).value for name, *_ in _PARAMETERS}
        self.out = expanded_text(values["out"])
        checkpoint = Path(expanded_text(values["checkpoint"]) or default_checkpoint())
        contract = read_contract(checkpoint)
        space = contract.label_space
        self._coding = TruthCoding(values["truth_coding"], values["carla_version"], values["rider"], space)
        self._coding.require_space(space)
        self.scorer = LiveScorer(space, contract.suite)
        self._labels: dict[int, np.ndarray] = {}
        self._used: dict[int, list[str]] = {}
        self._throttle = Throttle()
        guard = Guard(self._leave_out)
        self.create_subscription(Image, "~/in/label", guard("label", self._on_label), _QUEUE)
        self.create_subscription(DiagnosticArray, "~/in/modalities", guard("status", self._on_modalities), _QUEUE)
        self.create_subscription(Image, "~/in/truth", guard("truth", self._on_truth), qos.REPLAY)

    def _on_label(self, message: Image) -> None:
        self._remember(self._labels, stamp_ns(message.header), image_to_array(message))

    def _on_modalities(self, message: DiagnosticArray) -> None:
        used = next((pair.value for pair in message.status[0].values if pair.key == "used"), "")
        self._remember(self._used, stamp_ns(message.header), used.split(","))

    def _remember(self, half: dict[int, Any], stamp: int, value: Any) -> None:
        """Two topics have no common order: whichever half comes second completes the label."""
        half[stamp] = value
        if stamp in self._labels and stamp in self._used:
            self.scorer.add_label(stamp, self._labels.pop(stamp), self._used.pop(stamp))
        while len(half) > _JOINED:
            del half[next(iter(half))]

    def _on_truth(self, message: Image) -> None:
        self.scorer.add_truth(stamp_ns(message.header), self._coding.read(message, "~/in/truth"))

    def _leave_out(self, name: str, error: Exception) -> None:
        text = error.with_code if isinstance(error, UserError) else repr(error)
        if self._throttle.is_due(name):
            self.get_logger().warning(f"{name} left out: {text}")


def report(node: ScoreNode) -> None:
    """Print the table and write the file."""
    node.scorer.finish()
    summary = node.scorer.summary()
    Console(width=100).print(score_table(summary))
    if node.out:
        with replacing(Path(node.out)) as partial:
            partial.write_text(json.dumps(summary, indent=2) + "\n")


def main(args: list[str] | None = None) -> None:
    """Entry point; one line and exit code 2 for bad input or nothing to score."""
    declared = {parameter: (default, text) for parameter, default, text in _PARAMETERS}
    require_ros_arguments(args, node_help(__doc__ or "", declared))
    init(args)
    node = None
    try:
        with ended_by_signal():
            node = ScoreNode()
            rclpy.spin(node)
        if node is not None:
            report(node)
    except UserError as error:
        sys.stderr.write(f"score_node: {refusal(error)}\n")
        raise SystemExit(2) from None
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
