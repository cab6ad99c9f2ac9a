from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import yaml
from bag_files import (
    CLOUD,
    IMAGE,
    NS_PER_S,
    START_NS,
    kitti_entries,
    lidar_calibration,
    lidar_entries,
    small_entries,
    write_bag,
    write_ros1,
    write_split,
)  # fmt: skip
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from rosbags.rosbag2 import CompressionMode, StoragePlugin

from any2seg_core.bags.inspection import inspect_bag
from any2seg_core.bags.opened import BagOptions, open_bag
from any2seg_core.bags.recommend import params_yaml, recommend
from any2seg_core.bags.timing import StreamLog, phase_of, timing_of
from any2seg_core.base.errors import UserError
from any2seg_core.cli.inspect_tables import WIDTH, render_inspection
from any2seg_core.messages import serialise
from any2seg_core.sensors.calibration import save_calibration
from any2seg_core.sync.parameters import load_params_file


def text_of(found):
    console = Console(width=WIDTH, record=True, file=open("/dev/null", "w"))  # noqa: SIM115 ends with the process
    console.print(render_inspection(found))
    return console.export_text()


def log_of(stamps_ms, latency_ms=0.0):
    log = StreamLog()
    latencies = np.broadcast_to(latency_ms, len(stamps_ms))
    for stamp_ms, late_ms in zip(stamps_ms, latencies, strict=True):
        stamp_ns = START_NS + round(stamp_ms * 1e6)
        log.add(stamp_ns + round(late_ms * 1e6), stamp_ns, 100)
    return log


def test_value_timing_by_hand():
    """Periods 100, 100, 100, 400, 102 ms: median 100; off by 0, 0, 0, 300, 2; one gap."""
    timing = timing_of(log_of([0, 100, 200, 300, 700, 802], 7.0), START_NS)
    assert timing.period_ms == pytest.approx(100.0)
    assert timing.rate_hz == pytest.approx(10.0)
    assert timing.jitter_p50_ms == pytest.approx(0.0)
    assert timing.jitter_p95_ms == pytest.approx(np.percentile([0, 0, 0, 300, 2], 95))
    assert (timing.gaps, timing.repeated, timing.backwards) == (1, 0, 0)
    assert timing.longest_gap_s == pytest.approx(0.4)
    assert timing.longest_gap_at_s == pytest.approx(0.307)
    assert timing.latency_p50_ms == pytest.approx(7.0)


def test_value_stamps_that_repeat_and_go_back_are_counted():
    timing = timing_of(log_of([0, 100, 100, 200, 150, 300]), START_NS)
    assert (timing.repeated, timing.backwards) == (1, 1)
    assert timing_of(log_of([5.0]), START_NS).period_ms is None
    assert timing_of(StreamLog(), START_NS).latency_p50_ms is None


@pytest.mark.parametrize(("rate_hz", "phase_ms"), [(10, -15.0), (10, 40.0), (20, 3.0), (5, -30.0)])
def test_value_phase_against_the_reference(rate_hz, phase_ms):
    camera = log_of(np.arange(0, 5000, 100), 20.0)
    stream = log_of(np.arange(0, 5000, 1000 / rate_hz) + phase_ms, 50.0)
    phase = phase_of(stream, camera)
    assert phase.offset_ms == pytest.approx(phase_ms, abs=1e-3)
    assert phase.spread_ms == pytest.approx(0.0, abs=1e-3)
    assert not phase.drifts
    assert phase.wait_p95_ms == pytest.approx(phase_ms + 30.0, abs=1e-3)


def test_value_rates_without_a_common_beat_drift():
    phase = phase_of(log_of(np.arange(0, 20000, 93.7)), log_of(np.arange(0, 20000, 100)))
    assert phase.drifts


