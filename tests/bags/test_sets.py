from __future__ import annotations

import struct

import numpy as np
import pytest
from bag_files import (
    CLOUD,
    IMAGE,
    INFO,
    KITTI_CAMERA,
    LIDAR_TO_CAMERA,
    NS_PER_S,
    START_NS,
    event_array,
    kitti_entries,
    scan,
    small_entries,
    write_bag,
)  # fmt: skip
from raised import user_error

from any2seg_core.bags.opened import open_bag
from any2seg_core.bags.reader import Recording
from any2seg_core.bags.sets import SetStream
from any2seg_core.faults.grammar import parse_fault
from any2seg_core.faults.injector import FaultInjector
from any2seg_core.messages import cloud_to_points, image_to_array, serialise
from any2seg_core.runtime.frame_builder import FrameBuilder
from any2seg_core.sensors.calibration import Calibration
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sensors.rig import SensorRig
from any2seg_core.sync import Synchronizer
from any2seg_core.sync.parameters import sync_config
from any2seg_core.vocabulary.topics import TopicMap

WINDOW_NS = 50_000_000
KITTI = TopicMap(
    {"rgb": "/kitti/camera_color_left/image", "lidar": "/kitti/velo/pointcloud"},
    {"rgb": "/kitti/camera_color_left/camera_info"},
)


def sets_of(path, topics, frames=None, transform=None, **values):
    with Recording(path) as bag:
        messages = bag.messages(topics.names)
        stream = SetStream(
            messages if transform is None else transform(messages),
            topics,
            sync_config(values, topics.streams, WINDOW_NS),
            frames or FrameBuilder(None, WINDOW_NS),
        )
        return list(stream), stream


