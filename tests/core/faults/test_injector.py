from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recording import CAMERA, MS, START_NS, TOPICS, decoded, image, images, packet, sweep

from any2seg_core.bags.reader import Recorded, header_stamp_ns
from any2seg_core.faults.grammar import parse_drop, parse_fault
from any2seg_core.faults.injector import FaultInjector
from any2seg_core.faults.kinds import KINDS
from any2seg_core.messages import cloud_to_events, cloud_to_points, image_to_rgb, serialise


def inject(messages, *texts, seed=0):
    injector = FaultInjector([parse_fault(text) for text in texts], TOPICS, seed)
    return list(injector(messages)), injector


def stamps_ms(messages):
    return [(header_stamp_ns(message.data) - START_NS) // MS for message in messages]


def arrivals_ms(messages):
    return [(message.time_ns - START_NS) // MS for message in messages]


def test_value_drop_takes_the_window_and_the_camera_info_with_it():
    info = serialise.camera_info
    infos = [
        Recorded(TOPICS.camera_infos["rgb"], "sensor_msgs/msg/CameraInfo", m.time_ns, info(CAMERA, m.time_ns))
        for m in images(10)
    ]
    other = Recorded("/odom", "x/msg/Y", START_NS + 350 * MS, b"")
    stream = sorted([*images(10), *infos, other], key=lambda message: message.time_ns)
    injector = FaultInjector(parse_drop("camera@0.3:0.6"), TOPICS)
    out = list(injector(stream))
    kept = [message for message in out if message.topic == TOPICS.streams["rgb"]]
    assert stamps_ms(kept) == [0, 100, 200, 600, 700, 800, 900]
    assert len(out) == 7 + 7 + 1
    assert injector.counts == {"drop:rgb@0.3:0.6": {"rgb": 3}}


def test_value_delay_keeps_stamps_and_orders_by_arrival():
    out, _ = inject(images(6), "delay:rgb@0.1:0.3,delay_s=0.25")
    assert stamps_ms(out) == [0, 300, 100, 400, 200, 500]
    assert arrivals_ms(out) == [0, 300, 350, 400, 450, 500]


def test_value_delay_beyond_the_end_still_arrives():
    out, _ = inject(images(2), "delay:rgb,delay_s=3")
    assert arrivals_ms(out) == [3000, 3100]


def test_value_jitter_stays_within_its_bound():
    out, injector = inject(images(200, 10), "jitter:rgb,max_s=0.004")
    late_ns = np.array([message.time_ns - header_stamp_ns(message.data) for message in out])
    assert 0 <= late_ns.min() < late_ns.max() <= 4 * MS
    assert abs(late_ns.mean() - 2 * MS) < 0.3 * MS  # uniform: sd of the mean of 200 is 0.08 ms
    assert injector.counts["jitter:rgb,max_s=0.004"]["rgb"] == 200


def test_value_duplicate_and_reorder():
    out, _ = inject(images(3), "duplicate:rgb@0.1:0.2,copies=2")
    assert stamps_ms(out) == [0, 100, 100, 100, 200]
    out, _ = inject(images(7), "reorder:rgb@0.1:")
    assert stamps_ms(out) == [0, 200, 100, 400, 300, 600, 500]
    assert arrivals_ms(out) == [0, 200, 200, 400, 400, 600, 600]
    out, _ = inject(images(4), "reorder:rgb@0.3:")  # the last one has nobody to overtake it
    assert stamps_ms(out) == [0, 100, 200, 300]


def test_value_frozen_camera_repeats_the_picture_before_with_new_stamps():
    stream = images(5)
    out, _ = inject(stream, "freeze:rgb@0.2:0.4")
    assert stamps_ms(out) == [0, 100, 200, 300, 400]
    pictures = [image_to_rgb(decoded(message)) for message in out]
    for index, source in enumerate((0, 1, 1, 1, 4)):
        np.testing.assert_array_equal(pictures[index], image_to_rgb(decoded(stream[source])))


def test_value_frozen_events_move_along_with_the_stamp():
    stream = [packet(START_NS + index * 50 * MS) for index in range(3)]
    out, _ = inject(stream, "freeze:event@0.05:")
    frozen, source = cloud_to_events(decoded(out[2])), cloud_to_events(decoded(stream[0]))
    np.testing.assert_array_equal(frozen["t"], source["t"] + 100 * MS)
    np.testing.assert_array_equal(frozen["x"], source["x"])


def test_value_skew_moves_stamps_and_event_times_not_arrivals():
    out, _ = inject([packet(START_NS)], "skew:event,offset_s=-0.2")
    assert stamps_ms(out) == [-200]
    assert arrivals_ms(out) == [0]
    moved, source = cloud_to_events(decoded(out[0])), cloud_to_events(decoded(packet(START_NS)))
    np.testing.assert_array_equal(moved["t"], source["t"] - 200 * MS)
    out, _ = inject(images(11), "skew:rgb@0.5:,offset_s=0,drift_ppm=10000")
    assert stamps_ms(out) == [0, 100, 200, 300, 400, 500, 601, 702, 803, 904, 1005]


def test_value_lost_beams_are_the_same_in_every_sweep():
    stream = [sweep(START_NS), sweep(START_NS + 100 * MS)]
    out, _ = inject(stream, "beams:lidar,share=0.5")
    kept_slices, lost_slices = [], []
    for before, after in zip(stream, out, strict=True):
        points, kept = cloud_to_points(decoded(before)), cloud_to_points(decoded(after))
        assert 0.2 < len(kept) / len(points) < 0.8
        elevation_deg = np.degrees(np.arctan2(points[:, 2], np.hypot(points[:, 0], points[:, 1])))
        survivors = {tuple(point) for point in kept}
        is_kept = np.array([tuple(point) in survivors for point in points])
        assert is_kept.sum() == len(kept)
        kept_slices.append(set(elevation_deg[is_kept] // 0.5))
        lost_slices.append(set(elevation_deg[~is_kept] // 0.5))
    assert not set().union(*kept_slices) & set().union(*lost_slices)
    assert inject(stream, "beams:lidar,share=0")[0] == stream


def test_value_broken_and_foreign_messages_pass_unchanged():
    broken = replace(image(START_NS), data=image(START_NS).data[:60])
    empty = replace(image(START_NS + MS), data=b"")
    out, injector = inject([broken, empty], "exposure:rgb", "blur:rgb")
    assert out == [broken, empty]
    assert not any(injector.counts["blur:rgb"].values())


@pytest.mark.parametrize("kind", KINDS)
def test_property_seed_decides_and_nothing_else(kind):
    """Same seed: same bytes, whatever other faults there are and in whichever order they are listed."""
    stream = sorted(
        [*images(12), *(sweep(START_NS + (i * 100 + 7) * MS) for i in range(12)),
         *(packet(START_NS + (i * 50 + 3) * MS) for i in range(24))],
        key=lambda message: message.time_ns,
    )  # fmt: skip
    wide = ",length=0.4" if kind == "blur" else ""  # a share of 33 pixels
    text = f"{kind}@0.2:0.9,probability=0.6{wide}"
    first, injector = inject(stream, text, seed=3)
    assert first == inject(stream, text, seed=3)[0]
    assert first != inject(stream, text, seed=4)[0]
    assert sum(injector.counts[str(parse_fault(text))].values()) > 0
    sensors = parse_fault(text).sensors
    other = "drop:depth"
    assert first == inject(stream, other, text, seed=3)[0] == inject(stream, text, other, seed=3)[0]
    untouched = [m for m in stream if TOPICS.sensor_of(m.topic) not in sensors]
    assert [m for m in first if TOPICS.sensor_of(m.topic) not in sensors] == untouched


ANY_TEXT = st.sampled_from(["drop", "delay:rgb,delay_s=0.03", "jitter", "duplicate", "reorder", "freeze", "skew"])


@given(st.lists(ANY_TEXT))
def test_property_arrivals_never_go_back_and_nothing_is_invented(texts):
    stream = images(9, 20)
    out, _ = inject(stream, *(f"{text},probability=0.5" for text in texts))
    arrivals = [message.time_ns for message in out]
    assert arrivals == sorted(arrivals)
    assert {message.topic for message in out} <= {message.topic for message in stream}
    if not any(text in ("drop", "duplicate") for text in texts):
        assert len(out) == len(stream)


def test_value_memory_does_not_grow_with_the_recording():
    def stream(count):
        return (image(START_NS + index * 10 * MS) for index in range(count))

    peaks = []
    for count in (50, 400):
        injector = FaultInjector([parse_fault("delay:rgb,delay_s=0.1"), parse_fault("reorder:rgb")], TOPICS)
        tracemalloc.start()
        assert sum(1 for _ in injector(stream(count))) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 50_000  # one image is 2.8 kB: 350 of them would be a megabyte


def test_value_a_fault_that_hits_nothing_in_its_time_says_so():
    _, injector = inject(images(10), "drop:rgb@0.3:0.5", "drop:lidar@0.2:0.4", "drop:rgb@0.41:0.49", "drop:rgb@20:30")
    assert injector.idle() == ["fault drop:lidar@0.2:0.4 hit no message", "fault drop:rgb@0.41:0.49 hit no message"]
