"""Sparse labels: always part of the truth, always the same for a frame, as many as asked, on every data set."""

from __future__ import annotations

import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from fake_data import write_deliver
from fake_trees import write_mcubes
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import ValidationError
from raised import user_error

from any2seg_core.data.catalogue import open_dataset
from any2seg_core.data.deliver import DeliverDataset
from any2seg_core.data.sparse import SparseConfig, sparse_labels
from any2seg_core.vocabulary.labels import IGNORE, NOT_ANNOTATED, is_labelled

KINDS = (
    SparseConfig(kind="points", count=7, seed=3),
    SparseConfig(kind="points", count=3, every_class=True),
    SparseConfig(kind="blocks", count=2, side=5),
    SparseConfig(kind="blocks", count=4, side=3, every_class=True, seed=1),
    SparseConfig(kind="scribbles", side=1),
    SparseConfig(kind="scribbles", side=3),
)
TRUTHS = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=23)).map(
    lambda array: np.select([array < 200, array < 230], [array % 4, np.uint8(IGNORE)], np.uint8(NOT_ANNOTATED))
)


def regions(H: int = 61, W: int = 83, seed: int = 0) -> np.ndarray:
    """Smooth regions of five classes, and some void."""
    noise = np.random.default_rng(seed).normal(size=(H, W)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 6)
    labels = np.digitize(smooth / smooth.std(), [-1.0, -0.3, 0.3, 1.0]).astype(np.uint8)
    labels[:2] = IGNORE
    return labels


@given(labels=TRUTHS, name=st.text(max_size=8))
@pytest.mark.parametrize("config", KINDS, ids=str)
def test_property_part_of_the_truth_and_the_same_again(config, labels, name):
    before = labels.copy()
    sparse = sparse_labels(labels, name, config)
    kept = is_labelled(sparse)
    assert sparse.dtype == np.uint8 and sparse.shape == labels.shape
    assert np.array_equal(sparse[kept], labels[kept])
    assert np.all(sparse[~kept] == NOT_ANNOTATED)
    assert np.array_equal(sparse_labels(labels, name, config), sparse)
    assert np.array_equal(labels, before)


@given(labels=TRUTHS, count=st.integers(1, 40), every_class=st.booleans(), seed=st.integers(0, 9))
def test_property_number_of_points(labels, count, every_class, seed):
    config = SparseConfig(kind="points", count=count, every_class=every_class, seed=seed)
    sparse = sparse_labels(labels, "a/b/000001", config)
    there = is_labelled(labels)
    classes = np.unique(labels[there])
    least = max(count, len(classes)) if every_class else count
    assert is_labelled(sparse).sum() == min(least, there.sum())
    if every_class:
        assert np.array_equal(np.unique(sparse[is_labelled(sparse)]), classes)


def test_value_points_are_uniform_over_the_labelled_pixels():
    """1000 frames of 10 clicks on 8x9 pixels, 6 of them void: each of the others gets 1000 * 10 / 66 = 151.5."""
    labels = np.zeros((8, 9), np.uint8)
    labels[0, :6] = IGNORE
    config = SparseConfig(kind="points", count=10)
    counts = sum(is_labelled(sparse_labels(labels, f"frame{n}", config)).astype(int) for n in range(1000))
    assert np.all(counts[0, :6] == 0)
    others = counts[is_labelled(labels)]
    assert others.sum() == 10_000
    variance = 1000 * (10 / 66) * (56 / 66)  # of a draw without replacement
    statistic = float(((others - others.mean()) ** 2 / variance).sum())  # about chi-squared, 65 degrees of freedom
    assert 30 < statistic < 110


def test_value_seed_and_name_decide():
    labels = regions()
    config = SparseConfig(kind="points", count=20)
    first = sparse_labels(labels, "sun/MAP_1/000001", config)
    assert not np.array_equal(first, sparse_labels(labels, "sun/MAP_1/000002", config))
    assert not np.array_equal(first, sparse_labels(labels, "sun/MAP_1/000001", config.model_copy(update={"seed": 1})))
    fewer = sparse_labels(labels, "sun/MAP_1/000001", config.model_copy(update={"count": 5}))
    assert is_labelled(fewer).sum() == 5


