"""method=distil: frozen teachers, with and without truth, straight from recordings."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from bag_files import kitti_entries, write_bag
from camera_teachers import YARD, camera_teacher
from raised import user_error
from tiny_run import ALONE, settings, state

from any2seg_core.data.samples import FrameDataset
from any2seg_core.imports.segformer import CAMERA as CAMERA_SUITE
from any2seg_core.runtime.checkpoint import load_checkpoint
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.vocabulary.contract import InputContract, Normalisation
from any2seg_core.vocabulary.labels import DELIVER
from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite
from any2seg_core.vocabulary.sensor import IMAGE, POINTS, Sensor
from any2seg_training.batches import AugmentedFrames, ModelBatch, SampleKey, collate
from any2seg_training.build import Run, build_run
from any2seg_training.label_folder import LabelFolder
from any2seg_training.sample_changes import build_augment, fitted_frames
from any2seg_training.splits import open_split
from any2seg_training.teachers import CheckpointTeacher, FunctionTeacher, sensors_seen
from any2seg_training.train import train


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    return write_bag(tmp_path / "drive", kitti_entries(9, CameraModel.from_fov(96, 64, 90.0, "camera_color_left")))


def distil(data: Path | dict, out: Path, teacher: object, **changes):
    given = {"teachers": teacher, "floor": 0.0, "frame_floor": 0.0, "count_frames": 2} | changes.pop("distil", {})
    return settings(data, out, method="distil", distil=given, mff={"unit_scale": True}, **changes)


def test_value_a_recording_without_labels_gets_the_classes_of_its_teacher(tmp_path, bag):
    teacher = camera_teacher(tmp_path / "camera.safetensors", YARD)
    data = {"root": bag, "bag": {"val_share": 0.4}}
    more = {"subset_supervision": {"count": 2}, "modality_dropout": "uniform_subsets", "class_weight_power": 0.5}
    config = distil(data, tmp_path / "out", (str(teacher),), init=teacher, steps=2, cache="ram", **more)
    results = train(config, ALONE)
    model, contract, provenance = load_checkpoint(tmp_path / "out" / "final.safetensors")
    assert contract.label_space == YARD and {"R", "L", "RL"} <= set(results["subsets"])
    assert contract.modalities == model.modalities == ("rgb", "lidar")
    assert provenance["teachers"] == ["camera.safetensors"] and provenance["judged_by"] == "the teachers"
    lines = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    steps = [line for line in lines if line.get("event") == "step" or "l_d" in line]
    assert steps and all(0 < line["taught_share"] <= 1 and "l_subsets_d" in line for line in steps)
    assert all("l_sup" not in line for line in steps)
    assert str(tmp_path) not in json.dumps(provenance)


def test_value_the_camera_is_right_from_the_first_step(tmp_path, bag):
    """A student with the weights of its teacher gives, from the camera alone, the logits of the teacher.

    Up to rounding: the order of sums follows the layout in memory, which is a processor's choice.
    """
    teacher = camera_teacher(tmp_path / "camera.safetensors", YARD)
    data = {"root": bag, "bag": {"val_share": 0.4}}
    run = build_run(distil(data, tmp_path / "out", (str(teacher),), init=teacher, cache="ram"), ALONE)
    first, own, _ = load_checkpoint(teacher)
    planes = torch.rand(1, 3, 64, 96)

    def fed(contract: InputContract) -> torch.Tensor:
        statistics = contract.normalisation["rgb"]
        mean, std = torch.tensor(statistics.mean), torch.tensor(statistics.std)
        return (planes - mean[:, None, None]) / std[:, None, None]

    with torch.no_grad():
        expected = first({"rgb": fed(own)}).logits
        found = run.model.eval()({"rgb": fed(own)}).logits
        said = run.method.lessons.teachers.probabilities(
            {"rgb": fed(run.contract), "lidar": torch.zeros(1, 3, 64, 96)},
            torch.tensor([[True, True]]),
            (16, 24),
        )
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    of_teacher, of_student = first.state_dict(), run.model.state_dict()
    assert of_teacher.keys() == of_student.keys()
    assert all(torch.equal(of_student[name], value) for name, value in of_teacher.items())
    coarse = first.decode(first.fuse(first.encode({"rgb": fed(own)}))).softmax(dim=1)
    torch.testing.assert_close(said, coarse, rtol=1e-3, atol=1e-3)  # whatever the student's normalisation is


def test_value_resume_is_exact_and_knows_its_teacher(tmp_path, bag, monkeypatch):
    teacher = camera_teacher(tmp_path / "camera.safetensors", YARD)
    data = {"root": bag, "bag": {"val_share": 0.4}}
    given = {"init": teacher, "cache": "ram", "steps": 4, "save_every": 2}
    train(distil(data, tmp_path / "whole", (str(teacher),), **given), ALONE)
    save = Run.save

    def save_then_die(run: Run, path: Path) -> None:
        save(run, path)
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "save", save_then_die)
    with pytest.raises(KeyboardInterrupt):
        train(distil(data, tmp_path / "parts", (str(teacher),), **given), ALONE)
    monkeypatch.setattr(Run, "save", save)
    train(distil(data, tmp_path / "parts", (str(teacher),), resume=True, **given), ALONE)
    whole, parts = state(tmp_path / "whole"), state(tmp_path / "parts")
    assert all(torch.equal(value, parts["model"][name]) for name, value in whole["model"].items())
    teacher.unlink()
    camera_teacher(teacher, YARD, Normalisation(mean=(0.4, 0.4, 0.4), std=(0.2, 0.2, 0.2)))
    with user_error("resume-mismatch", "teachers"):
        build_run(distil(data, tmp_path / "parts", (str(teacher),), resume=True, **given), ALONE)


def test_value_truth_is_mixed_in_where_there_is_some(tmp_path, data):
    teacher = camera_teacher(tmp_path / "camera.safetensors")
    config = distil({"root": data, "labelled_fraction": 0.5}, tmp_path / "out", (str(teacher),), steps=1, workers=0)
    run = build_run(config, ALONE)
    assert run.unlabelled is not None and len(run.train_frames) == len(run.unlabelled) == 6
    keys = [SampleKey(0, 0, 0), SampleKey(1, 0, 0)]
    images = {name: torch.randn(2, 3, 64, 64) for name in run.contract.modalities}
    labels = torch.full((2, 64, 64), 6)
    labels[1] = 254
    labels[1, :, 32:] = 255
    student = run.method.student_batch(ModelBatch(images, labels, torch.ones(2, 4, dtype=torch.bool), keys), 0)
    assert student.soft is not None and student.soft.weight.shape == (2, 16, 16)
    assert student.soft.weight[0].min() > 0 and student.soft.weight[1, :, 8:].max() == 0  # outside of the frame
    prediction = run.model.train()(student.images, student.present, student.subsets)
    loss, terms = run.method.loss(run.objective, run.model, student, prediction)
    assert torch.isclose(loss.detach(), terms["l_sup"] + terms["l_d"]) and float(terms["l_sup"]) > 0
    loss.backward()
    assert all(torch.isfinite(each.grad).all() for each in run.model.parameters() if each.grad is not None)


def test_value_the_teacher_does_not_see_planted_faults(tmp_path, data):
    """The student learns from a broken camera what the teacher sees in the whole one."""
    teacher = camera_teacher(tmp_path / "camera.safetensors")
    faults = {"probability": 1.0, "kinds": ("night",)}
    given = {"steps": 1, "workers": 0, "log_every": 1, "degradation": faults}
    config = distil({"root": data}, tmp_path / "out", (str(teacher),), **given)
    run = build_run(config, ALONE)
    assert run.method.asks_teachers
    keys, there = [SampleKey(0, n, n) for n in range(2)], torch.ones(2, 4, dtype=torch.bool)
    images = {name: torch.randn(2, 3, 64, 64) for name in run.contract.modalities}
    labels = torch.full((2, 64, 64), 254)
    given = ModelBatch(images, labels, there, keys)
    whole = run.method.student_batch(given, 0)
    broken = images | {"rgb": torch.full((2, 3, 64, 64), -2.0)}
    student = run.method.student_batch(replace(given, images=broken, clean={"rgb": images["rgb"]}), 0)
    assert torch.equal(student.soft.probabilities, whole.soft.probabilities)
    assert torch.equal(student.images["rgb"], broken["rgb"])
    unaided = run.method.student_batch(replace(given, images=broken), 0)
    assert not torch.equal(unaided.soft.probabilities, whole.soft.probabilities)
    train(config, ALONE)  # from the loader to the loss
    first = json.loads((tmp_path / "out" / "log.jsonl").read_text().splitlines()[0])
    assert 0 < first["l_d"] < 10


def half_blind(pictures: np.ndarray) -> np.ndarray:
    """Of dark pictures it knows nothing; else the left half is class 0, the right half class 1 with less certainty."""
    count, height, width, _ = pictures.shape
    found = np.full((count, 25, height // 4, width // 4), 0.01, np.float32)
    found[:, 0, :, : width // 8] = 0.76
    found[:, 1, :, width // 8 :] = 0.4
    found[:, 2, :, width // 8 :] = 0.37
    found[pictures.mean(axis=(1, 2, 3)) < 20] = 1 / 25
    return found


@pytest.fixture
def functions(monkeypatch):
    module = SimpleNamespace(half_blind=half_blind, wrong=lambda p: np.ones((len(p), 25, 4, 4)), flat=lambda p: p)
    module.unsure = lambda p: np.full((len(p), 25, 4, 4), 1 / 25)
    monkeypatch.setitem(sys.modules, "their_teachers", module)


def batch_of(run: Run, level: float) -> dict[str, torch.Tensor]:
    statistics = run.contract.normalisation["rgb"]
    mean, std = torch.tensor(statistics.mean), torch.tensor(statistics.std)
    grey = (torch.full((1, 3, 64, 64), level / 255) - mean[:, None, None]) / std[:, None, None]
    return {name: grey if name == "rgb" else torch.zeros(1, 3, 64, 64) for name in run.contract.modalities}


def test_value_blind_frames_and_unsure_pixels_are_left_out(tmp_path, data, functions):
    config = distil({"root": data}, tmp_path / "out", "their_teachers:half_blind", steps=1,
                    distil={"floor": 0.5, "frame_floor": 0.5})  # fmt: skip
    run = build_run(config, ALONE)
    labels, seen = torch.full((1, 64, 64), 254), torch.ones(1, 4, dtype=torch.bool)
    light = run.method.lessons.of_batch(batch_of(run, 120), seen, labels, None)
    assert light.weight[0, :, :8].min() == 1 and light.weight[0, :, 8:].max() == 0
    assert run.method.lessons.of_batch(batch_of(run, 5), seen, labels, None).weight.max() == 0
    no_camera = torch.tensor([[False, True, True, True]])
    assert run.method.lessons.of_batch(batch_of(run, 120), no_camera, labels, None).weight.max() == 0
    weighted = run.method.lessons.of_batch(batch_of(run, 120), seen, labels, torch.arange(25.0) + 3)
    assert set(weighted.weight.unique().tolist()) == {0.0, 3.0}


def test_value_several_teachers_by_weight(tmp_path, data, functions):
    teacher = camera_teacher(tmp_path / "camera.safetensors")
    both = ("their_teachers:half_blind", str(teacher))
    run = build_run(distil({"root": data}, tmp_path / "o", both, steps=1, distil={"weights": (3, 1)}), ALONE)
    alone = [build_run(distil({"root": data}, tmp_path / "o", (one,), steps=1), ALONE) for one in both]
    args = batch_of(run, 120), torch.ones(1, 4, dtype=torch.bool), (16, 16)
    mean, first, second = (each.method.lessons.teachers.probabilities(*args) for each in (run, *alone))
    torch.testing.assert_close(mean, 0.75 * first + 0.25 * second)


def test_value_classes_of_a_teacher_by_a_mapping(tmp_path, data):
    """ground is RoadLines and Road is nobody's, and mass without a class is not handed out to others."""
    teacher = camera_teacher(tmp_path / "camera.safetensors", YARD)
    (tmp_path / "yard.yaml").write_text(json.dumps(YARD.to_document()))
    pairs = {"ground": DELIVER.classes[6], "sky": DELIVER.classes[12]}
    (tmp_path / "map.yaml").write_text(json.dumps(
        {"from": str(tmp_path / "yard.yaml"), "to": "deliver-25", "classes": pairs}))  # fmt: skip
    given = distil({"root": data}, tmp_path / "o", (str(teacher),), distil={"map": str(tmp_path / "map.yaml")})
    teachers = build_run(given, ALONE).method.lessons.teachers
    images = {name: torch.randn(1, 3, 64, 64) for name in ("rgb", "depth", "event", "lidar")}
    seen = torch.ones(1, 4, dtype=torch.bool)
    found = teachers.probabilities(images, seen, (16, 16))
    own = teachers.teachers[0].probabilities({"rgb": images["rgb"]}, seen[:, :1])
    torch.testing.assert_close(found[:, [6, 12]], own[:, [0, 2]])
    assert float(found.sum()) == pytest.approx(float(own[:, [0, 2]].sum()), rel=1e-5)
    with user_error("label-space-mismatch", "camera.safetensors", "yard", "deliver-25"):
        build_run(distil({"root": data}, tmp_path / "o", (str(teacher),)), ALONE)


