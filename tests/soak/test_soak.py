"""A few seconds of the soak, and its instruments against other libraries; `make soak` runs the whole of it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap
from pathlib import Path

import numpy as np
import pytest
import resources
from scipy.stats import linregress, pearsonr
from trend import trend

from any2seg_core.vocabulary.modalities import VEHICLE

HERE = Path(__file__).resolve().parent


def test_value_slope_and_error_are_scipys_without_the_first_fifth():
    random = np.random.default_rng(0)
    x = np.sort(random.uniform(0, 3, 101))
    y = 500.0 + 0.7 * x + random.normal(0, 0.2, 101)
    y[:21] -= 100.0  # what is allocated at first
    found, expected = trend("memory", x, y, bound=0.1), linregress(x[21:], y[21:])
    rest = y[21:] - expected.intercept - expected.slope * x[21:]
    r = max(pearsonr(rest[:-1], rest[1:]).statistic, 0.0)
    error = expected.stderr * np.sqrt(78.0 / (80.0 * (1 - r) / (1 + r) - 2.0))
    np.testing.assert_allclose((found.slope, found.error), (expected.slope, error), rtol=1e-9)
    np.testing.assert_allclose((found.first, found.last), (y[21:29].mean(), y[-8:].mean()))


@pytest.mark.parametrize(
    ("slope", "noise", "is_flat"), [(0.0, 1.0, True), (5.0, 1.0, False), (0.9, 0.0, True), (-5.0, 0.0, True)]
)
def test_value_flat_is_within_two_errors_or_below_the_bound(slope, noise, is_flat):
    x = np.linspace(0, 1, 200)
    y = slope * x + noise * np.sin(60 * np.pi * x)
    assert trend("memory", x, y, bound=1.0).is_flat is is_flat


def test_value_one_step_is_no_slope_and_many_are():
    """What a heap does that takes pages once, and one that takes them for ever."""
    x = np.linspace(0, 1, 500)
    assert trend("memory", x, 500.0 + 4.0 * (x > 0.4), bound=0.1).is_flat
    assert not trend("memory", x, 500.0 + np.floor(40.0 * x), bound=0.1).is_flat


def test_property_noise_that_remembers_is_seldom_taken_for_growth():
    """Standard errors for independent points call about a third of these curves growing."""
    flat = []
    for seed in range(200):
        noise, y = np.random.default_rng(seed).normal(size=400), np.zeros(400)
        for index in range(1, 400):
            y[index] = 0.9 * y[index - 1] + noise[index]
        flat.append(trend("memory", np.arange(400.0), y, bound=0.0).is_flat)
    assert 0.93 < np.mean(flat) < 1.0


def test_exception_too_few_points_for_a_slope():
    with pytest.raises(ValueError, match="memory: 4 points are too few"):
        trend("memory", range(4), range(4), bound=1.0)


def test_value_memory_threads_and_descriptors_are_those_of_the_process(tmp_path):
    before, stop = resources.held_by(), threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    pages = mmap(-1, 64 << 20, flags=MAP_PRIVATE | MAP_ANONYMOUS)  # new ones: NumPy may take what it freed before
    block = np.frombuffer(pages, np.uint8)
    block[:] = 1
    with open(tmp_path / "file", "w"):
        after = resources.held_by()
    stop.set()
    thread.join()
    assert after.threads == before.threads + 1 and after.descriptors == before.descriptors + 1
    assert 60 < after.memory_mb - before.memory_mb < 70 and block.all()


def test_exception_a_process_that_has_ended():
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pid = process.pid
    with pytest.raises(ProcessLookupError, match=str(pid)):
        resources.held_by(pid)


@pytest.mark.ros
def test_property_one_sensor_is_always_there_long_enough_to_lead():
    pytest.importorskip("rclpy")
    from storm import schedule

    events = schedule(seed=4, seconds=600.0)
    assert events == schedule(4, 600.0) != schedule(5, 600.0)
    since_s, deaths = dict.fromkeys(VEHICLE.members, -2.0), dict.fromkeys(VEHICLE.members, 0)
    for event in events:
        assert (since_s[event.sensor] is None) == event.is_alive
        since_s[event.sensor] = event.at_s if event.is_alive else None
        deaths[event.sensor] += not event.is_alive
        assert any(began_s is not None and event.at_s - began_s >= 2.0 for began_s in since_s.values())
    assert min(deaths.values()) > 50
    assert 0.1 < np.mean([event.whole for event in events]) < 0.3


@pytest.mark.ros
@pytest.mark.slow
def test_smoke_a_short_soak_counts_every_label_and_holds_no_more_threads_and_descriptors(tmp_path):
    """Whether memory grows, a few seconds cannot tell."""
    pytest.importorskip("rclpy")
    command = [sys.executable, str(HERE / "soak_run.py"), "--frames", "200", "--minutes", "0.15", "--seed", "3"]
    command += ["--folder", str(tmp_path), "--json", str(tmp_path / "soak.json")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr[-2000:]
    document = json.loads((tmp_path / "soak.json").read_text())
    offline, live = document["offline"], document["live"]
    assert [point["frames"] for point in offline["curve"]] == list(range(1, 201))
    for part in (offline, live):
        trends = {each["name"]: each for each in part["trends"]}
        assert trends["threads"]["first"] == trends["threads"]["last"] > 1
        assert trends["descriptors"]["first"] == trends["descriptors"]["last"] > 1
    assert any("partial: without" in text for _, text in live["told"])
    assert live["kills"] > 0 and live["tracebacks"] == 0
    assert len(live["gap_ms"]) > 10 and np.isfinite(live["latency_ms"][:-1]).all() and min(live["latency_ms"]) > 0
    assert {name for used in live["used"] for name in used.split(",") if name} == set(VEHICLE.members)
    assert "<svg" in (tmp_path / "report.html").read_text()
    assert "| memory_mb |" in done.stdout and "labels later than promised" in done.stdout
