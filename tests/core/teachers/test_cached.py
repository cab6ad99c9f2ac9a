"""Folders of embeddings, as this project writes them and as a user may bring them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from raised import user_error

from any2seg_core.teachers.cached import CachedEmbeddings, read_embeddings, write_embeddings

CLASSES, MODALITIES, FRAMES = ("Road", "Cars", "Sky"), ("rgb", "depth", "lidar"), ["n/a/1", "n/a/2", "s/b/1", "s/b/2"]
CPU = torch.device("cpu")


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = {"class_names": (3, 5), "scene": (4, 5), "modality": (4, 3, 5)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture
def folder(tmp_path, arrays):
    write_embeddings(tmp_path / "classes.safetensors", {"class_names": arrays["class_names"]}, {"classes": CLASSES})
    split = {name: arrays[name] for name in ("scene", "modality")}
    write_embeddings(tmp_path / "train.safetensors", split, {"frames": FRAMES, "modalities": MODALITIES})
    return tmp_path


def load(folder, classes=CLASSES, modalities=MODALITIES, frames=FRAMES, needs_modalities=True) -> CachedEmbeddings:
    return CachedEmbeddings(folder, "train", classes, modalities, frames, needs_modalities)


def test_value_rows_follow_the_frames_and_modalities_asked_for(folder, arrays):
    cached = load(folder, modalities=("rgb", "lidar"), frames=["s/b/1", "n/a/1"])
    scene, modality = cached.rows([1, 0, 0], CPU)
    np.testing.assert_array_equal(scene, arrays["scene"][[0, 2, 2]])
    np.testing.assert_array_equal(modality, arrays["modality"][[0, 2, 2]][:, [0, 2]])
    np.testing.assert_array_equal(cached.class_names, arrays["class_names"])


def test_value_npz_without_modalities_serves_l_se(tmp_path, arrays):
    np.savez(tmp_path / "classes.npz", class_names=arrays["class_names"])
    np.savez(tmp_path / "train.npz", scene=arrays["scene"].astype(np.float16), frames=np.array(FRAMES))
    scene, modality = load(tmp_path, needs_modalities=False).rows([3], CPU)
    assert scene.dtype == torch.float32
    np.testing.assert_allclose(scene, arrays["scene"][[3]], rtol=1e-3, atol=1e-3)
    assert modality is None
    with user_error("embeddings-mismatch", "rgb, depth, lidar"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"classes": ("Road", "Cars")}, ("embeddings-mismatch", "2 classes")),
        ({"classes": ("Road", "Sky", "Cars")}, ("embeddings-mismatch", "classes.safetensors")),
        ({"modalities": ("rgb", "event")}, ("embeddings-mismatch", "event")),
        ({"frames": ["n/a/1", "x/y/9", "x/y/8"]}, ("embeddings-mismatch", "3 frames", "x/y/9")),
    ],
)
def test_exception_embeddings_of_something_else(folder, changes, told):
    with user_error(*told):
        load(folder, **changes)


def test_exception_missing_and_damaged_files(folder, arrays):
    (folder / "train.safetensors").write_bytes((folder / "train.safetensors").read_bytes()[:-7])
    with user_error("file-format", "train.safetensors"):
        load(folder)
    (folder / "train.safetensors").unlink()
    with user_error("embeddings-missing", "train.safetensors"):
        load(folder)
    np.savez(folder / "train.npz", scene=arrays["scene"][:2], frames=np.array(FRAMES))
    with user_error("embeddings-mismatch", "4 rows"):
        load(folder, needs_modalities=False)
    np.savez(folder / "train.npz", scene=np.full((4, 5), np.nan), frames=np.array(FRAMES))
    with user_error("not-finite"):
        load(folder, needs_modalities=False)
    np.savez(folder / "train.npz", scene=np.array([object()]))
    with user_error("file-format", "train.npz"):
        load(folder, needs_modalities=False)


def test_value_write_and_read(tmp_path, arrays):
    write_embeddings(tmp_path / "deep" / "x.safetensors", arrays, {"key": "k", "frames": FRAMES})
    back, facts = read_embeddings(tmp_path / "deep" / "x.safetensors")
    assert facts == {"key": "k", "frames": FRAMES}
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array)
