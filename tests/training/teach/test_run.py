"""`any2seg teach`: one call from a recording to a checkpoint, what goes on after a kill, and what is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
import typer
from bag_files import kitti_entries, write_bag
from camera_teachers import YARD, camera_teacher
from raised import assert_refused, user_error

import any2seg_training.teach.run as run_module
import any2seg_training.teach.trial as trial_module
from any2seg_core.base.atomic import only_one
from any2seg_core.base.entry import run as run_app
from any2seg_core.base.errors import UserError
from any2seg_core.data.bag import BagDataset
from any2seg_core.runtime.checkpoint import load_checkpoint
from any2seg_core.runtime.predictor import Predictor
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.vocabulary.labels import DELIVER
from any2seg_training.teach.command import teach
from any2seg_training.teach.run import teach_sensors
from any2seg_training.teach.settings import CHECKPOINT, PLANES, REPORT, SUMMARY, TRAINING, TeachSettings

CAMERA = CameraModel.from_fov(96, 64, 90.0, "camera_color_left")


def files_of(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(path)[0].state_dict()


def assert_same_weights(first: Path, second: Path) -> None:
    one, two = weights_of(first), weights_of(second)
    assert one.keys() == two.keys() and all(torch.equal(value, two[name]) for name, value in one.items())


def test_value_a_recording_and_a_camera_become_a_checkpoint_of_all_sensors(taught, asked, teacher):
    found, lines = taught()
    out = asked().out
    assert {"checkpoint.safetensors", "report.html", "summary.json", "plan.json"} <= set(files_of(out))
    model, contract, provenance = load_checkpoint(out / "checkpoint.safetensors")
    assert model.modalities == ("rgb", "lidar") and contract.label_space == YARD
    assert (contract.height, contract.width) == (64, 96) and set(contract.temperatures) == {"R", "L", "RL"}
    assert provenance["taught"]["judged_by"] == "the teachers" and provenance["teachers"] == ["camera.safetensors"]
    assert found == json.loads((out / "summary.json").read_text()) and found["truth"] is None
    assert found["frames"] == found["held_out"] == 4 and found["steps"] == 3
    assert set(found["agreement"]) == {"R", "L", "RL"} == set(found["calibration"])
    assert {row["fault"] for row in found["faults"] if row["sensor"] == "lidar"} == {"beams", "fog", "freeze", "gone"}
    assert lines[0].endswith("no labels") and any(line.startswith("together about ") for line in lines)
    assert str(teacher.parent) not in json.dumps(provenance) and not list(out.rglob("*.partial*"))
    picture = np.full((64, 96, 3), 90, np.uint8)
    assert Predictor.load(out / "checkpoint.safetensors")({"rgb": picture}).labels.shape == (64, 96)


def test_value_the_camera_starts_as_its_teacher(taught, asked):
    """One step of a rate that changes nothing would agree everywhere; three real ones must not lose it all."""
    found, _ = taught(steps=1)
    assert found["agreement"]["R"]["pixels"] > 60 and len(found["apart"]) == 4
    again, lines = taught(steps=1)
    assert again == found and lines[-1].startswith("finished before")


def test_value_a_dry_run_measures_and_leaves_nothing(taught, tmp_path, recording):
    before = files_of(tmp_path), files_of(recording)
    found, lines = taught(dry_run=True, minutes=5.0, steps=None)
    assert (files_of(tmp_path), files_of(recording)) == before and not (tmp_path / "out").exists()
    assert found["frames"] + found["held_out"] == pytest.approx(10, abs=2)
    assert found["steps"] == pytest.approx(300 / found["step_s"], abs=1) and found["memory_mib"] > 50
    assert found["total_s"] > 300 * 0.99 and 0 < found["planes_mib"] < found["disk_mib"] and len(lines) == 6
    assert 0 < found["taught"] <= 1


def test_value_two_recordings_are_taught_together(taught, labelled, recording, teacher):
    found, _ = taught(recordings=(recording, labelled), labels="ignore", steps=1)
    assert found["held_out"] == 8 and found["recordings"] == ["drive", "town"] and found["truth"] is None


def test_value_a_run_that_was_stopped_before_its_report_judges_again(taught, asked, monkeypatch):
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "write_report", die)
        with pytest.raises(KeyboardInterrupt):
            taught()
    assert not (asked().out / "report.html").exists()
    before = json.loads((asked().out / "summary.json").read_text())
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "train", die)  # it has ended, and is not repeated
        found, lines = taught()
    assert any(line.startswith("goes on in") for line in lines) and found == before


KILLED = """
import os, signal, sys
import any2seg_training.build as build
save = build.Run.save
def save_then_die(run, path):
    save(run, path)
    if path.parent.name == "training" and run.step == 2:
        os.kill(os.getpid(), signal.SIGKILL)
