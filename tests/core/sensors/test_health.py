"""Ill sensors are named, healthy ones in bad weather are not."""

from __future__ import annotations

import numpy as np
import pytest
from raised import user_error

from any2seg_core.base.error_codes import MESSAGE_REASONS
from any2seg_core.sensors.events import EVENT_DTYPE
from any2seg_core.sensors.health import HEALTH_REASONS, HealthMonitor, image_fault
from any2seg_core.sensors.health_config import HealthConfig
from any2seg_core.vocabulary.modalities import VEHICLE

RGB, DEPTH, LIDAR = (VEHICLE.sensor(name) for name in ("rgb", "depth", "lidar"))

RNG = np.random.default_rng(1)
SCENE = RNG.integers(0, 200, (190, 301, 3), dtype=np.uint8)


def reason(fault):
    return None if fault is None else fault.reason


def night(lamp_share: float) -> np.ndarray:
    """Noise of a covered lens, with lamps on a share of the pixels."""
    image = RNG.integers(0, 6, (300, 401, 3), dtype=np.uint8)
    image[RNG.random((300, 401)) < lamp_share] = 180
    return image


def test_value_keys_of_health_and_of_messages_do_not_meet():
    assert not set(HEALTH_REASONS) & set(MESSAGE_REASONS)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (SCENE, None),
        (night(0.0), "black"),
        (np.zeros((1, 1, 3), np.uint8), "black"),
        (night(0.03), None),
        (SCENE // 16, None),  # badly underexposed, but a scene
        (np.full((37, 53, 3), 255, np.uint8), "saturated"),
        (np.maximum(SCENE, 120) + 50, None),
        (np.dstack([np.full((9, 8), 255, np.uint8), np.zeros((9, 8, 2), np.uint8)]), None),  # red light
    ],
)
def test_value_black_and_saturated_images(image, expected):
    assert reason(HealthMonitor().check(RGB, image, 1)) == expected


def test_value_thresholds_move_and_switch_off():
    dim = np.full((20, 20, 3), 30, np.uint8)
    assert reason(image_fault(dim, RGB, HealthConfig(black_level=40))) == "black"
    assert image_fault(dim, RGB, HealthConfig(black_level=20)) is None
    assert image_fault(np.zeros((20, 20, 3), np.uint8), RGB, HealthConfig(black_level=0)) is None
    assert image_fault(np.full((20, 20, 3), 255, np.uint8), RGB, HealthConfig(saturated_share=0)) is None
    assert HealthMonitor(HealthConfig(enabled=False)).check(RGB, night(0), 1) is None


def test_value_frozen_means_identical_bytes_of_different_messages():
    monitor = HealthMonitor(HealthConfig(frozen_frames=4))
    verdicts = [reason(monitor.check(RGB, SCENE, stamp)) for stamp in range(6)]
    assert verdicts == [None, None, None, "frozen", "frozen", "frozen"]
    moved = SCENE.copy()
    moved[5, 7, 1] ^= 1  # one bit, in a row that the short sum does not see
    assert monitor.check(RGB, moved, 6) is None
    assert monitor.check(RGB, moved, 7) is None


@pytest.mark.parametrize("buffers", [2, 3, 4])
def test_value_a_ring_of_buffers_under_new_stamps_is_frozen(buffers):
    monitor = HealthMonitor(HealthConfig(frozen_frames=6))
    ring = [np.roll(SCENE, k, axis=0) for k in range(buffers)]
    verdicts = [reason(monitor.check(RGB, ring[stamp % buffers].copy(), stamp)) for stamp in range(20)]
    assert verdicts == [None] * (buffers + 4) + ["frozen"] * (16 - buffers)
    assert monitor.check(RGB, SCENE[::-1], 20) is None


def test_value_one_message_used_in_many_sets_is_not_frozen():
    monitor = HealthMonitor(HealthConfig(frozen_frames=3))
    assert all(monitor.check(RGB, SCENE, 1) is None for _ in range(20))


def test_value_a_standing_car_with_sensor_noise_is_not_frozen():
    monitor = HealthMonitor(HealthConfig(frozen_frames=3))
    for stamp in range(10):
        noisy = SCENE.copy()
        noisy[RNG.integers(190), RNG.integers(301)] += 1  # a single pixel of noise is enough
        assert monitor.check(RGB, noisy, stamp) is None
    exact = np.full((20, 30), 5.0, np.float32)
    assert all(monitor.check(DEPTH, exact, stamp) is None for stamp in range(20))
    chosen = HealthMonitor(HealthConfig(frozen_frames=3, frozen_sensors=("depth",)))
    assert reason([chosen.check(DEPTH, exact, stamp) for stamp in range(4)][-1]) == "frozen"