def test_value_a_folder_of_labels_and_probabilities(tmp_path, bag):
    """Frame 0 has a label image, frame 1 probabilities that are sure in one half; the others are not taught."""
    data = {"root": bag, "bag": {"val_share": 0.4}}
    given, folder = settings(data, tmp_path, method="distil", distil={"teachers": ("x",)}), tmp_path / "labels"
    names, val = ([frame.name for frame in open_split(given, split, "none").frames] for split in ("train", "val"))
    (folder / names[0]).parent.mkdir(parents=True)
    (folder / "label_space.yaml").write_text(json.dumps(YARD.to_document()))
    image = np.full((64, 96), 2, np.uint8)
    image[:, :48] = 255
    for name in (names[0], *val):
        cv2.imwrite(str(folder / f"{name}.png"), image)
    probabilities = np.zeros((3, 8, 12), np.float32)
    probabilities[1, :4], probabilities[:, 4:] = 1.0, 1 / 3
    np.save(folder / f"{names[1]}.npy", probabilities)
    run = build_run(distil(data, tmp_path / "o", (str(folder),), distil={"floor": 0.5, "count_frames": 99}), ALONE)
    assert run.contract.label_space == YARD
    (part,) = run.method.parts(run.parts)
    samples = [part.next_readable(index)[1] for index in range(3)]
    assert all((sample.labels == 254).all() for sample in samples) and samples[2].said == ()
    ((first, _, _),), ((second, classes, weight),) = (sample.said for sample in samples[:2])
    assert np.array_equal(first, image) and np.array_equal(second, probabilities) and (classes, weight) == (3, 1.0)
    assert run.prior.class_pixels()[2] == pytest.approx(64 * 48, rel=0.1)
    said = torch.nn.functional.interpolate(torch.from_numpy(probabilities)[None, ..., :8], (16, 16))
    blank, both = dict.fromkeys(run.contract.modalities, torch.zeros(1, 3, 64, 64)), torch.ones(1, 2, dtype=torch.bool)
    soft = run.method.lessons.of_batch(blank, both, torch.full((1, 64, 64), 254), None, said)
    torch.testing.assert_close(soft.probabilities, said)
    assert soft.weight[0, :8].min() == 1 and soft.weight[0, 8:].max() == 0  # 1/3 is below the floor
    results = train(distil(data, tmp_path / "o", (str(folder),), distil={"floor": 0.5}, steps=1, workers=1), ALONE)
    assert results["subsets"]