build.Run.save = save_then_die
"""
FULL = """
import resource
import any2seg_training.teach.run as run_module
tried = run_module.tried
def tried_then_full(*asked):
    found = tried(*asked)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
    return found
run_module.tried = tried_then_full
"""
PROGRAM = """
import any2seg_training.teach.trial as trial
trial._SAVE_S = 0.0
{before}
import typer
from any2seg_core.base.entry import run
from any2seg_training.teach.command import teach
app = typer.Typer()
app.command("teach")(teach)
app.callback()(lambda: None)
run(app, "any2seg")
"""


def command_line(settings: TeachSettings) -> list[str]:
    given = settings.model_dump(mode="json", exclude_defaults=True)
    words = ["teach", *given.pop("recordings")]
    (given["teacher"],) = given["teacher"]
    return [*words, *(word for key, value in given.items() for word in (f"--{key.replace('_', '-')}", str(value)))]


def in_a_process(before: str, settings: TeachSettings) -> subprocess.CompletedProcess:
    """The command in a process of its own, after ``before`` has changed what it must."""
    program = [sys.executable, "-c", PROGRAM.format(before=before), *command_line(settings)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(program, capture_output=True, text=True, timeout=300, env=environment)


@pytest.mark.slow
def test_value_sigkill_in_the_training_costs_nothing(asked, taught, tmp_path):
    taught(out=tmp_path / "whole")
    done = in_a_process(KILLED, asked())
    assert done.returncode == -signal.SIGKILL, done.stderr[-1000:]
    taught()
    assert_same_weights(tmp_path / "whole" / "checkpoint.safetensors", asked().out / "checkpoint.safetensors")


@pytest.mark.slow
def test_exception_a_full_disk_is_one_line_and_goes_on(asked, taught):
    """Files of more than 300 kB cannot be written, as the weights are: the plan stays, and nothing half-written."""
    done = in_a_process(FULL, asked())
    assert done.returncode == 2 and done.stderr.splitlines()[-1].startswith("any2seg: cannot write "), done.stderr
    assert not [name for name in files_of(asked().out) if "partial" in name or name.endswith((".pt", ".safetensors"))]
    found, _ = taught()
    assert found["steps"] == 3


def test_exception_too_little_disk_is_said_before_it_begins(taught, asked, monkeypatch):
    monkeypatch.setattr(run_module.shutil, "disk_usage", lambda _: SimpleNamespace(free=5 * 2**20))
    with user_error("disk-full", asked().out, "5 MiB"):
        taught()
    assert not asked().out.exists()


@pytest.fixture
def flat_teacher(monkeypatch):
    module = SimpleNamespace(flat=lambda pictures: np.full((len(pictures), 25, 4, 4), 1 / 25))
    monkeypatch.setitem(sys.modules, "flat_teacher", module)


def test_value_a_longer_part_is_tried_where_the_teacher_is_sure_of_nothing_of_the_first(taught, monkeypatch):
    asked = []
    build = trial_module.build_run

    def unsure_at_first(config, processes):
        asked.append(config.data.bag.end_s)
        if len(asked) == 1:
            raise UserError("of 2 frames none", "teacher-unsure")
        return build(config, processes)

    monkeypatch.setattr(trial_module, "_FIRST_S", (0.7, 0.8, 1e9))
    monkeypatch.setattr(trial_module, "build_run", unsure_at_first)
    found, _ = taught(dry_run=True, steps=1)
    assert asked == [0.7, 0.8] and found["steps"] == 1
    monkeypatch.setattr(trial_module, "_SURE_S", 0.1)
    asked.clear()
    with user_error("teacher-unsure", "of 2 frames"):
        taught(dry_run=True, steps=1)


def test_exception_a_teacher_that_is_sure_of_nothing(taught, asked, flat_teacher):
    with user_error("teacher-unsure", "flat_teacher:flat"):
        taught(teacher=("flat_teacher:flat",))
    assert not asked().out.exists()


def test_exception_a_recording_without_its_camera(taught, asked, tmp_path):
    entries = [entry for entry in kitti_entries(6, CAMERA) if "image" not in entry[1]]
    blind = write_bag(tmp_path / "blind", entries)
    with user_error("bag-sensor-missing", blind, "rgb"):
        taught(recordings=(blind,))
    assert not asked().out.exists()


def test_exception_a_recording_of_the_camera_alone(taught, recording, tmp_path, flat_teacher):
    """Beside one with a further sensor it is taught from."""
    entries = [entry for entry in kitti_entries(6, CAMERA) if "velo" not in entry[1]]
    alone = write_bag(tmp_path / "alone", entries)
    with user_error("sensor-absent", alone, "rgb"):
        taught(recordings=(alone,))
    with user_error("sensor-absent", alone, "rgb"):
        taught(recordings=(alone,), teacher=("flat_teacher:flat",))
    found, _ = taught(recordings=(alone, recording), dry_run=True)
    assert found["frames"] + found["held_out"] == pytest.approx(13, abs=3)


def test_exception_classes_of_labels_that_the_teacher_does_not_know(taught, asked, labelled):
    with user_error("label-space-mismatch", "camera.safetensors", "yard", "deliver-25", "--map"):
        taught(recordings=(labelled,))
    assert not asked().out.exists()


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [("none.safetensors", "checkpoint-missing", "none.safetensors"), ("text.pth", "checkpoint-foreign", "segformer")],
)
def test_exception_a_teacher_that_is_no_checkpoint(taught, tmp_path, name, code, said):
    (tmp_path / "text.pth").write_text("words")
    with user_error(code, said):
        taught(teacher=(str(tmp_path / name),))


@pytest.mark.parametrize("name", [CHECKPOINT, REPORT, SUMMARY, f"{TRAINING}/final.safetensors", f"{PLANES}/a.png"])
def test_exception_files_of_somebody_else_are_left_alone(taught, tmp_path, name):
    foreign = tmp_path / "out" / name
    foreign.parent.mkdir(parents=True)
    foreign.write_text("mine")
    with user_error("output-exists", Path(name).parts[0]):
        taught()
    assert [path.read_text() for path in (tmp_path / "out").rglob("*") if path.is_file()] == ["mine"]


def test_exception_a_run_goes_on_with_its_own_settings_alone(taught, asked):
    taught(steps=1)
    with user_error("resume-mismatch", "steps=1", "(now 2)"):
        taught(steps=2)
    with only_one(asked().out / ".lock", "a test"), user_error("output-busy", asked().out):
        taught(steps=1)


def test_value_a_mapping_leads_from_the_teachers_classes_to_those_of_the_labels(taught, labelled, teacher, tmp_path):
    """The student has the classes of the labels: the teacher's encoder is its start, and its head is new."""
    (tmp_path / "yard.yaml").write_text(json.dumps(YARD.to_document()))
    pairs = {"ground": "Road", "sky": "Sky", "crate": "Building"}
    document = {"from": str(tmp_path / "yard.yaml"), "to": "deliver-25", "classes": pairs}
    (tmp_path / "map.yaml").write_text(json.dumps(document))
    found, _ = taught(recordings=(labelled,), map=str(tmp_path / "map.yaml"), steps=1)
    assert found["classes"] == list(DELIVER.classes) and set(found["truth"]) == {"teacher", "R", "L", "RL"}
    assert set(found["agreement_of_classes"]["R"]) <= set(pairs.values())
    trained = weights_of(tmp_path / "out" / "training" / "final.safetensors")
    start = weights_of(teacher)
    name = "encoder.stages.3.blocks.1.mlp.fc1.weight"
    torch.testing.assert_close(trained[name], start[name], rtol=0, atol=1e-3)
    assert trained["head.classifier.weight"].shape[0] == 25