def test_value_every_process_draws_the_same():
    labels = regions()
    own = [zlib.crc32(sparse_labels(labels, "fog/x/000007", config).tobytes()) for config in KINDS]
    program = (
        "import sys, zlib; sys.path[:0] = ['tests', 'tests/core/data', 'tests/training']\n"
        "from test_sparse import KINDS, regions, sparse_labels\n"
        "print([zlib.crc32(sparse_labels(regions(), 'fog/x/000007', config).tobytes()) for config in KINDS])"
    )
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.strip() == str(own)


def test_value_blocks_are_squares_of_the_truth():
    labels = np.arange(99, dtype=np.uint8).reshape(9, 11)  # every pixel another class
    sparse = sparse_labels(labels, "x", SparseConfig(kind="blocks", count=1, side=5))
    rows, columns = np.nonzero(is_labelled(sparse))
    assert len(rows) == (rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1)
    assert 9 <= len(rows) <= 25  # cut at the border


def test_value_scribble_along_a_bar():
    """A bar of 7 x 40: the stroke is its middle line, but for the ends, and one pixel wide."""
    labels = np.full((21, 60), 3, np.uint8)
    labels[7:14, 10:50] = 1
    sparse = sparse_labels(labels, "x", SparseConfig(kind="scribbles", side=1))
    rows, columns = np.nonzero(sparse == 1)
    assert set(rows) <= {9, 10, 11}
    assert len(rows) == len(set(columns))
    assert 30 <= len(rows) <= 40
    assert is_labelled(sparse)[labels == 3].any()


def test_property_scribbles_are_thin_connected_and_leave_no_large_region_out():
    labels = regions(120, 161, 4)
    sparse = sparse_labels(labels, "x", SparseConfig(kind="scribbles", side=1))
    assert is_labelled(sparse).mean() < 0.08
    for k in range(5):
        count, region, stats, _ = cv2.connectedComponentsWithStats((labels == k).astype(np.uint8), connectivity=8)
        for number in range(1, count):
            strokes = ((region == number) & (sparse == k)).astype(np.uint8)
            assert cv2.connectedComponents(strokes, connectivity=8)[0] <= 2  # one stroke and the background
            if stats[number, cv2.CC_STAT_AREA] > 300:
                assert strokes.any()


def test_exception_settings():
    with pytest.raises(ValidationError, match="count has no effect on scribbles"):
        SparseConfig(kind="scribbles", count=50)
    with pytest.raises(ValidationError, match="seed has no effect on lidar"):
        SparseConfig(kind="lidar", seed=4)
    with pytest.raises(ValidationError, match="side must be odd"):
        SparseConfig(kind="blocks", side=4)


@pytest.mark.parametrize("cache", ["none", "ram"])
def test_value_data_set_keeps_the_clicks_of_each_frame(tmp_path: Path, cache):
    root = write_deliver(tmp_path, {"train": 2})
    config = SparseConfig(kind="points", count=9)
    dense, frames = DeliverDataset(root, "train"), DeliverDataset(root, "train", cache=cache, sparse=config)
    for index, frame in enumerate(dense.frames):
        expected = sparse_labels(dense[index].labels, frame.name, config)
        assert np.array_equal(frames[index].labels, expected)
        assert np.array_equal(frames.labels(index), expected)
    assert sum(int(is_labelled(labels).sum()) for labels in frames.readable_labels()) == 4 * 9


def test_value_lidar_labels_stand_where_the_plane_has_points(tmp_path: Path):
    root = write_deliver(tmp_path, {"train": 1})
    path = next((root / "lidar").rglob("*.png"))
    plane = np.zeros((64, 96, 3), np.uint8)
    plane[40, 30], plane[0, 0], plane[50, 90, 2] = (1, 2, 3), 9, 7
    cv2.imwrite(str(path), plane)
    frames = open_dataset("auto", root, "train", sparse=SparseConfig(kind="lidar"))
    index = [frame.condition for frame in frames.frames].index(path.parts[-4])
    found = frames[index].labels
    truth = frames.read_labels(frames.frames[index])
    assert np.argwhere(is_labelled(found)).tolist() == [[40, 30], [50, 90]]  # the void pixel at 0, 0 stays without
    assert found[40, 30] == truth[40, 30]


def test_exception_data_set_without_a_lidar(tmp_path: Path):
    root = write_mcubes(tmp_path, {"train": 1}, (64, 256))
    with user_error("option-unsupported", "mcubes", "use points, scribbles or blocks"):
        open_dataset("auto", root, "train", sparse=SparseConfig(kind="lidar"))