def labelled_folder(folder: Path, frames: FrameDataset, values: np.ndarray) -> str:
    """A folder that says the same of every frame."""
    for frame in frames.frames:
        path = folder / f"{frame.name}{'.png' if values.ndim == 2 else '.npy'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), values) if values.ndim == 2 else np.save(path, values)
    return str(folder)


def test_value_truth_is_no_word_of_a_folder_and_several_folders_have_their_weights(tmp_path, data):
    """Two folders say Road and, of the left half, Sky; probabilities come from a third. By hand, 3 : 1 : 4."""
    given = settings(data, tmp_path, method="distil", distil={"teachers": ("x",)})
    frames, road, sky = open_split(given, "train", "none"), DELIVER.id("Road"), DELIVER.id("Sky")
    height, width = frames.labels(0).shape
    image, half = np.full((height, width), road, np.uint8), np.full((height, width), 255, np.uint8)
    half[:, : width // 2] = sky
    maps = np.full((25, 1, 1), 0.04, np.float32)
    places = [labelled_folder(tmp_path / name, frames, values)
              for name, values in (("a", image), ("b", half), ("c", maps))]  # fmt: skip
    weights = {"distil": {"weights": (3, 1, 4)}}
    run = build_run(distil({"root": data}, tmp_path / "o", tuple(places), steps=1, workers=0, **weights), ALONE)
    (part,) = run.method.parts(run.parts)
    sample = part.next_readable(0)[1]
    assert np.array_equal(sample.labels, frames[0].labels) and len(np.unique(sample.labels)) > 2
    config = distil({"root": data}, tmp_path / "o", tuple(places), fit=True, scale=(1.0, 1.0), flip_probability=0.0,
                    crop_height=run.contract.height, crop_width=run.contract.width, **weights)  # fmt: skip
    fitted = fitted_frames([part], run.contract)
    batch = collate(run.contract.modalities,
                    [AugmentedFrames(fitted, build_augment(config, run.contract.suite), 0)[SampleKey(0, 0, 0)]])
    assert batch.said is not None and float(batch.said.sum(dim=1).max()) == pytest.approx(8.0)
    images = {name: torch.zeros(1, 3, *batch.labels.shape[1:]) for name in run.contract.modalities}
    soft = run.method.lessons.of_batch(images, batch.present, torch.full_like(batch.labels, 254), None, batch.said)
    left, right = soft.probabilities[0, :, :, :4], soft.probabilities[0, :, :, -4:]
    torch.testing.assert_close(left[[road, sky]].mean(dim=(1, 2)), torch.tensor([3 + 0.16, 1 + 0.16]) / 8)
    torch.testing.assert_close(right[[road, sky]].mean(dim=(1, 2)), torch.tensor([3 + 0.16, 0.16]) / 7)
    said, counted = run.method.lessons.word(frames[0])
    assert (said == road).all() and counted.all()
    with user_error("value-conflict", "distil.keep"):
        build_run(distil({"root": data}, tmp_path / "o", places[0], distil={"keep": 1.0}), ALONE)


def test_value_a_folder_of_other_contents_is_another_teacher(tmp_path, data):
    frames = open_split(settings(data, tmp_path), "train", "none")
    maps = np.full((25, 2, 3), 0.04, np.float32)
    first = LabelFolder(Path(labelled_folder(tmp_path / "a", frames, maps))).digest
    assert LabelFolder(Path(labelled_folder(tmp_path / "a", frames, maps))).digest == first
    maps[0], maps[1] = 0.05, 0.03
    assert LabelFolder(Path(labelled_folder(tmp_path / "a", frames, maps))).digest != first


def test_value_what_a_teacher_says_nothing_of_makes_no_frame_blind(tmp_path, data):
    """A quarter has a label: of that it is as sure as can be; the mean of what it says decides, by hand 0.7."""
    teacher = camera_teacher(tmp_path / "camera.safetensors")
    config = distil({"root": data}, tmp_path / "o", str(teacher), distil={"frame_floor": 0.69, "geometry": False})
    lessons = build_run(config, ALONE).method.lessons
    found = torch.zeros(2, 25, 16, 16)
    found[0, 3, :8, :8] = 1.0
    found[1, 3, :8], found[1, 4, :8] = 0.7, 0.3
    found[1, 5, 8:] = 0.0
    lessons.teachers.probabilities = lambda *_: found
    images = dict.fromkeys(lessons.contract.modalities, torch.zeros(2, 3, 64, 64))
    asked = images, torch.ones(2, 4, dtype=torch.bool), torch.full((2, 64, 64), 254), None
    soft = lessons.of_batch(*asked)
    assert soft.weight[0, :8, :8].min() == 1 == soft.weight[1, :8].min() and soft.weight.sum() == 64 + 128
    found[1, 3, :8], found[1, 4, :8] = 0.68, 0.32
    assert lessons.of_batch(*asked).weight[1].max() == 0


def test_value_a_function_gives_arrays_or_tensors_of_any_kind(tmp_path, data, monkeypatch):
    flat = torch.full((1, 25, 2, 2), 0.04)
    module = SimpleNamespace(half=lambda _: flat.to(torch.bfloat16), double=lambda _: flat.double().numpy())
    module.graph, module.text, module.number = lambda _: flat.clone().requires_grad_(), lambda _: "words", 3
    monkeypatch.setitem(sys.modules, "their_teachers", module)
    contract = build_run(settings(data, tmp_path / "o"), ALONE).contract
    picture = {"rgb": torch.zeros(1, 3, 64, 64)}
    for name in ("half", "double", "graph"):
        found = FunctionTeacher(f"their_teachers:{name}", contract).probabilities(picture, torch.tensor([[True]]))
        assert found.dtype == torch.float32 and not found.requires_grad
        torch.testing.assert_close(found, flat, rtol=1e-2, atol=0)
    with user_error("value-type", "their_teachers:text", "str"):
        FunctionTeacher("their_teachers:text", contract).probabilities(picture, torch.tensor([[True]]))
    with user_error("value-type", "their_teachers:number"):
        FunctionTeacher("their_teachers:number", contract)


def test_value_a_function_beside_a_checkpoint_has_the_classes_of_that(tmp_path, bag, monkeypatch):
    """Without truth the run has the three classes of the camera, whichever teacher is named first."""
    module = SimpleNamespace(three=lambda pictures: np.full((len(pictures), 3, 4, 4), 1 / 3, np.float32))
    monkeypatch.setitem(sys.modules, "their_teachers", module)
    teacher = camera_teacher(tmp_path / "camera.safetensors", YARD)
    data = {"root": bag, "bag": {"val_share": 0.4}}
    places = ("their_teachers:three", str(teacher))
    run = build_run(distil(data, tmp_path / "o", places, cache="ram"), ALONE)
    assert run.contract.label_space == YARD and run.method.lessons.teachers.names == [places[0], "camera.safetensors"]


def test_value_a_camera_alone_is_the_camera_of_any_suite(tmp_path):
    van = SensorSuite("van", (Sensor("front", "F", IMAGE), Sensor("rear", "B", IMAGE), Sensor("top", "T", POINTS)))
    camera, both = InputContract(suite=CAMERA_SUITE), InputContract(modalities=("rgb", "lidar"))
    assert sensors_seen(camera, van) == {"front": "rgb"} and sensors_seen(camera, VEHICLE) == {"rgb": "rgb"}
    path = camera_teacher(tmp_path / "camera.safetensors")
    teacher, same = (CheckpointTeacher(path, each, torch.device("cpu")) for each in (InputContract(suite=van), both))
    picture, there = torch.randn(1, 3, 64, 96), torch.tensor([[True]])
    found = teacher.probabilities({"front": picture}, there)
    assert teacher.sensors == ("front",) and torch.equal(found, same.probabilities({"rgb": picture}, there))
    assert sensors_seen(both, van) == {} and sensors_seen(both, VEHICLE) == {"rgb": "rgb", "lidar": "lidar"}


@pytest.mark.parametrize(
    ("teacher", "changes", "code", "said"),
    [
        ("none.safetensors", {}, "checkpoint-missing", "none.safetensors"),
        ("camera.safetensors", {"modalities": "lidar"}, "sensor-absent", "rgb"),
        ("", {}, "file-missing", "<frame>.png"),
        ("their_teachers:none", {}, "value-unknown", "their_teachers:none"),
        ("no_such_module:f", {}, "value-unknown", "no_such_module"),
        ("their_teachers:wrong", {}, "value-range", "their_teachers:wrong"),
        ("their_teachers:flat", {}, "array-shape", "25"),
        ("their_teachers:unsure", {"distil": {"floor": 0.3}}, "teacher-unsure", "0.3"),
    ],
)
def test_exception_teachers_that_cannot_teach(tmp_path, data, functions, teacher, changes, code, said):
    camera_teacher(tmp_path / "camera.safetensors")
    (tmp_path / "empty").mkdir()
    place = teacher if ":" in teacher else str(tmp_path / (teacher or "empty"))
    with user_error(code, said):
        train(distil({"root": data}, tmp_path / "out", (place,), **changes), ALONE)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"method": "distil"}, "distil.teachers"),
        ({"method": "supervised", "distil": {"teachers": ("a",)}}, "distil"),
        ({"method": "distil", "distil": {"teachers": ("a", "a")}}, "twice"),
        ({"method": "distil", "distil": {"teachers": ("a",), "weights": (1, 2)}}, "weights"),
        ({"method": "distil", "distil": {"teachers": ("a",)}, "m3l": {"lambda_u": 0.5}}, "m3l"),
        ({"method": "distil", "distil": {"teachers": ("a",)}, "fusion": "linear"}, "linear"),
    ],
)
def test_exception_settings_that_do_not_go_together(tmp_path, changes, said):
    with pytest.raises(ValueError, match=said):
        settings(tmp_path, tmp_path, **changes)