def test_value_labels_judge_and_are_not_learned(taught, labelled, tmp_path):
    """Labels of the held-out end are another accuracy than agreement; ignoring them changes no weight."""
    teacher = camera_teacher(tmp_path / "all.safetensors")
    given = {"recordings": (labelled,), "teacher": (str(teacher),)}
    found, _ = taught(out=tmp_path / "judge", **given)
    assert set(found["truth"]) == {"teacher", "R", "L", "RL"}
    assert found["truth"]["teacher"]["pixels"] < 30 < found["agreement"]["R"]["pixels"]
    learned, _ = taught(out=tmp_path / "learn", labels="learn", **given)
    logs = [(tmp_path / name / "training" / "log.jsonl").read_text() for name in ("judge", "learn")]
    assert ["l_sup" in log for log in logs] == [False, True] and learned["agreement"] != found["agreement"]
    ignored, _ = taught(out=tmp_path / "ignore", labels="ignore", **given)
    assert ignored["truth"] is None and ignored["agreement"] == found["agreement"]
    assert_same_weights(tmp_path / "judge" / "checkpoint.safetensors", tmp_path / "ignore" / "checkpoint.safetensors")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("teach --teacher t --out o", "argument-missing"),
        ("teach none.mcap --teacher flat_teacher:flat --out o", "data-missing"),
        ("teach none.mcap --teacher none --out o", "checkpoint-missing"),
        ("teach none.mcap none.mcap --teacher t --out o", "value-invalid"),
        ("teach none.mcap --teacher t --out o --size 100x64", "value-invalid"),
        ("teach none.mcap --teacher t --out o --held-out 1.5", "value-range"),
        ("teach none.mcap --teacher t --out o --minutes 0", "value-range"),
        ("teach none.mcap --teacher t --out o --labels some", "value-unknown"),
    ],
)
def test_exception_wrong_calls_are_one_line(words, code, tmp_path, monkeypatch, capsys, flat_teacher):
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    app.command("teach")(teach)
    app.callback()(lambda: None)
    with pytest.raises(SystemExit) as ended:
        run_app(app, "any2seg", words.split())
    assert ended.value.code == 2 and list(tmp_path.iterdir()) == []
    assert_refused(capsys.readouterr().err, code)


