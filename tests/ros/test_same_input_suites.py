"""A recording of a van through the node's segmenter and through the evaluation: the same labels, pixel for pixel."""

from __future__ import annotations

import json
import zlib

import pytest
import van_files
from bag_files import write_bag
from test_same_input import labels_of_node
from van_files import VAN

from any2seg_core.evaluation.recording.evaluate import evaluate_bag
from any2seg_core.evaluation.recording.settings import EvaluateRequest
from any2seg_core.faults.grammar import parse_fault

pytest.importorskip("rclpy")
pytestmark = pytest.mark.ros

_FAULTS = ["drop:front@0.8:1.4", "delay:radar@0.4:1.2,delay_s=0.2", "freeze:thermal@1.0:", "beams:lidar@1.5:"]


def test_value_node_and_evaluation_agree_on_five_sensors_with_faults(tmp_path):
    from any2seg_ros.parameter_table import parameter_table
    from any2seg_ros.parameters import check

    path = write_bag(tmp_path / "bag", van_files.entries(2.0))
    checkpoint = van_files.checkpoint(tmp_path / "van.safetensors")
    defaults = {name: entry.default for name, entry in parameter_table(VAN).items()}
    settings = check({**defaults, "checkpoint": str(checkpoint)}, VAN)
    plan = tuple(parse_fault(text, VAN) for text in _FAULTS)
    evaluate_bag(EvaluateRequest(path, checkpoint, tmp_path / "out", faults=plan, subsets="all"))
    lines = [json.loads(line) for line in (tmp_path / "out" / "frames.jsonl").read_text().splitlines()[1:]]
    offline = {line["stamp_ns"]: (line["used"], line["subsets"]["FSTLR"]["labels_crc32"]) for line in lines}
    online = {
        stamp_ns: (VAN.subset_letters(used), zlib.crc32(labels))
        for stamp_ns, used, labels in labels_of_node(settings, path, _FAULTS)
    }
    assert online == offline
    used = [each for each, _ in offline.values()]
    assert used.count("FSTLR") >= 8 and sum("F" not in each for each in used) >= 4
