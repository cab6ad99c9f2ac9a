"""Batches: the same samples whatever the number of workers; corrupt frames are replaced and counted across workers."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_data import write_deliver
from fake_trees import write_mcubes
from raised import user_error

from any2seg_core.data.augment import Augment
from any2seg_core.data.catalogue import open_dataset
from any2seg_core.data.images import CorruptFileError
from any2seg_core.faults.planes import Degradation, DegradationConfig
from any2seg_training.batches import (
    AugmentedSample,
    MixedNumbers,
    SampleKey,
    SampleNumbers,
    collate,
    to_model_input,
    training_batches,
)
from any2seg_training.build import build_contract
from any2seg_training.config import TrainConfig

AUGMENT = Augment(32, 48, jitter_probability=0.5, blur_probability=0.5)


def take(
    frames, workers: int, count: int = 4, degradation: Degradation | None = None, with_clean: bool = False
) -> list:
    numbers = MixedNumbers([SampleNumbers(len(frames), 3, 7)])
    batches = training_batches(frames.modalities, [frames], AUGMENT, numbers, workers, degradation, with_clean)
    return list(itertools.islice(batches, count))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_deliver(tmp_path_factory.mktemp("deliver"), {"train": 3}, (40, 56))


DEGRADATION = Degradation(DegradationConfig(probability=0.7, further=0.5))


@pytest.mark.parametrize("degradation", [None, DEGRADATION], ids=["whole", "with faults"])
def test_property_workers_do_not_change_a_single_byte(root: Path, degradation: Degradation | None):
    frames = open_dataset("deliver", root, "train")
    alone = take(frames, 0, degradation=degradation)
    for workers in (1, 3):
        for batch, expected in zip(take(frames, workers, degradation=degradation), alone, strict=True):
            assert torch.equal(batch.labels, expected.labels)
            assert batch.present.shape == (3, 4) and batch.present.all()
            assert list(batch.planes) == list(expected.planes)
            assert all(torch.equal(batch.planes[name], expected.planes[name]) for name in batch.planes)
            assert batch.keys == expected.keys
    assert not torch.equal(alone[0].labels, alone[1].labels)


def test_value_faults_leave_labels_and_the_augmentation_as_they_are(root: Path):
    """What is drawn for a fault changes nothing else: other samples, and other sensors, are those without faults."""
    frames = open_dataset("deliver", root, "train", cache="ram")
    plain, faulty = take(frames, 0), take(frames, 0, degradation=DEGRADATION)
    same = []
    for batch, expected in zip(faulty, plain, strict=True):
        assert torch.equal(batch.labels, expected.labels) and batch.keys == expected.keys
        pairs = ((batch.planes[name], expected.planes[name]) for name in batch.planes)
        same += [torch.equal(*rows) for pair in pairs for rows in zip(*pair, strict=True)]
    assert 0.2 < np.mean(same) < 0.9  # 0.7 of the samples lose 0.6 of their sensors or so
    assert all(batch.clean is None for batch in faulty)  # nobody asked for them
    unchanged = take(frames, 0)  # planes in memory are shared: nobody has written to them
    assert all(torch.equal(a.planes["rgb"], b.planes["rgb"]) for a, b in zip(unchanged, plain, strict=True))


def test_value_teachers_get_the_planes_without_faults(root: Path):
    """What a loader without faults gives, of the sensors that have one, and of no other."""
    frames = open_dataset("deliver", root, "train", cache="ram")
    plain, faulty = take(frames, 0), take(frames, 2, degradation=DEGRADATION, with_clean=True)
    spoiled = 0
    for batch, expected in zip(faulty, plain, strict=True):
        clean = batch.clean or {}
        for name, planes in expected.planes.items():
            has_fault = not torch.equal(batch.planes[name], planes)
            assert has_fault <= (name in clean)  # thin fog may change no pixel
            spoiled += has_fault
            assert torch.equal(clean.get(name, planes), planes)
    assert spoiled > 4
    assert all(batch.clean is None for batch in take(frames, 0, with_clean=True))


@pytest.mark.parametrize("workers", [0, 2])
def test_value_a_corrupt_frame_is_replaced_by_the_next_and_counted(root: Path, tmp_path: Path, workers: int):
    broken = write_deliver(tmp_path, {"train": 3}, (40, 56))
    path = sorted((broken / "lidar").rglob("*.png"))[1]
    path.write_bytes(path.read_bytes()[:30])
    lenient = open_dataset("deliver", broken, "train", skip_corrupt=True)
    batches = take(lenient, workers)
    wanted = [MixedNumbers([SampleNumbers(6, 3, 7)]).batch(step) for step in range(4)]
    assert len(batches) == 4
    for batch, keys in zip(batches, wanted, strict=True):  # the key names the frame that was read
        assert batch.keys == [key._replace(frame=2) if key.frame == 1 else key for key in keys]
    assert sum(key.frame == 2 for batch in batches for key in batch.keys) == 4  # asked for twice, stood in twice
    assert lenient.skipped == (lenient.frames[1].name,)  # two epochs, several processes, one frame
    strict = open_dataset("deliver", broken, "train")
    with user_error("file-format", path.name, kind=CorruptFileError):
        take(strict, 0)


def test_value_fine_planes_reach_the_model_as_they_are(tmp_path: Path):
    """MCubeS: sixteen bits and signs survive batching and normalisation."""
    root = write_mcubes(tmp_path, {"train": 3}, (40, 248))
    frames = open_dataset("mcubes", root, "train")
    calm = {"flip_probability": 0, "jitter_probability": 0, "blur_probability": 0}
    plain = Augment(40, 56, (1.0, 1.0), **calm, suite=frames.suite)
    numbers = MixedNumbers([SampleNumbers(3, 3, 0)])
    planes = next(training_batches(frames.modalities, [frames], plain, numbers, 0)).planes
    contract = build_contract(TrainConfig(data=root, out="o", height=64, width=64), frames)
    images = to_model_input(planes, contract, torch.device("cpu"))
    assert list(images) == ["rgb", "aolp", "dolp", "nir"]
    stored = {name: np.stack([frames[index].planes[name] for index in range(3)]) for name in ("aolp", "dolp")}
    for name, expected in stored.items():
        got = images[name].permute(0, 2, 3, 1).numpy()  # (B, H, W, C)
        assert sorted(got[:, 5, 7, 1].tolist()) == pytest.approx(sorted((expected[:, 5, 7, 1] / 255).tolist()))
    assert images["aolp"].min() < -0.5
    assert contract.label_space.name == "mcubes-20"
    assert contract.encodings["rgb"] == "linear16-1"


def test_value_frames_that_lack_a_sensor_are_masked():
    """Two frames of 5x7: one without LiDAR, none with events; float planes stay float where somebody has them."""
    rng = np.random.default_rng(3)
    rgb = rng.integers(1, 256, (2, 5, 7, 3), np.uint8)
    lidar = rng.random((5, 7, 3), np.float32)
    labels = np.zeros((5, 7), np.uint8)
    first = AugmentedSample({"rgb": rgb[0]}, labels, SampleKey(0, 4, 1))
    second = AugmentedSample({"rgb": rgb[1], "lidar": lidar}, labels, SampleKey(1, 9, 0))
    batch = collate(("rgb", "event", "lidar"), [first, second])
    assert batch.keys == [SampleKey(0, 4, 1), SampleKey(1, 9, 0)]
    assert batch.present.tolist() == [[True, False, False], [True, False, True]]
    assert list(batch.planes) == ["rgb", "event", "lidar"]
    assert torch.equal(batch.planes["rgb"], torch.from_numpy(rgb).permute(0, 3, 1, 2))
    assert batch.planes["event"].shape == (2, 3, 5, 7) and not batch.planes["event"].any()
    assert batch.planes["lidar"].dtype == torch.float32 and not batch.planes["lidar"][0].any()
    assert torch.equal(batch.planes["lidar"][1], torch.from_numpy(lidar).permute(2, 0, 1))