def test_value_the_command_prints_its_summary_as_json(asked, capsys):
    app = typer.Typer()
    app.command("teach")(teach)
    app.callback()(lambda: None)
    with pytest.raises(SystemExit) as ended:
        run_app(app, "any2seg", [*command_line(asked(steps=1)), "--json"])
    assert ended.value.code == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["steps"] == 1 and "together about" in printed.err
    assert teach_sensors(asked(steps=1), False, lambda _: None) == json.loads(printed.out)


def test_value_a_folder_of_labels_teaches_and_what_nobody_labelled_is_not_calibrated(taught, recording, tmp_path):
    """Of the four frames held out the first and the last have labels: temperatures come from one, errors from one."""
    folder = tmp_path / "labels"
    names = [frame.name for frame in BagDataset(recording, "train", labelled=False, cache="ram").frames]
    (folder / names[0]).parent.mkdir(parents=True)
    (folder / "label_space.yaml").write_text(json.dumps(YARD.to_document()))
    image = np.full((64, 96), 2, np.uint8)
    image[32:] = 0
    for name in (*names[:6], names[6], names[9]):
        cv2.imwrite(str(folder / f"{name}.png"), image)
    found, _ = taught(teacher=(str(folder),), size="96x64", steps=2)
    assert found["classes"] == list(YARD.classes) and found["teachers"] == ["labels"]
    assert 50 < found["untaught"] < 60  # beams met something in what the images call sky
    assert set(found["calibration"]) == {"R", "L", "RL"}
    assert all(row["teacher_agreement"] is None for row in found["faults"])