def test_value_sets_of_a_camera_and_a_lidar(tmp_path):
    """Hand count: 8 pictures, 7 sweeps 30 ms before pictures 1 to 7; what arrives first is the sweep."""
    bag = write_bag(tmp_path / "bag", kitti_entries(8))
    sets, stream = sets_of(bag, KITTI, **{"lidar.offset_s": -0.03})
    assert [(s.stamp_ns - START_NS) // 100_000_000 for s in sets] == list(range(8))
    assert [set(s.sample_set.samples) for s in sets] == [{"rgb"}] + [{"rgb", "lidar"}] * 7
    assert stream.read == {"rgb": 8, "lidar": 7}
    assert stream.bad == {}
    for bag_set in sets[1:]:
        assert bag_set.sample_set.samples["lidar"][0].stamp_ns == bag_set.stamp_ns - 30_000_000
        assert bag_set.sample_set.age_ns["lidar"] == 0


def test_value_planes_are_those_of_the_rig(tmp_path):
    """The set's planes against SensorRig on the arrays that were written."""
    bag = write_bag(tmp_path / "bag", kitti_entries(4))
    calibration = Calibration(CameraModel.from_fov(10, 10, 91.0), lidar_to_camera=LIDAR_TO_CAMERA)
    sets, _ = sets_of(bag, KITTI, FrameBuilder(calibration, WINDOW_NS), **{"lidar.offset_s": -0.03})
    frame = sets[-1].frame()
    rig = SensorRig(Calibration(KITTI_CAMERA, lidar_to_camera=LIDAR_TO_CAMERA), WINDOW_NS)
    expected = rig.planes({"lidar": scan(3)}, sets[-1].stamp_ns)["lidar"]
    assert frame.errors == {}
    assert frame.planes["rgb"].shape == expected.shape == (375, 1242, 3)
    np.testing.assert_array_equal(frame.planes["lidar"], expected)
    assert expected.any()


def test_value_the_same_as_calling_the_synchroniser_by_hand(tmp_path):
    """Silence in the middle: the deadlines that pass in between must be polled at their own time."""
    silent = range(START_NS + 8 * NS_PER_S // 10, START_NS + 2 * NS_PER_S)
    entries = [e for e in kitti_entries(30) if e[2] != IMAGE or e[0] not in silent]
    bag = write_bag(tmp_path / "bag", entries)
    sets, _ = sets_of(bag, KITTI)
    synchronizer = Synchronizer(sync_config({}, KITTI.streams, WINDOW_NS))
    expected = []
    names = {topic: name for name, topic in KITTI.streams.items()}
    events = sorted((e[0], names[e[1]], serialise) for e in entries if e[1] in names for serialise in (e[3],))
    for millisecond in range(-100, 4000):  # a clock that ticks every millisecond
        now_ns = START_NS + millisecond * 1_000_000
        for time_ns, name, data in events:
            if now_ns - 1_000_000 < time_ns <= now_ns:
                seconds, nanoseconds = np.frombuffer(data, "<i4", 2, 4)
                expected += synchronizer.add(name, int(seconds) * NS_PER_S + int(nanoseconds), data, time_ns)
        expected += synchronizer.poll(now_ns)
    assert [(s.stamp_ns, s.sample_set.reference, set(s.sample_set.samples)) for s in sets] == [
        (s.stamp_ns, s.reference, set(s.samples)) for s in expected
    ]
    assert {s.sample_set.reference for s in sets} == {"rgb", "lidar"}


def test_value_twice_read_twice_the_same(tmp_path):
    bag = write_bag(tmp_path / "bag", kitti_entries(6))
    first, second = (sets_of(bag, KITTI)[0] for _ in range(2))
    assert [(s.stamp_ns, s.time_ns) for s in first] == [(s.stamp_ns, s.time_ns) for s in second]
    for one, other in zip(first, second, strict=True):
        for name in one.payloads:
            assert one.payloads[name][0].recorded.data == other.payloads[name][0].recorded.data


def test_value_a_transform_acts_before_the_synchroniser(tmp_path):
    bag = write_bag(tmp_path / "bag", kitti_entries(8))
    half_ns = START_NS + 4 * NS_PER_S // 10

    def no_camera_after_half(messages):
        return (m for m in messages if m.kind != IMAGE or m.time_ns < half_ns)

    sets, stream = sets_of(bag, KITTI, transform=no_camera_after_half, timeout_without_reference_s=0.05)
    assert stream.read == {"rgb": 4, "lidar": 7}
    assert [s.sample_set.reference for s in sets][-1] == "lidar"


def truth_entries(stamps_ns, delay_ns):
    return [
        (s + delay_ns, "/semantic", IMAGE, serialise.image(np.full((3, 4), k, np.uint8), "mono8", s, "camera"))
        for k, s in enumerate(stamps_ns)
    ]


@pytest.mark.parametrize("delay_ms", [0, 40, 700])
def test_value_truth_is_the_nearest_in_stamp_however_late_it_comes(tmp_path, delay_ms):
    images = small_entries(6)
    stamps = [START_NS + k * 100_000_000 + 20_000_000 * (-1) ** k for k in range(6)]
    entries = sorted(images + truth_entries(stamps, delay_ms * 1_000_000))
    topics = TopicMap({"rgb": "/camera/image_raw"}, {}, truth="/semantic")
    sets, _ = sets_of(write_bag(tmp_path / "bag", entries), topics)
    assert [int(image_to_array(s.truth)[0, 0]) for s in sets] == list(range(6))


def test_value_no_truth_near_enough_is_none_and_a_silent_truth_holds_nothing_back(tmp_path):
    entries = sorted(small_entries(40) + truth_entries([START_NS + 70_000_000], 0))
    topics = TopicMap({"rgb": "/camera/image_raw"}, {}, truth="/semantic")
    path = write_bag(tmp_path / "bag", entries)
    with Recording(path) as bag:
        config = sync_config({}, ["rgb"], WINDOW_NS)
        stream = SetStream(bag.messages(), topics, config, FrameBuilder(None, WINDOW_NS))
        held = [(stream.time_ns - s.time_ns, s.truth is None) for s in stream]
    assert [missing for _, missing in held] == [True, False] + [True] * 38  # 70 ms from the first, 30 from the second
    assert max(wait for wait, _ in held) <= 1_300_000_000  # a second, and until something happens


def test_value_bad_messages_are_counted_by_stream(tmp_path):
    entries = kitti_entries(4)
    index = next(k for k, e in enumerate(entries) if e[2] == IMAGE)
    bad_stamp = bytearray(entries[index][3])
    bad_stamp[8:12] = b"\xff\xff\xff\xff"
    wrong = CameraModel(1242, 375, [[289307.0, 0, 600], [0, 289307.0, 180], [0, 0, 1]])
    entries[index] = (*entries[index][:3], bytes(bad_stamp))
    entries.append((entries[-1][0] + 1, KITTI.camera_infos["rgb"], INFO, serialise.camera_info(wrong, START_NS)))
    bag = write_bag(tmp_path / "bag", entries)
    sets, stream = sets_of(bag, KITTI)
    assert stream.bad == {"rgb": 1, "rgb camera_info": 1}
    assert "implausible" in stream.reasons["rgb camera_info"]
    assert sets[-1].frames.rig.calibration.camera.K[0, 0] == KITTI_CAMERA.K[0, 0]


def test_value_a_message_that_cannot_be_read_costs_its_own_modality(tmp_path):
    entries = kitti_entries(3)
    index = max(k for k, e in enumerate(entries) if e[2] == CLOUD)
    entries[index] = (*entries[index][:3], entries[index][3][:60])
    sets, _ = sets_of(write_bag(tmp_path / "bag", entries), KITTI, **{"lidar.offset_s": -0.03})
    frame = sets[-1].frame()
    assert "damaged message" in frame.errors["lidar"]
    assert set(frame.planes) == {"rgb"}


def test_value_event_arrays_are_decoded_as_they_arrive(tmp_path):
    """The window of the last set holds its own packet alone: two events in column 5, 40 grey levels each."""
    entries = []
    for k in range(6):
        stamp_ns = START_NS + k * 50_000_000
        entries.append((stamp_ns, "/dvs/events", "dvs_msgs/msg/EventArray", event_array(stamp_ns, [k, k])))
    topics = TopicMap({"event": "/dvs/events"}, {})
    frames = FrameBuilder(Calibration(CameraModel.from_fov(9, 6, 91.0)), WINDOW_NS)
    sets, stream = sets_of(write_bag(tmp_path / "bag", entries), topics, frames)
    assert stream.bad == {}
    frame = sets[-1].frame()
    assert frame.errors == {}
    plane = frame.planes["event"]
    assert np.argwhere(plane[..., 0]).tolist() == [[1, 5]]
    assert plane[1, 5, 0] == 80


@pytest.mark.parametrize("offset_s", [-0.1, 0.04])
def test_value_event_offset_corrects_a_clock_that_is_off(tmp_path, offset_s):
    """Stamps and event times are off by a constant: with `event.offset_s` the planes are those of the right clock."""
    entries = small_entries(12)
    for k in range(120):
        stamp_ns = START_NS + k * 10_000_000
        entries.append((stamp_ns, "/dvs/events", "dvs_msgs/msg/EventArray", event_array(stamp_ns, [k % 9] * 9)))
    bag = write_bag(tmp_path / "bag", sorted(entries, key=lambda entry: entry[0]))
    topics = TopicMap({"rgb": "/camera/image_raw", "event": "/dvs/events"}, {})

    def planes(transform=None, **values):
        frames = FrameBuilder(Calibration(CameraModel.from_fov(9, 6, 91.0)), WINDOW_NS)
        sets, _ = sets_of(bag, topics, frames, transform, **values)
        return {each.stamp_ns: each.frame().planes["event"] for each in sets if each.sample_set.reference == "rgb"}

    right = planes()
    injector = FaultInjector([parse_fault(f"skew:event,offset_s={offset_s}")], topics, 0, START_NS)
    moved = planes(injector, **{"event.offset_s": offset_s})
    common = sorted(right.keys() & moved.keys())[3:]
    assert len(common) >= 5
    for stamp_ns in common:
        assert right[stamp_ns].any()
        np.testing.assert_array_equal(moved[stamp_ns], right[stamp_ns])


def test_smoke_events_come_as_windows(tmp_path):
    entries = []
    for k in range(8):
        stamp_ns = START_NS + k * 50_000_000
        events = np.zeros(4, dtype=[("x", "u2"), ("y", "u2"), ("t", "i8"), ("p", "i1")])
        events["t"], events["p"] = stamp_ns - np.array([30, 20, 10, 1]) * 1_000_000, 1
        entries.append((stamp_ns, "/dvs/events", CLOUD, serialise.event_cloud(events, stamp_ns, "dvs")))
    topics = TopicMap({"event": "/dvs/events"}, {})
    sets, _ = sets_of(write_bag(tmp_path / "bag", entries), topics)
    assert len(sets) == 8
    assert all(len(s.sample_set.samples["event"]) >= 1 for s in sets)
    with user_error("message-layout", "no field z"):
        cloud_to_points(sets[0].payloads["event"][0])


def test_value_messages_without_a_stamp_are_received_counted_and_named(tmp_path):
    """Two of eight pictures have the stamp 0, one a stamp before 1970: read = used + dropped by the synchroniser."""
    entries = kitti_entries(8)
    images = [k for k, entry in enumerate(entries) if entry[1].endswith("/image")]
    for k, stamp_ns in zip(images[2:5], (0, 0, -NS_PER_S), strict=True):
        time_ns, topic, kind, data = entries[k]
        sec, nanosec = divmod(stamp_ns, NS_PER_S)
        entries[k] = (time_ns, topic, kind, data[:4] + struct.pack("<iI", sec, nanosec) + data[12:])
    with open_bag(write_bag(tmp_path / "bag", entries)) as opened:
        stream = opened.sets()
        used = sum("rgb" in found.sample_set.samples for found in stream)
        stats = stream.stats.streams["rgb"]
    assert (stream.read["rgb"], stream.bad["rgb"], used) == (8, 3, 5)
    assert stats.added == 8 and stats.dropped["bad_stamp"] == 3
    assert "stamp" in stream.reasons["rgb"]


class _BlindCamera(FrameBuilder):
    """Finds no camera image usable."""

    def build(self, payloads, stamp_ns, offsets_ns):
        frame = super().build(payloads, stamp_ns, offsets_ns)
        frame.planes.pop("rgb", None)
        return frame


@pytest.mark.parametrize(("builder", "leader"), [(FrameBuilder, "rgb"), (_BlindCamera, "depth")])
def test_value_a_sensor_of_which_nothing_can_be_used_does_not_lead_offline_either(tmp_path, builder, leader):
    """The camera is an hour ahead and was there first, so that its sets hold nothing else."""
    entries = small_entries(40, start_ns=START_NS + 3600 * NS_PER_S)
    entries = [(time_ns - 3600 * NS_PER_S, topic, kind, data) for time_ns, topic, kind, data in entries]
    for time_ns, _, _, _ in entries[10:]:
        depth = serialise.image(np.full((5, 7), 2.0, np.float32), "32FC1", time_ns - 10, "camera")
        entries.append((time_ns + 5, "/depth", IMAGE, depth))
    topics = TopicMap({"rgb": "/camera/image_raw", "depth": "/depth"}, {})
    camera = CameraModel(7, 5, np.array([[5.0, 0, 3], [0, 5, 2], [0, 0, 1]]))
    with Recording(write_bag(tmp_path / "bag", entries)) as bag:
        frames = builder(Calibration(camera=camera), WINDOW_NS)
        stream = SetStream(bag.messages(topics.names), topics, sync_config({}, topics.streams, WINDOW_NS), frames)
        leaders = [bag_set.sample_set.reference for bag_set in stream if bag_set.frame() is not None]
    assert leaders[20:32] == [leader] * 12  # at the very end the one that was silent first is not waited for