def sure_of(*classes: int):
    """A teacher that says these classes, in columns from left to right."""

    def say(pictures: np.ndarray) -> np.ndarray:
        found = np.zeros((len(pictures), 25, 16, 16), np.float32)
        for number, each in enumerate(classes):
            first, last = number * 16 // len(classes), (number + 1) * 16 // len(classes)
            found[:, each, :, first:last] = 1.0
        return found

    return say


@pytest.mark.parametrize("geometry", [True, False])
def test_value_sky_is_not_taught_where_a_surface_was_measured(tmp_path, bag, monkeypatch, geometry):
    """The left half is sky and the right one a building; a beam and a depth meet something in two places of each."""
    sky, building = DELIVER.id("Sky"), DELIVER.id("Building")
    monkeypatch.setitem(sys.modules, "their_teachers", SimpleNamespace(halves=sure_of(sky, building)))
    given = {"frame_floor": 0.0, "geometry": geometry}
    data = {"root": bag, "bag": {"val_share": 0.4}}
    run = build_run(distil(data, tmp_path / "out", "their_teachers:halves", distil=given, cache="ram"), ALONE)
    images = {name: torch.zeros(1, 3, 64, 64) for name in ("rgb", "lidar")}
    for name in ("rgb", "lidar"):
        images[name] += torch.tensor(run.contract.empty_pixels[name]).view(1, 3, 1, 1)
    images["rgb"] += 1.0  # a camera measures nothing
    images["lidar"][0, 0, 9, 5] += 0.01
    images["lidar"][0, 2, 40, 50] += 1.0
    soft = run.method.lessons.of_batch(images, torch.tensor([[True, True]]), torch.full((1, 64, 64), 254), None)
    expected = torch.ones(16, 16)
    expected[2, 1] = 0.0 if geometry else 1.0
    assert torch.equal(soft.weight[0], expected)