def test_value_reset_forgets_the_repeats():
    monitor = HealthMonitor(HealthConfig(frozen_frames=3))
    for stamp in range(3):
        last = monitor.check(RGB, SCENE, stamp)
    monitor.reset()
    assert reason(last) == "frozen" and monitor.check(RGB, SCENE, 0) is None


@pytest.mark.parametrize("nothing", [0.0, np.nan, np.inf, -np.inf, 1000.0, -3.0])
def test_value_depth_without_a_value(nothing):
    depth = np.full((61, 80), nothing, np.float32)
    assert reason(HealthMonitor().check(DEPTH, depth, 1)) == "no_depth"
    depth[30:40] = 12.0
    assert HealthMonitor().check(DEPTH, depth, 1) is None


def test_value_sparse_clouds():
    monitor = HealthMonitor(HealthConfig(min_points=20))
    assert reason(monitor.check(LIDAR, np.zeros((19, 4), np.float32), 1)) == "sparse"
    assert monitor.check(LIDAR, np.ones((20, 4), np.float32), 1) is None
    assert HealthMonitor(HealthConfig(min_points=0)).check(LIDAR, np.zeros((0, 4), np.float32), 1) is None


def test_value_event_storm_counts_only_the_window():
    events = np.zeros(6000, EVENT_DTYPE)
    events["t"] = np.linspace(0, 100_000_000, 6000).astype(np.int64)
    monitor = HealthMonitor(HealthConfig(max_event_rate_hz=100))
    assert reason(monitor.check_events("event", events, 100_000_000, 50_000_000, 500)) == "event_storm"  # 3000/500/0.05
    assert monitor.check_events("event", events, 100_000_000, 50_000_000, 700) is None
    assert monitor.check_events("event", events, 400_000_000, 50_000_000, 5) is None


def test_value_event_silence_needs_messages_without_events_for_long():
    monitor = HealthMonitor(HealthConfig(event_silence_s=2.0))
    none, one = np.zeros(0, EVENT_DTYPE), np.zeros(1, EVENT_DTYPE)
    second = 10**9
    stamps = [k * second // 2 for k in range(8)]
    verdicts = [reason(monitor.check_events("event", none, stamp, 50_000_000, 100)) for stamp in stamps]
    assert verdicts == [None] * 4 + ["event_silence"] * 4
    assert monitor.check_events("event", one, stamps[-1] + 1, 50_000_000, 100) is None
    assert monitor.check_events("event", none, 0, 50_000_000, 100) is None  # time jumped back


def test_value_event_silence_begins_anew_after_a_pause():
    """Nobody looked for an hour: the sensor is not to blame for it."""
    monitor = HealthMonitor(HealthConfig(event_silence_s=4.0))
    none, one = np.zeros(0, EVENT_DTYPE), np.zeros(1, EVENT_DTYPE)
    second, hour = 10**9, 3600 * 10**9
    assert monitor.check_events("event", one, second, 50_000_000, 100) is None
    looks = [monitor.check_events("event", none, hour + k * second, 50_000_000, 100) for k in range(6)]
    assert [reason(fault) for fault in looks] == [None] * 4 + ["event_silence"] * 2
    assert "for 4 s" in looks[4].text


def test_value_events_between_the_windows_are_a_sign_of_life():
    """A slow model sees one window in a second; what the decoder counted in between tells that the sensor lives."""
    monitor = HealthMonitor(HealthConfig(event_silence_s=4.0))
    none = np.zeros(0, EVENT_DTYPE)
    for k in range(10):
        assert monitor.check_events("event", none, k * 10**9, 50_000_000, 100, total=k) is None
    verdicts = [reason(monitor.check_events("event", none, k * 10**9, 50_000_000, 100, total=9)) for k in range(10, 15)]
    assert verdicts == [None] * 3 + ["event_silence"] * 2


@pytest.mark.parametrize(
    "wrong", [{"black_level": -1}, {"saturated_share": 1.5}, {"min_points": -2}, {"frozen_sensors": ("sonar",)},
              {"event_silence_s": float("nan")}, {"black_level": 256}],
)  # fmt: skip
def test_exception_thresholds_out_of_range(wrong):
    told = ("sensor-unknown", "'sonar'") if "frozen_sensors" in wrong else ("value-range", *wrong)
    with user_error(*told):
        HealthConfig.of(wrong)


def test_value_repetition_grows_to_one_where_a_camera_counts_as_frozen():
    monitor = HealthMonitor(HealthConfig(frozen_frames=5))
    assert monitor.repetition("rgb") == 0.0
    image, shares = np.full((8, 9, 3), 90, np.uint8), []
    for stamp_ns in range(1, 7):
        monitor.check(RGB, image, stamp_ns)
        shares.append(monitor.repetition("rgb"))
    assert shares == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    monitor.check(RGB, image + 1, 9)
    assert monitor.repetition("rgb") == 0.0
