"""Content faults of what has to be decoded and written again: compressed and YUV pictures, event packets and arrays."""

from __future__ import annotations

import io
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from bag_files import event_array
from event_packets import STAMP_NS, evt3_words, packet, random_rows, to_bytes
from PIL import Image
from raised import user_error

from any2seg_core.faults.kinds import Blur, Exposure, Noise
from any2seg_core.faults.payloads import change_payload, shift_events
from any2seg_core.faults.physics import expose
from any2seg_core.messages import (
    EventStream,
    compressed_to_rgb,
    event_array_from_cdr,
    event_array_to_events,
    image_to_rgb,
)

MS = 1_000_000
DARKER = Exposure(stops=-2.0)


def rng(seed=0):
    return np.random.default_rng(seed)


def picture(channels=3, bits=8):
    """A smooth picture, 33x21, that jpeg keeps well."""
    y, x = np.mgrid[:21, :33]
    planes = [40 + 5 * x + k * y for k in range(channels)]
    return (np.stack(planes, 2) << (bits - 8)).astype(np.uint8 if bits == 8 else np.uint16)


def compressed(pixels, suffix, format_, options=()):
    encoded = cv2.imencode(suffix, pixels, list(options))[1]
    return SimpleNamespace(format=format_, data=encoded.reshape(-1), header=None)


@pytest.mark.parametrize(
    ("pixels", "suffix", "format_"),
    [
        (picture(), ".png", "bgr8; png compressed bgr8"),
        (picture(), ".png", "rgb8; png compressed rgb8"),
        (picture(), ".tiff", "bgr8; tiff compressed "),
        (picture(1), ".png", "mono8; png compressed mono8"),
        (picture(4), ".png", "bgra8; png compressed bgra8"),
        (picture(3, 16), ".png", "bgr16; png compressed bgr16"),
        (picture(1), ".png", "bayer_rggb8; png compressed bayer_rggb8"),
        (picture(), ".webp", "webp"),
    ],
)
def test_value_lossless_pictures_are_those_of_the_plain_fault(pixels, suffix, format_):
    options = (cv2.IMWRITE_WEBP_QUALITY, 101) if suffix == ".webp" else ()  # above 100: lossless
    message = compressed(pixels, suffix, format_, options)
    before = compressed_to_rgb(message)
    changed = change_payload(message, DARKER, rng())
    np.testing.assert_array_equal(compressed_to_rgb(changed), expose(before, -2.0))
    assert changed.format.split(";")[-1].split()[0] == format_.split(";")[-1].split()[0]
    np.testing.assert_array_equal(compressed_to_rgb(message), before)  # the message itself stays
    repeated = change_payload(message, DARKER, rng())
    assert repeated.data.tobytes() == changed.data.tobytes()


@pytest.mark.parametrize("format_", ["rgb8; jpeg compressed bgr8", "jpeg", "rgb8; jpeg compressed rgb8"])
@pytest.mark.parametrize("quality", [40, 95])
def test_value_jpeg_keeps_its_tables_and_subsampling(format_, quality):
    message = compressed(picture(), ".jpg", format_, (cv2.IMWRITE_JPEG_QUALITY, quality))
    changed = change_payload(message, DARKER, rng())
    one, other = (Image.open(io.BytesIO(each.data.tobytes())) for each in (message, changed))
    assert one.quantization == other.quantization
    assert one.layer == other.layer  # components with their sampling
    assert changed.format == format_
    difference = compressed_to_rgb(changed).astype(int) - expose(compressed_to_rgb(message), -2.0)
    assert np.abs(difference).mean() < (6 if quality == 40 else 2)
    blurred = compressed_to_rgb(change_payload(message, Blur(length=0.3), rng()))
    assert blurred.shape == (21, 33, 3)
    assert not np.array_equal(blurred, compressed_to_rgb(message))


@pytest.mark.parametrize("encoding", ["yuv422_yuy2", "bayer_grbg8", "nv12", "bgr16"])
def test_value_raw_images_without_a_colour_per_pixel_become_rgb(encoding):
    """The fault acts on colours: brighter YUV bytes would be another hue, a blurred Bayer pattern grey."""
    shapes = {"yuv422_yuy2": (20, 64, 2), "nv12": (30, 64, 1), "bgr16": (20, 64, 6), "bayer_grbg8": (20, 64, 1)}
    data = rng(1).integers(0, 256, shapes[encoding], np.uint8)
    message = SimpleNamespace(
        header=None, height=20, width=64, encoding=encoding, is_bigendian=0, step=data[0].nbytes, data=data.tobytes()
    )
    changed = change_payload(message, DARKER, rng())
    assert (changed.encoding, changed.step, changed.height) == ("rgb8", 3 * 64, 20)
    np.testing.assert_array_equal(image_to_rgb(changed), expose(image_to_rgb(message), -2.0))


def decoded_all(packets):
    stream = EventStream()
    return [stream.decode(each).events for each in packets]


def evt3_packets(count=4, vector=True):
    """A stream in packets of 400 events; only the first begins with the clock's upper half."""
    rows, packets, high = random_rows(400 * count), [], None
    for k in range(count):
        part = rows[400 * k : 400 * (k + 1)]
        words = evt3_words(part, vector, high)
        high = int(part[-1, 0]) >> 12 & 0xFFF
        packets.append(packet(to_bytes(words), k, STAMP_NS + int(part[0, 0] - rows[0, 0]) * 1000))
    return packets