def test_value_cells_of_which_no_class_is_known_are_not_taught(tmp_path, data):
    """The mapping knows ground alone: a cell counts as much as the teacher gives ground, and not at all without it."""
    teacher = camera_teacher(tmp_path / "camera.safetensors", YARD)
    (tmp_path / "yard.yaml").write_text(json.dumps(YARD.to_document()))
    document = {"from": str(tmp_path / "yard.yaml"), "to": "deliver-25", "classes": {"ground": "Road"}}
    (tmp_path / "map.yaml").write_text(json.dumps(document))
    given = distil({"root": data}, tmp_path / "o", (str(teacher),), distil={"map": str(tmp_path / "map.yaml")})
    lessons = build_run(given, ALONE).method.lessons
    found = torch.zeros(1, 25, 16, 16)
    found[0, 6, :, :4], found[0, 6, :, 4:8] = 1.0, 0.3
    lessons.teachers.probabilities = lambda *_: found
    seen, labels = torch.ones(1, 4, dtype=torch.bool), torch.full((1, 64, 64), 254)
    soft = lessons.of_batch(dict.fromkeys(lessons.contract.modalities, torch.zeros(1, 3, 64, 64)), seen, labels, None)
    torch.testing.assert_close(soft.weight[0, 0], torch.tensor([1.0] * 4 + [0.3] * 4 + [0.0] * 8))


