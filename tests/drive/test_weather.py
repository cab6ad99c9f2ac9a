"""Weather effects one by one, on images whose answer is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from raised import user_error

from any2seg_core.faults.physics import shake_points
from any2seg_core.vocabulary.cases import FAILURES
from any2seg_drive import weather as w
from any2seg_drive.failures import checked_failure, exposure_factor, motion_blur


def test_value_every_weather_has_a_deliver_folder_and_a_light():
    assert set(w.FOLDERS.values()) == {"cloud", "fog", "night", "rain", "sun"}
    for name in w.FOLDERS:
        drawn = w.draw_weather(name, 5)
        assert np.linalg.norm(drawn.sun_direction) == pytest.approx(1.0)
        assert drawn == w.draw_weather(name, 5) and drawn != w.draw_weather(name, 6)
        assert (w.airlight(w.lighting_of(drawn, 5)) >= 0).all()


def test_exception_unknown_names_list_the_choices():
    with user_error("value-unknown", "hail", "cloudy"):
        w.draw_weather("hail", 0)
    with user_error("value-unknown", "lidarjitter"):
        checked_failure("broken")
    assert checked_failure(None) is None and [checked_failure(name) for name in FAILURES] == list(FAILURES)


def test_value_fog_follows_koschmieder():
    fog = replace(w.draw_weather("foggy", 0), visibility_m=39.12)
    air = np.float32([0.7, 0.75, 0.8])
    black = np.zeros((20, 31, 3), np.float32)
    near, far = (w.through_air(black, np.full((20, 31), r, np.float32), air, fog) for r in (10.0, 1000.0))
    np.testing.assert_allclose(near[10, 15], air * (1 - np.exp(-1.0)), rtol=1e-5)
    np.testing.assert_allclose(far[10, 15], air, rtol=1e-5)


def test_value_fog_blurs_what_it_lets_through():
    fog = replace(w.draw_weather("foggy", 0), visibility_m=40.0)
    image = np.zeros((60, 140), np.float32)
    image[:, 70:] = 1.0
    hazy = w.through_air(image, np.full(image.shape, 20.0, np.float32), 0.5, fog)
    steps = np.abs(np.diff(hazy[30])) / (hazy[30].max() - hazy[30].min())
    assert steps.max() < 0.75


def test_value_clear_air_changes_nothing():
    image = np.random.default_rng(0).random((5, 7, 3)).astype(np.float32)
    assert w.through_air(image, np.full((5, 7), 50.0), np.ones(3), w.draw_weather("sunny", 0)) is image


def test_value_more_rain_more_streaks():
    rain = w.draw_weather("rainy", 0)
    cover = [
        w.rain_streaks(75, 97, replace(rain, rain_mm_h=rate), 0.012, np.random.default_rng(1)) for rate in (5.0, 100.0)
    ]
    assert cover[0].shape == (75, 97) and cover[0].dtype == np.float32
    assert cover[1].min() >= 0 and cover[1].max() <= 1 and cover[1].mean() > 4 * cover[0].mean() > 0


def test_value_rain_drops_turn_the_scene_over():
    map_x, map_y, mask = w.lens_drops(60, 80, 3, np.random.default_rng(2))
    assert mask.max() == 1.0 and (mask > 0).mean() < 0.2
    y, x = np.mgrid[0:60, 0:80]
    outside = mask == 0
    np.testing.assert_array_equal(map_x[outside], x[outside])
    np.testing.assert_array_equal(map_y[outside], y[outside])
    assert (np.diff(map_x, axis=1)[(mask[:, 1:] == 1) & (mask[:, :-1] == 1)] < 0).mean() > 0.5


def test_value_exposure_reaches_its_key_or_stops_at_the_limit():
    day, night = w.draw_weather("cloudy", 0), w.draw_weather("night", 0)
    grey = np.full((4, 5, 3), 0.5, np.float32)
    assert w.auto_exposure(grey, day) * 0.501 == pytest.approx(day.key, rel=1e-3)
    assert w.auto_exposure(np.zeros((4, 5, 3), np.float32), night) == night.max_gain


def test_value_noise_grows_with_gain_and_at_night():
    signal = np.full((100, 100, 3), 0.1, np.float32)

    def deviation(name, gain):
        return w.sensor_noise(signal, gain, w.draw_weather(name, 0), np.random.default_rng(0)).std()

    assert deviation("sunny", 8.0) > 2 * deviation("sunny", 1.0)
    assert deviation("night", 8.0) > 2 * deviation("sunny", 8.0)


def test_value_glare_peaks_at_the_sun_and_fades_behind():
    x, y = np.meshgrid(np.linspace(-1, 1, 41), np.linspace(-1, 1, 31))
    rays = np.stack([x, y, np.ones_like(x)], axis=-1)
    rays = (rays / np.linalg.norm(rays, axis=-1, keepdims=True)).astype(np.float32)
    glare = w.sun_glare(rays, np.array([0.0, 0.0, 1.0]), 1.0)
    assert np.unravel_index(glare.argmax(), glare.shape) == (15, 20) and glare.min() > 0
    assert w.sun_glare(rays, np.array([0.0, 0.0, -1.0]), 1.0).max() == 0


def test_value_depth_noise_grows_with_the_square_of_depth():
    clear = replace(w.draw_weather("sunny", 0), depth_hole_share=0.0)
    deviation = []
    for depth in (10.0, 40.0):
        measured = w.measure_depth(np.full((200, 200), depth, np.float32), clear, np.random.default_rng(0))
        assert measured.dtype == np.float32
        deviation.append((measured - depth).std())
    assert deviation[1] / deviation[0] == pytest.approx(16.0, rel=0.02)
    assert deviation[0] == pytest.approx(4e-4 * 100, rel=0.1)


def test_value_depth_beyond_its_range_is_far():
    clear = w.draw_weather("sunny", 0)
    depth = np.array([[5.0, 79.0, 120.0, 1000.0]], np.float32).repeat(200, axis=0)
    measured = w.measure_depth(depth, clear, np.random.default_rng(0))
    assert (measured[:, 2:] == w.FAR_M).all() and np.median(measured[:, 0]) == pytest.approx(5.0, abs=0.05)
    assert (measured[:, 0] == w.FAR_M).mean() < 0.03


def test_value_motion_blur_keeps_the_light_and_smears_a_point():
    point = np.zeros((101, 151, 3), np.float32)
    point[50, 75] = 1.0
    blurred = motion_blur(point, np.random.default_rng(0))
    assert blurred.sum() == pytest.approx(point.sum(), rel=1e-4) and np.count_nonzero(blurred[..., 0]) >= 5


def test_value_exposure_factor_by_failure():
    rng = np.random.default_rng(0)
    assert exposure_factor(None, rng) == 1.0
    assert exposure_factor("overexposure", rng) > 3 and exposure_factor("underexposure", rng) < 0.2


def test_value_lidar_jitter_is_nearly_rigid():
    points = np.random.default_rng(0).uniform(-20, 20, (500, 4)).astype(np.float32)
    shaken = shake_points(points, np.random.default_rng(1))
    np.testing.assert_array_equal(points[:, 3], shaken[:, 3])
    distance = [np.linalg.norm(p[:250, :3] - p[250:, :3], axis=1) for p in (points, shaken)]
    assert np.abs(distance[0] - distance[1]).mean() < 0.1
    assert np.linalg.norm(points - shaken, axis=1).mean() > 0.1