def test_value_recommended_parameters_by_hand():
    camera, lidar = log_of(range(0, 9000, 100), 5.0), log_of(range(-15, 9000, 100), 45.0)
    slow = log_of(range(0, 9000, 500))
    logs = {"rgb": camera, "depth": slow, "lidar": lidar}
    timings = {name: timing_of(log, START_NS) for name, log in logs.items()}
    phases = {name: phase_of(logs[name], camera) for name in ("depth", "lidar")}
    parameters = recommend(timings, phases, {})
    assert parameters["lidar"] == {"offset_s": -0.015, "noise_window_s": 0.002, "max_age_s": 0.15}
    assert parameters["depth"]["max_age_s"] == 0.75
    assert parameters["timeout_s"] == 0.035  # 25 ms after the picture, and 10 ms to spare
    assert parameters["timeout_without_reference_s"] == 0.75
    assert recommend({}, {}, {}) == {}
    document = yaml.safe_load(params_yaml(parameters))
    assert document["/**"]["ros__parameters"]["modalities"] == ["rgb", "depth", "lidar"]


def test_value_event_packets_stamped_at_their_begin_get_their_length_as_noise():
    """An offset would move the times of their events, which are right."""
    camera, packets = log_of(range(0, 9000, 100), 5.0), log_of(np.arange(0, 9000, 25.0), 26.0)
    timings = {name: timing_of(log, START_NS) for name, log in (("rgb", camera), ("event", packets))}
    parameters = recommend(timings, {"event": phase_of(packets, camera)}, {"event": 25.0})
    assert parameters["event"] == {"offset_s": 0.0, "noise_window_s": 0.025, "max_age_s": 0.15}


def test_value_recommended_parameters_make_complete_sets(tmp_path):
    """The file that inspect prints, given back: every picture with its own sweep, which the defaults do not find."""
    bag = write_bag(tmp_path / "bag", kitti_entries(8))
    found = inspect_bag(bag)
    params = tmp_path / "params.yaml"
    params.write_text(params_yaml(found.parameters))
    assert load_params_file(params)["lidar.offset_s"] == pytest.approx(-0.03)
    with open_bag(bag, BagOptions(params=params)) as opened:
        ages = [s.sample_set.age_ns["lidar"] for s in opened.sets() if "lidar" in s.sample_set.samples]
    assert ages == [0] * 7


def test_value_kitti_like_recording(tmp_path):
    found = inspect_bag(write_bag(tmp_path / "bag", kitti_entries(8)))
    assert found.reference == "rgb"
    assert found.phases["lidar"].offset_ms == pytest.approx(-30.0)
    camera = found.topics["/kitti/camera_color_left/image"]
    assert (camera.role, camera.count, camera.peek.width, camera.peek.height) == ("rgb", 8, 1242, 375)
    assert camera.timing.latency_p50_ms == pytest.approx(12.0)
    assert "-r '~/in/points:=/kitti/velo/pointcloud' \\" in found.node_command
    text = text_of(found)
    assert max(map(len, text.splitlines())) <= WIDTH
    for word in ("1242x375", "latched", "best effort", "-30.0", "fall into the picture", "ros__parameters", "tf: velo"):
        assert word in text
    document = json.loads(json.dumps(found.document()))
    assert document["roles"]["streams"]["lidar"] == "/kitti/velo/pointcloud"
    assert document["topics"]["/tf_static"]["qos"][0]["durability"] == "transient_local"


def test_value_clock_skew_and_gaps_are_noted(tmp_path):
    entries = [(t + 3600 * NS_PER_S, *rest) for t, *rest in small_entries(30)]
    notes = " ".join(inspect_bag(write_bag(tmp_path / "skew", entries)).notes)
    assert "3600.0 s" in notes
    entries = small_entries(30)
    del entries[10:20]
    notes = " ".join(inspect_bag(write_bag(tmp_path / "gap", entries)).notes)
    assert "1 gaps" in notes and "1.10 s" in notes


def test_value_several_cameras_and_how_to_choose(tmp_path):
    entries = small_entries(3, "/cam_left/image") + small_entries(3, "/cam_front/image")
    text = text_of(inspect_bag(write_bag(tmp_path / "bag", sorted(entries))))
    assert "rgb could also be /cam_left/image: choose with --topic rgb=/cam_left/image" in text


