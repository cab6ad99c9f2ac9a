"""Payload faults against OpenCV and hand counts, on messages of rosbags and of a library that stores array.array."""

from __future__ import annotations

import array
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from raised import user_error
from recording import MS, START_NS, decoded, image, packet, sweep

from any2seg_core.base.errors import MessageError
from any2seg_core.faults.kinds import Beams, Blur, Exposure, Noise, Shake
from any2seg_core.faults.payloads import change_payload, shift_events
from any2seg_core.faults.physics import expose, lost_beams, smear, smear_display
from any2seg_core.messages import cloud_rows, cloud_to_events, cloud_to_points, image_to_array, image_to_rgb
from any2seg_core.messages.pixel_bits import PixelBits
from any2seg_core.sensors.events import EVENT_DTYPE


def rng(seed=0):
    return np.random.default_rng(seed)


def test_value_exposure_multiplies_light():
    pixels = np.arange(256, dtype=np.uint8)
    for stops in (-4.4, -1.0, 0.0, 2.8):
        expected = np.clip((pixels / 255.0) ** 2.2 * 2.0**stops, 0, 1) ** (1 / 2.2) * 255.0
        assert np.abs(expose(pixels, stops) - expected).max() <= 0.51
    np.testing.assert_array_equal(expose(pixels, 0.0), pixels)


def test_value_smear_is_the_box_mean_of_light_along_the_row():
    pixels = rng().integers(0, 256, (9, 41, 3), np.uint8)
    light = (pixels / 255.0) ** 2.2
    expected = cv2.blur(light, (7, 1), borderType=cv2.BORDER_REPLICATE) ** (1 / 2.2) * 255.0
    assert np.abs(smear_display(pixels, 7, 0.0) - expected).max() <= 0.51


@pytest.mark.parametrize("encoding", ["bgra8", "rgb8", "mono8"])
def test_value_image_faults_keep_encoding_header_and_alpha(encoding):
    message = decoded(image(START_NS, encoding))
    before = image_to_array(message).copy()
    for fault in (Exposure(stops=1.0), Blur(length=0.2)):
        changed = change_payload(message, fault, rng())
        assert (changed.encoding, changed.header, changed.step) == (message.encoding, message.header, message.step)
        after = image_to_array(changed)
        assert after.shape == before.shape
        assert not np.array_equal(after[..., :3] if encoding == "bgra8" else after, before[..., :3])
        if encoding == "bgra8":
            np.testing.assert_array_equal(after[..., 3], before[..., 3])
    np.testing.assert_array_equal(image_to_array(message), before)


def test_value_message_of_rclpy_keeps_its_container():
    source = decoded(image(START_NS, "rgb8"))
    fields = {name: getattr(source, name) for name in ("header", "height", "width", "encoding", "is_bigendian", "step")}
    message = SimpleNamespace(**fields, data=array.array("B", source.data.tobytes()))
    changed = change_payload(message, Exposure(stops=-1.0), rng())
    assert isinstance(changed.data, array.array)
    assert changed.data.typecode == "B"
    np.testing.assert_array_equal(image_to_rgb(changed), expose(image_to_rgb(source), -1.0))


def test_value_sixteen_bit_grey_becomes_colour():
    values = rng().integers(0, 65536, (5, 7), np.uint16)
    message = SimpleNamespace(height=5, width=7, encoding="mono16", is_bigendian=0, step=14, data=values.tobytes())
    changed = change_payload(message, Exposure(stops=0.0), rng())
    np.testing.assert_array_equal(image_to_rgb(changed), image_to_rgb(message))


@pytest.mark.parametrize("order", ["<", ">"])
def test_value_counts_of_a_thermal_image_are_changed_as_counts(order):
    """Twice the counts, clipped at 65535; a smear is OpenCV's box mean, for counts know no gamma."""
    values = rng().integers(20000, 40000, (9, 41), np.uint16)
    stored = values.astype(f"{order}u2").tobytes()
    fields = {"height": 9, "width": 41, "is_bigendian": int(order == ">"), "step": 82}
    message = SimpleNamespace(encoding="16UC1", data=stored, **fields)
    exposed = change_payload(message, Exposure(stops=1.0), rng(), is_counts=True)
    assert exposed.encoding == "16UC1"
    np.testing.assert_array_equal(image_to_array(exposed), np.minimum(2 * values.astype(int), 65535))
    black = change_payload(message, Exposure(stops=-20.0), rng(), is_counts=True)
    assert not image_to_array(black).any()
    blurred = image_to_array(change_payload(message, Blur(length=0.15), rng(4), is_counts=True)).astype(int)
    slope_rad = np.radians(rng(4).normal(0.0, 20.0))
    expected = smear(values[..., None].astype(np.float32), 7, slope_rad).reshape(9, 41)
    assert np.abs(blurred - expected).max() <= 0.51
    eight = SimpleNamespace(encoding="mono8", height=1, width=3, is_bigendian=0, step=3, data=bytes([10, 100, 200]))
    assert image_to_array(change_payload(eight, Exposure(stops=1.0), rng(), True)).tolist() == [[20, 200, 255]]
    with user_error("message-unsupported", "thermal", kind=MessageError):
        change_payload(SimpleNamespace(format="png", data=b""), Blur(), rng(), is_counts=True)


