"""Event camera: one pixel at a time against a plain reference implementation, edges, noise, low resolution."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from any2seg_drive.events import EventModel, events_between, log_luminance, pixel_thresholds
from any2seg_drive.failures import low_resolution

QUIET = EventModel(threshold=0.2, threshold_spread=0.0, noise_hz=0.0, refractory_ns=0)
TIMES_NS = np.array([0, 10_000_000, 25_000_000, 50_000_000], np.int64)


def fire(levels, model=QUIET, seed=0, times_ns=TIMES_NS):
    thresholds = np.full(levels.shape[1:], model.threshold, np.float32)
    return events_between(levels.astype(np.float32), times_ns, thresholds, model, np.random.default_rng(seed))


def reference_events(levels, times_ns, threshold, start_reference):
    """One pixel, straight from the definition, in double precision."""
    found, reference = [], start_reference
    for (t0, low), (t1, high) in pairwise(zip(times_ns, levels, strict=True)):
        while abs(high - reference) >= threshold:
            sign = 1 if high > reference else -1
            reference += sign * threshold
            fraction = min(max((reference - low) / (high - low), 0.0), 1.0)
            found.append((t0 + fraction * (t1 - t0), sign))
    return found


def test_value_one_pixel_matches_the_definition():
    rng = np.random.default_rng(4)
    for seed in range(20):
        levels = np.cumsum(rng.normal(0, 0.5, (4, 1, 1)), axis=0)
        events = fire(levels, seed=seed)
        phase = np.random.default_rng(seed).random((1, 1), np.float32)[0, 0]
        column = levels[:, 0, 0].astype(np.float32).astype(float)
        start = column[0] - phase * 0.2 * (1 if column[1] >= column[0] else -1)
        expected = reference_events(column, TIMES_NS, np.float32(0.2), start)
        assert [sign for _, sign in expected] == events["p"].tolist()
        np.testing.assert_allclose(events["t"], [t for t, _ in expected], atol=2e4)


def test_value_brightening_edge_is_positive_and_its_wake_negative():
    def bar(column):
        image = np.full((12, 41), 0.1, np.float32)
        image[:, column : column + 10] = 0.8
        return log_luminance(image, QUIET)

    events = fire(np.stack([bar(c) for c in (5, 6, 7, 8)]))
    front, wake = events[events["x"] >= 13], events[events["x"] <= 10]
    assert len(front) and len(wake) and len(front) + len(wake) == len(events)
    assert (front["p"] == 1).all() and (wake["p"] == -1).all()


def test_value_count_is_unbiased_for_a_small_change():
    levels = np.zeros((2, 200, 300))
    levels[1] = 0.05  # a quarter of the threshold
    events = fire(levels, times_ns=TIMES_NS[[0, 3]])
    assert len(events) / 60_000 == pytest.approx(0.25, abs=0.01) and (events["p"] == 1).all()


def test_property_times_lie_in_the_window_and_ascend():
    levels = np.random.default_rng(0).normal(0, 1, (4, 9, 13))
    events = fire(levels, replace(QUIET, noise_hz=1000.0), times_ns=TIMES_NS + 7_000_000_000)
    assert len(events) > 100
    assert events["t"].min() >= 7_000_000_000 and events["t"].max() < 7_050_000_000
    assert (np.diff(events["t"]) >= 0).all()
    assert events["x"].max() <= 12 and events["y"].max() <= 8 and set(np.unique(events["p"])) == {-1, 1}


def test_value_static_scene_gives_only_background_noise():
    levels = np.full((4, 60, 80), -1.0)
    assert len(fire(levels)) == 0
    noise = fire(levels, replace(QUIET, noise_hz=5.0))
    assert len(noise) == pytest.approx(5.0 * 60 * 80 * 0.05, rel=0.15)


def test_value_refractory_period_separates_the_events_of_a_pixel():
    levels = np.linspace(0, 4, 4)[:, None, None] * np.ones((1, 1, 1))
    events = fire(levels, replace(QUIET, refractory_ns=5_000_000))
    assert len(events) > 3 and np.diff(events["t"]).min() >= 5_000_000


def test_value_low_resolution_repeats_blocks():
    model = low_resolution(QUIET)
    image = np.random.default_rng(1).random((10, 15)).astype(np.float32)
    levels = log_luminance(image, model)
    assert levels.shape == (10, 15)
    np.testing.assert_array_equal(levels[4:8, 8:12], levels[4, 8])
    assert levels[0, 0] != levels[0, 4]


def test_shape_thresholds_are_positive_and_fixed_by_the_seed():
    model = EventModel()
    first = pixel_thresholds(7, 11, model, 3)
    assert first.shape == (7, 11) and first.dtype == np.float32 and (first > 0).all()
    np.testing.assert_array_equal(first, pixel_thresholds(7, 11, model, 3))
    assert not np.array_equal(first, pixel_thresholds(7, 11, model, 4))


def test_property_same_seed_same_bytes():
    levels = np.random.default_rng(0).normal(0, 1, (4, 9, 13))
    model = replace(QUIET, noise_hz=100.0)
    assert fire(levels, model).tobytes() == fire(levels, model).tobytes()
    assert fire(levels, model).tobytes() != fire(levels, model, seed=1).tobytes()