def test_value_the_teachers_sensor_alone_is_taught_beside_the_others(tmp_path, data):
    """Subset 1 of each row is the camera, where it is shown; subset 2 has none of it."""
    teacher = camera_teacher(tmp_path / "camera.safetensors")
    more = {"subset_supervision": {"count": 2}, "modality_dropout": {"RDEL": 1, "DL": 1, "R": 1}, "steps": 1}
    given = {"data": {"labels": "judge", "root": data}, "init": teacher, "freeze_norm": True, "fit": True} | more
    run = build_run(distil(given.pop("data"), tmp_path / "o", str(teacher), distil={"keep": 2.0}, **given), ALONE)
    run.average.model.load_state_dict(run.model.state_dict())
    keys = [SampleKey(0, number, 0) for number in range(12)]
    images = {name: torch.randn(12, 3, 64, 64) for name in run.contract.modalities}
    labels = torch.full((12, 64, 64), 254)
    student = run.method.student_batch(ModelBatch(images, labels, torch.ones(12, 4, dtype=torch.bool), keys), 0)
    shown, own, others = student.present, student.subsets[0], student.subsets[1]
    has_camera = shown[:, 0]
    assert student.subsets.shape == (3, 12, 4) and 0 < int(has_camera.sum()) < 12
    assert own[has_camera].tolist() == [[True, False, False, False]] * int(has_camera.sum())
    assert torch.equal(own[~has_camera], shown[~has_camera])
    is_camera_alone = shown.sum(dim=1).eq(1) & has_camera
    assert not others[~is_camera_alone, 0].any() and not (others & ~shown).any() and others.any(dim=1).all()
    prediction = run.model(student.images, student.present, student.subsets)
    loss, terms = run.method.loss(run.objective, run.model, student, prediction)
    torch.testing.assert_close(loss.detach(), terms["l_d"] + 2.0 * terms["l_own_d"] + terms["l_subsets_d"])
    assert "l_sup" not in terms
    assert float(terms["l_own_d"]) < 0.2 * float(terms["l_subsets_d"])  # it began as its teacher; dropout is on