def test_value_beams_of_a_flat_radar_are_slices_of_azimuth():
    """720 points half a degree apart in one plane: about half of them are lost, and the same ones twice."""
    azimuth_rad = np.radians(np.arange(720) / 2 - 179.9)
    points = np.stack([20 * np.cos(azimuth_rad), 20 * np.sin(azimuth_rad), np.zeros(720)], axis=1)
    lost = lost_beams(points, None, 0.5, rng(3))
    assert 300 < lost.sum() < 420
    np.testing.assert_array_equal(lost, lost_beams(points, None, 0.5, rng(3)))
    assert not lost_beams(np.empty((0, 3)), None, 0.5, rng()).size


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_value_significant_bits_stay_so_that_a_stream_keeps_its_brightness(bits):
    values = rng().integers(0, 1 << bits, (5, 7), np.uint16)
    values[0, 0] = (1 << bits) - 1
    message = SimpleNamespace(height=5, width=7, encoding="mono16", is_bigendian=0, step=14, data=values.tobytes())
    stream = PixelBits()
    before = image_to_rgb(message, stream)
    after = image_to_rgb(change_payload(message, Exposure(stops=-1.0), rng()), stream)
    np.testing.assert_array_equal(after, expose(before, -1.0))
    assert before.max() == 255


def test_value_shaken_sweep_moves_as_one():
    message = decoded(sweep(START_NS))
    points, shaken = cloud_to_points(message), cloud_to_points(change_payload(message, Shake(), rng(1)))
    np.testing.assert_array_equal(shaken[:, 3], points[:, 3])
    moved, mean = shaken[:, :3] - shaken[:, :3].mean(0), points[:, :3] - points[:, :3].mean(0)
    u, _, vt = np.linalg.svd(mean.T @ moved)  # Kabsch: the rotation between the two
    residual = moved - mean @ (u @ vt)
    assert 0.03 < residual.std() < 0.05  # 4 cm per point is all that is not a rigid motion
    assert np.abs(shaken - points).max() > 0.1


def test_value_rings_are_lost_whole():
    points, ring = rng().normal(0, 10, (2000, 3)), rng(1).integers(0, 64, 2000)
    lost = lost_beams(points, ring, 0.3, rng(2))
    assert all(len(set(lost[ring == beam])) == 1 for beam in range(64))
    assert 0.1 < np.mean([lost[ring == beam][0] for beam in range(64)]) < 0.5
    assert not lost_beams(points, ring, 0.0, rng(2)).any()
    assert lost_beams(points, ring, 1.0, rng(2)).all()


def test_value_lost_beams_leave_the_other_points_as_they_are():
    message = decoded(sweep(START_NS))
    changed = change_payload(message, Beams(share=0.5), rng(3))
    assert changed.row_step == changed.width * changed.point_step == len(changed.data)
    rows = {row.tobytes() for row in cloud_rows(message)[0]}
    assert all(row.tobytes() in rows for row in cloud_rows(changed)[0])
    everything = change_payload(message, Beams(share=1.0), rng(3))
    assert cloud_to_points(everything).shape == (0, 4)


def test_value_noise_adds_a_poisson_rate_and_keeps_the_signal():
    message = decoded(packet(START_NS))
    events = cloud_to_events(message)
    noisy = cloud_to_events(change_payload(message, Noise(rate_hz=20.0), rng(4)))
    pixels = (int(events["y"].max()) + 1) * (int(events["x"].max()) + 1)
    expected = 20.0 * pixels * (events["t"].max() - events["t"].min()) * 1e-9
    assert abs(len(noisy) - len(events) - expected) < 5 * np.sqrt(expected)
    assert (np.diff(noisy["t"]) >= 0).all()
    assert set(np.unique(noisy["p"])) == {-1, 1}
    assert {row.tobytes() for row in events} <= {row.tobytes() for row in noisy}


def _native_events(times_ns):
    """CARLA's own layout: int64 bits where the field list says float64, and a width that counts bytes."""
    layout = np.dtype([("x", "<u2"), ("y", "<u2"), ("t", "<i8"), ("pol", "i1")])
    records = np.zeros(len(times_ns), layout)
    records["x"], records["t"], records["pol"] = np.arange(len(times_ns)), times_ns, 1
    fields = [SimpleNamespace(name="x", offset=0, datatype=4, count=1)]
    return SimpleNamespace(
        height=1, width=len(records), point_step=13, row_step=13 * len(records), is_bigendian=0, fields=fields,
        data=records.view(np.uint8),
    )  # fmt: skip


def test_value_integer_times_stay_integer_times():
    message = _native_events([START_NS + 1, START_NS + 7])
    np.testing.assert_array_equal(cloud_to_events(shift_events(message, 5))["t"], [START_NS + 6, START_NS + 12])
    noisy = cloud_to_events(change_payload(message, Noise(rate_hz=1000.0), rng()))
    assert noisy.dtype == EVENT_DTYPE
    assert noisy["t"].min() >= START_NS


def test_value_empty_packet_stays_empty():
    message = _native_events([])
    assert change_payload(message, Noise(), rng()) is message
    assert len(cloud_to_events(shift_events(message, 3 * MS))) == 0


def test_exception_a_cloud_without_coordinates_is_named():
    message = decoded(sweep(START_NS))
    message.fields = [field for field in message.fields if field.name != "z"]
    for fault in (Shake(), Beams()):
        with user_error("message-layout", "z"):
            change_payload(message, fault, rng())
