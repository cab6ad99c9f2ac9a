"""Faults in planes of training samples: what each does, and which sensors get one."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from pydantic import ValidationError

from any2seg_core.faults.planes import PLANE_FAULTS, Degradation, DegradationConfig, plane_faults
from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite
from any2seg_core.vocabulary.sensor import Sensor

SIZE = (45, 70)
EVERY = [(sensor.name, kind) for sensor in VEHICLE.sensors for kind in plane_faults(sensor)]


def planes(dtype: type = np.uint8) -> dict[str, np.ndarray]:
    """Pictures everywhere, points and events at a third of the pixels; nobody can write to them."""
    rng = np.random.default_rng(0)
    made = {name: rng.integers(30, 200, (*SIZE, 3)).astype(dtype) for name in VEHICLE.members}
    for name in ("event", "lidar"):
        made[name][rng.random(SIZE) < 2 / 3] = 0
    for plane in made.values():
        plane.setflags(write=False)
    return made


def changed(name: str, kind: str, severity: float, plane: np.ndarray, seed: int = 1) -> np.ndarray:
    return plane_faults(VEHICLE.sensor(name))[kind](plane, severity, np.random.default_rng(seed))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize(("name", "kind"), EVERY)
def test_shape_stays_and_a_severe_fault_changes_more(name, kind, dtype):
    plane = planes(dtype)[name]
    distances = []
    for severity in (0.2, 1.0):
        found = changed(name, kind, severity, plane)
        assert found.shape == plane.shape and found.min() >= 0 and found.max() <= 255
        distances.append(np.abs(found.astype(float) - plane).mean())
    assert distances[0] > 0.5 and (distances[0] < distances[1] or kind == "freeze")
    assert np.array_equal(changed(name, kind, 0.7, plane), changed(name, kind, 0.7, plane))


def test_value_night_is_six_stops_darker_and_noisy():
    white = np.full((200, 150, 3), 255, np.uint8)
    found = changed("rgb", "night", 1.0, white).astype(float)
    assert found.mean() == pytest.approx(255 * (2**-6.0) ** (1 / 2.2), abs=0.5)  # gamma-coded light
    assert found.std() == pytest.approx(15, rel=0.05)


def test_value_fog_hides_what_is_far_and_glare_only_adds_light():
    checks = np.indices((64, 96)).sum(axis=0) % 2 * np.uint8(200)
    picture = np.repeat(checks[..., None], 3, axis=2).astype(np.uint8)
    foggy = changed("rgb", "fog", 1.0, picture).astype(float)
    contrast = [part.std() / picture.std() for part in (foggy[:32], foggy[56:])]
    assert contrast[0] < 0.31 and contrast[0] < contrast[1] < 0.8
    assert (changed("rgb", "fog", 1.0, np.full((9, 9, 3), 200, np.uint8)) == 200).all()
    glaring = changed("rgb", "glare", 0.6, picture)
    assert (glaring >= picture).all() and glaring.min() == 0 and (glaring == 255).any()


def test_value_lost_beams_are_whole_rows_and_about_their_share():
    full = np.full((640, 30, 3), 90, np.uint8)
    shares = []
    for seed in range(20):
        found = changed("lidar", "beams", 0.5, full, seed)
        rows = (found == 0).all(axis=(1, 2))
        assert ((found == 90).all(axis=(1, 2)) | rows).all()
        assert (rows.reshape(64, 10).sum(axis=1) % 10 == 0).all()  # a beam is ten rows here
        shares.append(rows.mean())
    assert np.mean(shares) == pytest.approx(0.475, abs=0.05)


def test_value_sparse_planes_keep_their_values_and_events_gain_some():
    sparse = planes()
    for kind in ("freeze", "fog"):
        found = changed("lidar", kind, 1.0, sparse["lidar"])
        known = {tuple(pixel) for pixel in sparse["lidar"].reshape(-1, 3)}
        assert {tuple(pixel) for pixel in found.reshape(-1, 3)} <= known
    noisy = changed("event", "noise", 1.0, np.zeros((100, 100, 3), np.uint8))
    assert noisy.any(axis=2).mean() == pytest.approx(0.1, abs=0.01)
    frozen = changed("rgb", "freeze", 1.0, np.tile(np.arange(100, dtype=np.uint8)[None, :, None], (80, 1, 3)))
    assert np.ptp(frozen) == pytest.approx(0.6 * 99, abs=2)  # six tenths of the width fill the picture


def test_value_measurements_have_no_weather_of_pictures():
    suite = SensorSuite("hot", (Sensor("front", "F", "image"), Sensor("thermal", "T", "image", "thermal8")))
    assert list(plane_faults(suite.sensor("thermal"))) == ["freeze"]
    assert {"night", "glare", "fog", "blur", "noise", "freeze"} == set(plane_faults(suite.sensor("front")))
    assert {kind for _, kind in EVERY} == set(PLANE_FAULTS)


def hit(degradation: Degradation, seed: int, given: dict[str, np.ndarray]) -> list[str]:
    found = degradation(given, np.random.default_rng(seed))
    assert list(found) == list(given)
    return [name for name, plane in found.items() if plane is not given[name]]


def test_value_how_many_samples_and_sensors_are_hit():
    given = planes()
    degradation = Degradation(DegradationConfig(probability=0.4, further=0.25))
    hits = [hit(degradation, seed, given) for seed in range(400)]
    samples = [names for names in hits if names]
    assert len(samples) / 400 == pytest.approx(0.4, abs=0.08)
    assert np.mean([len(names) for names in samples]) == pytest.approx(1 + 3 * 0.25, abs=0.2)
    every = Counter(name for names in samples for name in names)
    assert min(every.values()) > 0.6 * max(every.values())
    assert hits[:50] == [hit(degradation, seed, given) for seed in range(50)]
    assert not any(hit(Degradation(DegradationConfig()), seed, given) for seed in range(20))


def test_value_only_chosen_faults_and_only_sensors_that_can_have_them():
    given = planes()
    degradation = Degradation(DegradationConfig(probability=1.0, further=1.0, kinds=("night", "beams")))
    assert hit(degradation, 0, given) == ["rgb", "lidar"]
    without = {name: given[name] for name in ("depth", "event")}
    assert degradation(without, np.random.default_rng(0)) is without
    assert hit(degradation, 0, {"lidar": given["lidar"]}) == ["lidar"]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"kinds": ("hail",)}, "hail"),
        ({"kinds": ()}, "kinds"),
        ({"severity": (0.0, 1.0)}, "severity"),
        ({"severity": (0.8, 0.2)}, "severity"),
        ({"probability": 1.5}, "probability"),
    ],
)
def test_exception_settings_that_mean_nothing(changes, named):
    with pytest.raises(ValidationError, match=named):
        DegradationConfig(**changes)