def test_value_subsets_have_the_weights_that_their_letters_have(tmp_path, data):
    """L_d of one subset per row, by hand: a row of the camera alone counts three times."""
    teacher = camera_teacher(tmp_path / "camera.safetensors")
    more = {"subset_supervision": {"count": 1, "weights": {"R": 3.0}}, "modality_dropout": 1.0, "steps": 1}
    run = build_run(distil({"labels": "judge", "root": data}, tmp_path / "o", str(teacher), **more), ALONE)
    keys = [SampleKey(0, number, 0) for number in range(8)]
    images = {name: torch.randn(8, 3, 64, 64) for name in run.contract.modalities}
    labels = torch.full((8, 64, 64), 254)
    student = run.method.student_batch(ModelBatch(images, labels, torch.ones(8, 4, dtype=torch.bool), keys), 0)
    is_camera = (student.subsets[0] == torch.tensor([True, False, False, False])).all(dim=1)
    assert 0 < int(is_camera.sum()) < 8
    prediction = run.model(student.images, student.present, student.subsets)
    _, terms = run.method.loss(run.objective, run.model, student, prediction)
    own = prediction.subset_logits[1].detach().log_softmax(dim=1)
    apart = F.kl_div(own, student.soft.probabilities, reduction="none").sum(dim=1)  # (8, h, w)
    weight = student.soft.weight * torch.where(is_camera, 3.0, 1.0)[:, None, None]
    expected = (apart * weight).sum() / weight.sum()
    torch.testing.assert_close(terms["l_subsets_d"], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "value"), [("lambda_p", 0.3), ("agmm", {"weight": 1.0}), ("self_distillation", {"weight": 1.0})]
)
def test_exception_terms_of_truth_without_truth(tmp_path, data, name, value):
    teacher = camera_teacher(tmp_path / "camera.safetensors")
    more = {name: value, "subset_supervision": {"count": 2}}
    with user_error("value-conflict", name):
        build_run(distil({"labels": "judge", "root": data}, tmp_path / "o", str(teacher), **more), ALONE)


