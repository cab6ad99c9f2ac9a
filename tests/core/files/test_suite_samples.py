"""Files of sensors of a suite: by kind and format, with their range."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from raised import user_error

from any2seg_core.files.samples import FileOptions, read_samples
from any2seg_core.vocabulary.modalities import SensorSuite
from any2seg_core.vocabulary.sensor import Sensor

SUITE = SensorSuite(
    "van",
    (
        Sensor("front", "F", "image"),
        Sensor("grey", "G", "image", "grey"),
        Sensor("cold", "C", "image", "thermal8"),
        Sensor("hot", "H", "image", "thermal16", value_range=(0, 60000)),
        Sensor("radar", "R", "points", value_range=(-20, 40)),
    ),
)
RNG = np.random.default_rng(0)
COUNTS = RNG.integers(0, 65536, (7, 5), dtype=np.uint16)
BYTES = RNG.integers(0, 256, (7, 5), dtype=np.uint8)
COLOURS = RNG.integers(0, 256, (7, 5, 3), dtype=np.uint8)


def test_value_each_sensor_is_read_as_its_format_says(tmp_path):
    files = {"front": COLOURS, "grey": COLOURS, "cold": BYTES, "hot": COUNTS}
    paths = {name: tmp_path / f"{name}.png" for name in files}
    for name, pixels in files.items():
        cv2.imwrite(str(paths[name]), pixels)
    rows = np.array([(1, 0, 0, -20), (2, 0, 0, 10), (3, 0, 0, 99)], [(name, "<f4") for name in ("x", "y", "z", "rcs")])
    paths["radar"] = tmp_path / "radar.npy"
    np.save(paths["radar"], rows)
    found = read_samples(paths, None, FileOptions(), SUITE)
    assert np.array_equal(found["front"], COLOURS[..., ::-1])
    assert np.array_equal(found["grey"], cv2.cvtColor(COLOURS, cv2.COLOR_BGR2GRAY))
    assert np.array_equal(found["cold"], BYTES)
    assert np.array_equal(found["hot"], COUNTS)
    assert found["radar"][:, 3].tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize(("name", "pixels"), [("hot", BYTES), ("cold", COUNTS), ("hot", COLOURS), ("cold", COLOURS)])
def test_exception_counts_of_another_size(name, pixels, tmp_path):
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), pixels)
    with user_error("file-content", "a.png", pixels.dtype, "format"):
        read_samples({name: path}, None, FileOptions(), SUITE)
