"""Messages of every kind and format of sensor, as a suite says: grey, thermal counts and radar clouds."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from any2seg_core.base.errors import MessageError
from any2seg_core.messages import array_to_image_fields
from any2seg_core.messages.readers import StreamReader
from any2seg_core.vocabulary.modalities import SensorSuite
from any2seg_core.vocabulary.sensor import Sensor

SUITE = SensorSuite(
    "van",
    (
        Sensor("front", "F", "image"),
        Sensor("grey", "G", "image", "grey"),
        Sensor("cold", "C", "image", "thermal8"),
        Sensor("hot", "H", "image", "thermal16", value_range=(0, 60000)),
        Sensor("polarised", "P", "image", "plane"),
        Sensor("lidar", "L", "points"),
        Sensor("radar", "R", "points", value_range=(-20, 40)),
    ),
)
RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (7, 5), dtype=np.uint8)
COUNTS = RNG.integers(0, 65536, (7, 5), dtype=np.uint16)
COLOURS = RNG.integers(0, 256, (7, 5, 3), dtype=np.uint8)


def raw(pixels: np.ndarray, encoding: str) -> SimpleNamespace:
    return SimpleNamespace(**array_to_image_fields(pixels, encoding))


def compressed(pixels: np.ndarray, format_: str, kind: str = ".png", head: bytes = b"") -> SimpleNamespace:
    return SimpleNamespace(format=format_, data=head + cv2.imencode(kind, pixels)[1].tobytes())


def cloud(**columns: list[float]) -> SimpleNamespace:
    rows = np.zeros(len(next(iter(columns.values()))), [(name, "<f4") for name in columns])
    for name, values in columns.items():
        rows[name] = values
    fields = [SimpleNamespace(name=name, offset=4 * k, datatype=7, count=1) for k, name in enumerate(columns)]
    return SimpleNamespace(height=1, width=len(rows), fields=fields, is_bigendian=False, point_step=rows.itemsize,
                           row_step=rows.nbytes, data=rows.tobytes())  # fmt: skip


def read(name: str, message: SimpleNamespace, **arguments: int) -> np.ndarray:
    return StreamReader(**arguments, suite=SUITE).read(name, message)


@pytest.mark.parametrize(
    "message",
    [raw(COUNTS, "mono16"), raw(COUNTS, "16UC1"), compressed(COUNTS, "16UC1; png compressed "),
     compressed(COUNTS, "16UC1; compressedDepth png", head=bytes(12)), compressed(COUNTS, "tiff", ".tiff")],
    ids=["mono16", "16UC1", "png", "compressedDepth", "tiff"],
)  # fmt: skip
def test_value_thermal16_keeps_its_counts(message):
    found = read("hot", message)
    assert found.dtype == np.uint16
    assert np.array_equal(found, COUNTS)


@pytest.mark.parametrize(
    "message",
    [raw(BYTES, "mono8"), raw(BYTES, "8UC1"), compressed(BYTES, "mono8; png compressed "),
     raw(np.repeat(BYTES[..., None], 3, axis=2), "rgb8")],
    ids=["mono8", "8UC1", "png", "grey as colour"],
)  # fmt: skip
@pytest.mark.parametrize("name", ["cold", "grey"])
def test_value_eight_bits_of_one_channel(name, message):
    assert np.array_equal(read(name, message), BYTES)


def test_value_grey_of_colours_and_of_sixteen_bits():
    expected = cv2.cvtColor(COLOURS, cv2.COLOR_RGB2GRAY)
    assert np.array_equal(read("grey", raw(COLOURS, "rgb8")), expected)
    assert np.array_equal(read("grey", raw(COLOURS[..., ::-1], "bgr8")), expected)
    assert np.array_equal(read("grey", compressed(COLOURS[..., ::-1], "bgr8; png compressed bgr8")), expected)
    for message in (raw(COUNTS, "mono16"), raw(COUNTS, "16UC1"), compressed(COUNTS, "mono16; png compressed ")):
        assert np.array_equal(read("grey", message, image_bits=16), COUNTS >> 8)
    assert np.array_equal(read("grey", raw(COUNTS >> 4, "mono16"), image_bits=12), COUNTS >> 8)


def test_value_planes_are_taken_as_they_are():
    assert np.array_equal(read("polarised", raw(COLOURS, "rgb8")), COLOURS)
    assert np.array_equal(read("polarised", raw(BYTES, "mono8")), np.repeat(BYTES[..., None], 3, axis=2))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hot", raw(BYTES, "mono8")), ("cold", raw(COUNTS, "mono16")), ("cold", compressed(COUNTS, "mono16; png")),
        ("hot", raw(COLOURS, "rgb8")), ("cold", raw(COLOURS, "bgr8")), ("hot", compressed(BYTES, "mono8; png")),
        ("hot", compressed(COUNTS, "32FC1; compressedDepth png", head=bytes(12))),
        ("grey", raw(BYTES.astype(np.float32), "32FC1")), ("hot", raw(BYTES.astype(np.float32), "32FC1")),
    ],
)  # fmt: skip
def test_exception_images_of_another_format(name, message):
    with pytest.raises(MessageError) as caught:
        read(name, message)
    assert caught.value.reason == "encoding"
    assert "\n" not in str(caught.value)


def test_value_radar_intensities_are_shares_of_their_range():
    nan, inf = float("nan"), float("inf")
    message = cloud(x=[1, 2, 3, 4, 5, 6, nan], y=[0] * 7, z=[0] * 7, rcs=[-20, 40, 10, -50, nan, inf, 0])
    found = read("radar", message)
    assert found[:, 0].tolist() == [1, 2, 3, 4, 5, 6]
    assert found[:, 3].tolist() == [0, 1, 0.5, 0, 0, 1]  # (10 + 20) / 60


@pytest.mark.parametrize("field", ["rcs", "RCS", "radar_cross_section", "power", "snr", "amplitude", "intensity"])
def test_value_fields_that_a_radar_s_intensity_has(field):
    assert read("radar", cloud(x=[1], y=[0], z=[0], **{field: [-5]}))[0, 3] == 0.25


def test_value_two_clouds_have_two_scales():
    reader = StreamReader(suite=SUITE)
    assert reader.read("lidar", cloud(x=[1, 1], y=[0, 0], z=[0, 0], intensity=[51, 255]))[:, 3].tolist() == [
        np.float32(0.2), 1.0,
    ]  # fmt: skip
    assert reader.read("radar", cloud(x=[1], y=[0], z=[0], rcs=[40]))[0, 3] == 1.0
    assert reader.read("lidar", cloud(x=[1], y=[0], z=[0], intensity=[51]))[0, 3] == np.float32(0.2)


def test_value_bits_of_each_camera_are_found_apart():
    reader = StreamReader(suite=SUITE)
    reader.read("front", raw(np.full((7, 5), 1000, np.uint16), "mono16"))
    reader.read("grey", raw(np.full((7, 5), 4000, np.uint16), "mono16"))
    notes = reader.take_notes()
    assert [note.split(":")[0] for note in notes] == ["front", "grey"]
    assert "10 bits" in notes[0] and "12 bits" in notes[1]
    assert reader.take_notes() == []