def as_set(events):
    return {row.tobytes() for row in events}


@pytest.mark.parametrize("vector", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_value_evt3_noise_leaves_all_other_events_and_the_state_of_the_decoder(vector, order):
    packets = evt3_packets(vector=vector)
    if order == ">":
        packets = [
            packet(np.frombuffer(p.events, "<u2").astype(">u2").tobytes(), p.seq, is_bigendian=True) for p in packets
        ]
    noisy = [change_payload(each, Noise(rate_hz=900.0), rng(k)) for k, each in enumerate(packets)]
    plain, changed = decoded_all(packets), decoded_all([packets[0], noisy[1], packets[2], packets[3]])
    assert as_set(plain[1]) < as_set(changed[1])
    for k in (0, 2, 3):
        np.testing.assert_array_equal(plain[k], changed[k])
    assert (np.diff(changed[1]["t"]) >= 0).all()
    counts = sum(len(after) - len(before) for before, after in zip(plain, decoded_all(noisy), strict=True))
    span_s = sum(float(part["t"].max() - part["t"].min()) for part in plain) * 1e-9
    expected = 900.0 * 480 * 640 * span_s
    assert expected > 300
    assert abs(counts - expected) < 0.1 * expected + 5 * np.sqrt(expected)  # packets are noisy between their rows


@pytest.mark.parametrize("encoding", ["mono", "libcaer"])
def test_value_noise_in_packets_of_whole_words(encoding):
    random, base_ns = rng(3), STAMP_NS
    x, y, p = random.integers(0, 640, 300), random.integers(0, 480, 300), random.integers(0, 2, 300)
    t_us = np.sort(random.integers(0, 5000, 300))
    if encoding == "mono":
        words = t_us * 1000 | x << 32 | y << 48 | p << 63
    else:
        words = t_us << 32 | x << 17 | y << 2 | p << 1 | 1
    message = packet(words.astype("<u8").tobytes(), encoding=encoding, time_base=base_ns)
    before = EventStream().decode(message).events
    np.testing.assert_array_equal(before["t"], base_ns + t_us * 1000)
    after = EventStream().decode(change_payload(message, Noise(rate_hz=500.0), rng())).events
    assert as_set(before) < as_set(after)
    assert (np.diff(after["t"]) >= 0).all()
    expected = 500.0 * 480 * 640 * float(before["t"].max() - before["t"].min()) * 1e-9
    assert abs(len(after) - len(before) - expected) < 5 * np.sqrt(expected)
    assert set(np.unique(after["p"])) == {-1, 1}
    moved = EventStream().decode(shift_events(message, -30 * MS)).events
    np.testing.assert_array_equal(moved["t"], before["t"] - 30 * MS)


def test_value_repeated_evt3_words_look_new():
    """Old words 100 ms later: the sensor's clock has gone on, in steps of 4.096 ms, so events are new, never late."""
    first, *_ = evt3_packets(1)
    late_ns = STAMP_NS + 100 * MS
    stream = EventStream()
    original = stream.decode(first).events
    again = replace_header(shift_events(first, 100 * MS, is_repeated=True), late_ns)
    repeated = stream.decode(again).events
    np.testing.assert_array_equal(repeated["x"], original["x"])
    late = repeated["t"] - original["t"]
    assert (np.ptp(late), 95.9 * MS < late[0] <= 100 * MS) == (0, True)
    assert shift_events(first, 100 * MS) is first  # a host's clock that is off does not move the sensor's


def replace_header(message, stamp_ns):
    message.header = SimpleNamespace(stamp=SimpleNamespace(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9))
    message.seq += 1
    return message


def test_value_event_arrays_are_written_as_their_own_library_writes_them():
    cdr = event_array(STAMP_NS, range(6))
    message = event_array_from_cdr(cdr)
    before = event_array_to_events(message)
    assert shift_events(message, 0).cdr == cdr
    np.testing.assert_array_equal(event_array_to_events(shift_events(message, 7 * MS))["t"], before["t"] + 7 * MS)
    noisy = change_payload(message, Noise(rate_hz=1000.0), rng())
    after = event_array_to_events(event_array_from_cdr(noisy.cdr))
    assert as_set(before) < as_set(after)
    assert noisy.count == len(after)
    assert after["y"].max() <= 5  # the whole 9x6 sensor, though the events are in one row
    assert len(set(after["y"])) > 2
    none = replace(message, count=0, cdr=cdr[: message.first - 4] + bytes(4))
    assert change_payload(none, Noise(), rng()) is none
    assert shift_events(none, 5).cdr == none.cdr


@pytest.mark.parametrize(
    ("fault", "message", "told"),
    [
        (Noise(), packet(b"", encoding="libcaer_cmp"), ("message-unsupported", "libcaer_cmp")),
        (Noise(), packet(b"\0" * 3), ("message-length",)),
        (Noise(), compressed(picture(), ".png", "png"), ("message-unsupported",)),
        (DARKER, compressed(picture(1, 16), ".png", "16UC1; compressedDepth png"), ("message-encoding",)),
        (DARKER, SimpleNamespace(format="jpeg", data=b"\xff\xd8\xff", header=None), ("message-codec",)),
    ],
)
def test_exception_what_cannot_be_written_again_is_named(fault, message, told):
    with user_error(*told):
        change_payload(message, fault, rng())