def test_value_frozen_statistics_keep_the_camera_what_it_was(tmp_path, data):
    """Steps without any change of weights: with BatchNorm learning, its statistics become those of all sensors."""
    teacher = camera_teacher(tmp_path / "camera.safetensors")
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = load_checkpoint(teacher)[0]({"rgb": image}).logits
    apart = {}
    for frozen in (True, False):
        out = tmp_path / f"{frozen}"
        changes = {"init": teacher, "freeze_norm": frozen, "lr": 1e-12, "steps": 2}
        train(distil({"root": data, "labels": "judge"}, out, str(teacher), **changes), ALONE)
        model, _, provenance = load_checkpoint(out / "final.safetensors")
        with torch.no_grad():
            apart[frozen] = float((model({"rgb": image}).logits - expected).abs().max())
        assert provenance["judged_by"] == "truth"  # labels of val frames are read all the same
    assert apart[True] < 1e-4 < 0.1 < apart[False]


def test_value_several_recordings_are_split_each_at_its_end(tmp_path, bag):
    """The second has the camera alone; both give frames of both splits, and a run resumes on them."""
    other = write_bag(tmp_path / "other", kitti_entries(6, CameraModel.from_fov(96, 64, 90.0, "camera_color_left")))
    teacher = camera_teacher(tmp_path / "camera.safetensors", YARD)
    data = {"root": bag, "further": [other], "held_out": 0.34}
    given = {"init": teacher, "cache": "ram", "steps": 2, "save_every": 1, "fit": True}
    config = distil(data, tmp_path / "out", str(teacher), **given)
    results = train(config, ALONE)
    train_frames, val_frames = (open_split(config, split, "none") for split in ("train", "val"))
    names = [[frame.name.split("/")[0] for frame in frames.frames] for frames in (train_frames, val_frames)]
    assert [each.count("drive") for each in names] == [6, 3] and [each.count("other") for each in names] == [4, 2]
    assert set(results["subsets"]) == {"R", "L", "RL"} and state(tmp_path / "out")["step"] == 2
    assert state(tmp_path / "out")["run"]["frames"]["labelled"].startswith("10, ")
