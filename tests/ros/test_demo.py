"""The whole demonstration on a small recording: node, replay, monitor, scores, report."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
from raised import assert_refused

pytest.importorskip("rclpy")
pytestmark = pytest.mark.ros


def demo(*arguments):
    command = [sys.executable, "-m", "any2seg_ros.demo", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_smoke_demo_scores_every_phase_and_writes_the_report(tmp_path, checkpoint, bag):
    out = tmp_path / "demo"
    done = demo("--out", out, "--checkpoint", checkpoint, "--bag", bag, "--seconds-per-phase", 1)
    assert done.returncode == 0, done.stdout + done.stderr
    table = [line for line in done.stdout.splitlines() if line.startswith(("│", "┃"))]
    assert len(table) >= 8
    assert max(map(len, table)) <= 100
    metrics = json.loads((out / "metrics.json").read_text())
    assert len(metrics["phases"]) == 8
    for phase in metrics["phases"]:
        assert phase["labels_out"] >= 3, phase
        assert phase["longest_gap_ms"] <= 700, phase
        assert 0.0 <= phase["miou_present"] <= 100.0
        assert phase["classes"] == 2
        letters = max(phase["used"], key=phase["used"].get)
        assert len(letters) == len(phase["alive"])
    html = (out / "report.html").read_text()
    assert html.count("<img") == 8 * 2 + sum(len(phase["alive"]) for phase in metrics["phases"])


def test_exception_node_that_cannot_work_is_told_with_its_log(tmp_path, checkpoint, bag):
    broken = shutil.copytree(bag, tmp_path / "broken" / "bag")
    (broken / "calibration.yaml").write_text("camera: nonsense\n")
    out = tmp_path / "demo"
    done = demo("--out", out, "--checkpoint", checkpoint, "--bag", broken, "--seconds-per-phase", 1)
    assert done.returncode == 1
    assert "the node is unconfigured instead of active" in done.stderr
    assert "calibration.yaml" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (out / "report.html").exists()


def test_exception_missing_checkpoint_is_one_line_and_code_2(tmp_path):
    done = demo("--out", tmp_path / "demo", "--checkpoint", tmp_path / "none.safetensors")
    assert done.returncode == 2
    assert_refused(done.stderr, "checkpoint-missing", "none.safetensors")
    assert not (tmp_path / "demo").exists()


@pytest.mark.parametrize(("options", "code"), [((), "checkpoint-missing"), (("--device", "cuda"), "device-missing")])
def test_exception_a_folder_that_cannot_run_is_told_before_anything_is_rendered(tmp_path, options, code):
    (tmp_path / "exported").mkdir()
    done = demo("--out", tmp_path / "demo", "--model", tmp_path / "exported", *options)
    assert done.returncode == 2
    assert_refused(done.stderr, code, "exported")
    assert not (tmp_path / "demo").exists()