def test_value_wrong_extrinsics_are_suspected(tmp_path):
    bag = write_bag(tmp_path / "bag", lidar_entries(3))
    calibration = lidar_calibration()
    turned = calibration.lidar_to_camera.copy()
    turned[:3, :3] = turned[:3, :3] @ np.diag([-1.0, 1.0, -1.0])  # the camera looks at the scan from below
    turned[1, 3] = 500.0
    save_calibration(tmp_path / "c.yaml", type(calibration)(calibration.camera, lidar_to_camera=turned))
    notes = inspect_bag(bag, BagOptions(calibration=tmp_path / "c.yaml")).notes
    assert "wrong" in notes[-1]


NO_STAMP = serialise.image(np.zeros((4, 6), np.uint8), "mono8", 0, "")
BAGS = {
    "kitti": lambda p: write_bag(p / "b", kitti_entries(3)),
    "lidar": lambda p: write_bag(p / "b", lidar_entries(3)),
    "sqlite": lambda p: write_bag(p / "b", kitti_entries(3), StoragePlugin.SQLITE3),
    "zstd": lambda p: write_bag(p / "b", kitti_entries(3), compression=CompressionMode.STORAGE),
    "zstd messages": lambda p: write_bag(p / "b", kitti_entries(3), compression=CompressionMode.MESSAGE),
    "lz4": lambda p: write_bag(p / "b", kitti_entries(3), lz4_chunks=True),
    "split": lambda p: write_split(p / "b", [kitti_entries(3)[:3], kitti_entries(3)[3:]]),
    "ros1": lambda p: write_ros1(p / "b.bag", kitti_entries(3), "LZ4"),
    "unknown type": lambda p: write_bag(p / "b", [(START_NS, "/s", "acme/msg/S", b"\0\1\0\0\1\0\0\0")]),
    "one message": lambda p: write_bag(p / "b", small_entries(1)),
    "empty": lambda p: write_bag(p / "b", []),
    "zero stamps": lambda p: write_bag(p / "b", [(START_NS + k, "/image", IMAGE, NO_STAMP) for k in range(4)]),
}  # fmt: skip


@pytest.mark.parametrize("make", BAGS.values(), ids=BAGS)
def test_smoke_every_bag_is_shown_within_the_terminal(tmp_path, make):
    bag = make(tmp_path)
    found = inspect_bag(bag)
    assert max(map(len, text_of(found).splitlines())) <= WIDTH
    assert json.dumps(found.document())
    if bag.is_dir():
        (bag / "metadata.yaml").unlink()
        assert inspect_bag(bag).warnings[0].startswith("no metadata.yaml")


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("originals")
    small = [e for e in kitti_entries(2) if e[2] != IMAGE] + small_entries(2)
    files = [next(write_bag(folder / s.name, sorted(small), s).glob(f"*.{e}")) for s, e in
             ((StoragePlugin.MCAP, "mcap"), (StoragePlugin.SQLITE3, "db3"))]  # fmt: skip
    return [(file.suffix, file.read_bytes()) for file in files]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_property_broken_bags_are_shown_or_refused_in_one_line(originals, tmp_path_factory, data):
    suffix, whole = data.draw(st.sampled_from(originals))
    damaged = bytearray(whole)
    for position in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=6)):
        damaged[position] ^= data.draw(st.integers(1, 255))
    damaged = damaged[: data.draw(st.integers(len(whole) // 4, len(whole)))]
    folder = tmp_path_factory.mktemp("damaged")
    (folder / f"drive{suffix}").write_bytes(bytes(damaged))
    try:
        assert text_of(inspect_bag(folder / f"drive{suffix}"))
    except UserError as error:
        assert "\n" not in str(error)
    shutil.rmtree(folder)


def test_value_a_pause_of_everything_is_named_as_one(tmp_path):
    later = small_entries(20, start_ns=START_NS + 7202 * NS_PER_S)
    notes = inspect_bag(write_bag(tmp_path / "bag", small_entries(20) + later)).notes
    assert "the clock jumps forward by 2.0 h at 1.9 s, or recording was paused" in notes


@pytest.mark.parametrize(("ahead_s", "told"), [(37, "37.0 s after"), (-37, "37.0 s before"), (100, "100.0 s after")])
def test_value_the_clock_of_ptp_is_known_by_its_leap_seconds(tmp_path, ahead_s, told):
    entries = [(time_ns - ahead_s * NS_PER_S, *rest) for time_ns, *rest in small_entries(30)]
    notes = " ".join(inspect_bag(write_bag(tmp_path / "bag", entries)).notes)
    assert told in notes and "another clock" in notes
    assert ("TAI" in notes) == (ahead_s == 37)


def test_value_messages_without_a_stamp_are_counted_and_named(tmp_path):
    """A stamp of 0, and one that no clock can show, among good ones."""
    entries = small_entries(10)
    pixels = np.zeros((5, 7), np.uint8)
    for k, stamp_ns in ((3, 0), (6, 0)):
        time_ns, topic, kind, _ = entries[k]
        entries[k] = (time_ns, topic, kind, serialise.image(pixels, "mono8", stamp_ns, "camera"))
    found = inspect_bag(write_bag(tmp_path / "bag", entries))
    timing = found.topics["/camera/image_raw"].timing
    assert (timing.bad_stamps, timing.backwards, found.topics["/camera/image_raw"].count) == (2, 0, 10)
    assert "rgb: 2 of its messages have a stamp that is none, and are not used" in found.notes


@pytest.mark.parametrize(("ahead_s", "side"), [(37, "ahead of"), (-37, "behind"), (5.25, "ahead of")])
def test_value_a_lidar_of_another_clock_gets_the_offset_that_brings_sets_together(tmp_path, ahead_s, side):
    """The sweep is stamped 30 ms before the picture, by a clock that is off; sets need what is recommended."""
    entries = []
    for time_ns, topic, kind, data in kitti_entries(8):
        if kind == CLOUD:
            (sec, nanosec) = divmod(int.from_bytes(data[4:8], "little") * NS_PER_S
                                    + int.from_bytes(data[8:12], "little") + round(ahead_s * NS_PER_S), NS_PER_S)
            data = data[:4] + sec.to_bytes(4, "little") + nanosec.to_bytes(4, "little") + data[12:]
        entries.append((time_ns, topic, kind, data))
    bag = write_bag(tmp_path / "bag", entries)
    found = inspect_bag(bag)
    assert found.parameters["lidar"]["offset_s"] == pytest.approx(ahead_s - 0.03, abs=1e-4)
    (note,) = [line for line in found.notes if "lidar: its clock is" in line]
    apart_s = ahead_s - 0.03
    assert f"its clock is {abs(apart_s):.1f} s {side} that of rgb: lidar.offset_s: {round(apart_s, 4)}" in note
    assert ("TAI" in note) == (abs(ahead_s) == 37)
    params = tmp_path / "p.yaml"
    params.write_text(params_yaml(found.parameters))
    for options, count in ((BagOptions(params=params), 6), (BagOptions(), 0)):
        with open_bag(bag, options) as opened:
            assert sum({"rgb", "lidar"} <= set(each.sample_set.samples) for each in opened.sets()) >= count
            if not count:
                assert not any({"rgb", "lidar"} <= set(each.sample_set.samples) for each in opened.sets())


def test_value_a_frozen_camera_is_named_with_its_time(tmp_path):
    entries, image = kitti_entries(40), "/kitti/camera_color_left/image"
    seen = next(data for _, topic, _, data in entries[60:] if topic == image)

    def as_frozen(entry):
        time_ns, topic, kind, data = entry
        if topic == image and 1.5 < (time_ns - START_NS) / NS_PER_S < 3.0:
            data = data[:12] + seen[12:]  # its own stamp, another picture
        return time_ns, topic, kind, data

    found = inspect_bag(write_bag(tmp_path / "bag", map(as_frozen, entries)))
    assert found.topics[image].frozen_s == pytest.approx(1.4)  # pictures at 1.512, ..., 2.912 s
    (note,) = [note for note in found.notes if "frozen" in note]
    assert "rgb" in note and "1.4 s at 1.5 s" in note
    sound = inspect_bag(write_bag(tmp_path / "sound", kitti_entries(8)))
    assert sound.topics[image].frozen_s == 0.0
    assert sound.topics["/kitti/velo/pointcloud"].frozen_s is None
    assert not any("frozen" in note for note in sound.notes)
