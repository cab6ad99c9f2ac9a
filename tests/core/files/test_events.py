"""Event files written by other programs (see event_samples/README.md), by NumPy and h5py, and their units of time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from raised import user_error

from any2seg_core.files.events import read_events
from any2seg_core.sensors.events import EVENT_DTYPE

SAMPLES = Path(__file__).parent / "event_samples"
SIZE = (240, 320)


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    """(N, 4) x, y, t in microseconds, p 0 or 1: what the other programs were given to write."""
    return np.loadtxt(SAMPLES / "events.csv", delimiter=",", skiprows=1, dtype=np.int64)[:, [1, 2, 0, 3]]


def assert_events(events: np.ndarray, truth: np.ndarray, first_us: int | None = None) -> None:
    assert events.dtype == EVENT_DTYPE
    start_us = int(truth[0, 2]) if first_us is None else first_us
    np.testing.assert_array_equal(events["x"], truth[:, 0])
    np.testing.assert_array_equal(events["y"], truth[:, 1])
    np.testing.assert_array_equal(events["t"], (truth[:, 2] - truth[0, 2] + start_us) * 1000)
    np.testing.assert_array_equal(events["p"], np.where(truth[:, 3], 1, -1))


@pytest.mark.parametrize(
    ("name", "first_us"), [("expelliarmus.dat", None), ("faery_evt2.raw", 0), ("faery_evt3.raw", 0)]
)
def test_value_files_of_prophesee_cameras(truth, name, first_us):
    assert_events(read_events(SAMPLES / name, sensor_size=SIZE), truth, first_us)  # faery writes times from 0


def test_value_aedat4(truth):
    pytest.importorskip("aedat")
    assert_events(read_events(SAMPLES / "dv_processing.aedat4", sensor_size=SIZE), truth)


def evt21(truth: np.ndarray, endianness: str, said: bool = True) -> bytes:
    """Written by the format's description: a word of time, then a word of one event, its pixel at any place of 32."""
    words = []
    for row, (x, y, t, p) in enumerate(truth.tolist()):
        base = max(x - row % 32, 0)
        head = int(p) << 28 | (t & 0x3F) << 22 | base << 11 | y
        words += [(8 << 28 | t >> 6, 0), (head, 1 << (x - base))]
    halves = np.array(words, "<u4")  # (n,2): head, mask
    order = [0, 1] if endianness == "legacy" else [1, 0]
    header = "% evt 2.1\n" + (f"% format EVT21;endianness={endianness};height=240;width=320\n" if said else "")
    return header.encode() + np.ascontiguousarray(halves[:, order]).tobytes()


@pytest.mark.parametrize("said", [True, False])
@pytest.mark.parametrize("endianness", ["legacy", "little"])
def test_value_evt21_of_both_word_orders(tmp_path, truth, endianness, said):
    (tmp_path / "a.raw").write_bytes(evt21(truth, endianness, said))
    assert_events(read_events(tmp_path / "a.raw", sensor_size=SIZE), truth)


def test_value_evt21_vector_and_events_before_the_clock(tmp_path):
    words = np.array([[0, 0xFF], [8 << 28 | 5, 0], [1 << 28 | 3 << 22 | 64 << 11 | 7, 0x80000005]], "<u4")
    (tmp_path / "a.raw").write_bytes(b"% format EVT21;endianness=legacy\n" + words.tobytes())
    found = read_events(tmp_path / "a.raw")
    assert found.tolist() == [(x, 7, (5 * 64 + 3) * 1000, 1) for x in (64, 66, 95)]


def test_value_evt2_clock_goes_on_when_it_starts_again(tmp_path):
    words = np.array([8 << 28 | 0xFFFFFFF, 1 << 28 | 2 << 11 | 3, 8 << 28, 1 << 22 | 2 << 11 | 3], "<u4")
    (tmp_path / "a.raw").write_bytes(b"% evt 2.0\n% end\n" + words.tobytes())
    high = 0xFFFFFFF << 6
    assert read_events(tmp_path / "a.raw")["t"].tolist() == [high * 1000, (high + 64 + 1) * 1000]


def test_value_dat_clock_goes_on_when_it_starts_again(tmp_path):
    records = np.array([[2**32 - 1, 3 << 14 | 2], [5, 1 << 28 | 3 << 14 | 2]], "<u4")
    (tmp_path / "a.dat").write_bytes(b"% Version 2\n% Height 240\n% Width 320\n\x0c\x08" + records.tobytes())
    found = read_events(tmp_path / "a.dat", sensor_size=SIZE)
    assert found.tolist() == [(2, 3, (2**32 - 1) * 1000, -1), (2, 3, (2**32 + 5) * 1000, 1)]


def columns(truth: np.ndarray, unit: str, as_float: bool = False) -> dict[str, np.ndarray]:
    t = truth[:, 2] * {"ns": 1000, "us": 1}.get(unit, 1)
    if as_float:
        t = truth[:, 2] / {"us": 1.0, "ms": 1e3, "s": 1e6}[unit]
    return {"x": truth[:, 0], "y": truth[:, 1], "t": t, "p": truth[:, 3]}


@pytest.mark.parametrize("unit", ["ns", "us"])
@pytest.mark.parametrize("low", [0, -1])
def test_value_npz_with_the_unit_given_or_in_the_name(tmp_path, truth, unit, low):
    arrays = columns(truth, unit)
    arrays["p"] = np.where(arrays["p"] > 0, 1, low)
    np.savez(tmp_path / "e.npz", **arrays)
    assert_events(read_events(tmp_path / "e.npz", unit), truth)
    arrays[f"t_{unit}"] = arrays.pop("t")
    np.savez(tmp_path / "e.npz", **arrays)
    assert_events(read_events(tmp_path / "e.npz"), truth)


@pytest.mark.parametrize("unit", ["us", "ms", "s"])
def test_value_float_times_of_every_unit(tmp_path, truth, unit):
    np.savez(tmp_path / "e.npz", **columns(truth, unit, as_float=True))
    assert_events(read_events(tmp_path / "e.npz", unit), truth)


@pytest.mark.parametrize(("unit", "per_second"), [("ns", 10**9), ("us", 10**6), ("ms", 10**3)])
def test_value_stamps_of_our_time_say_their_unit(tmp_path, unit, per_second):
    t = 1_700_000_000 * per_second + np.arange(3)
    np.savez(tmp_path / "e.npz", x=[1, 2, 3], y=[3, 4, 5], t=t, p=[0, 1, 1])
    step_ns = 10**9 // per_second
    assert read_events(tmp_path / "e.npz")["t"].tolist() == [1_700_000_000 * 10**9 + k * step_ns for k in range(3)]


def test_value_float_seconds_since_1970_are_read_to_a_microsecond(tmp_path):
    t_us = 1_504_645_177_420_000 + np.array([0, 7, 1_000_003])
    np.savez(tmp_path / "e.npz", xs=[1, 2, 3], ys=[3, 4, 5], ts=t_us / 1e6, ps=[True, False, True])
    found = read_events(tmp_path / "e.npz")
    assert np.abs(found["t"] - t_us * 1000).max() < 1000
    assert found["p"].tolist() == [1, -1, 1]


def test_value_an_array_of_this_project_is_in_nanoseconds(tmp_path):
    events = np.array([(1, 2, 30, 1), (2, 2, 40, -1)], EVENT_DTYPE)
    np.save(tmp_path / "e.npy", events)
    np.testing.assert_array_equal(read_events(tmp_path / "e.npy"), events)
    with user_error("value-conflict", "ns", "us"):
        read_events(tmp_path / "e.npy", "us")


def test_exception_a_unit_that_nothing_says_is_not_guessed(tmp_path, truth):
    for name, arrays in {"a.npz": columns(truth, "us"), "b.npz": columns(truth, "s", True)}.items():
        np.savez(tmp_path / name, **arrays)
        with user_error("event-time-unit", name, "--event-time-unit"):
            read_events(tmp_path / name)
    with user_error("value-unknown", "minutes", "ns, us, ms, s"):
        read_events(tmp_path / "a.npz", "minutes")
    with user_error("value-conflict", "expelliarmus.dat"):
        read_events(SAMPLES / "expelliarmus.dat", "s")


def h5_file(path: Path, truth: np.ndarray, layout: str) -> Path:
    h5py = pytest.importorskip("h5py")
    x, y, t, p = truth.T
    with h5py.File(path, "w") as file:
        if layout == "prophesee":
            records = np.zeros(len(truth), [("x", "<u2"), ("y", "<u2"), ("p", "<i2"), ("t", "<i8")])
            for name, values in zip("xytp", (x, y, t, p), strict=True):
                records[name] = values
            file.create_dataset("CD/events", data=records)
            return path
        names = [f"{name}s" for name in "xytp"] if layout == "plain" else list("xytp")
        for name, values in zip(names, (x, y, t, p), strict=True):
            file.create_dataset(f"events/{name}", data=values, compression="gzip")
        if layout == "dsec":
            file.create_dataset("ms_to_idx", data=np.arange(3))
    return path


@pytest.mark.parametrize("layout", ["prophesee", "dsec", "plain"])
def test_value_hdf5_of_cameras_and_data_sets(tmp_path, truth, layout):
    path = h5_file(tmp_path / "e.h5", truth, layout)
    assert_events(read_events(path, "us" if layout == "plain" else "", SIZE), truth)
    if layout == "plain":
        with user_error("event-time-unit", "e.h5"):
            read_events(path)


def test_exception_hdf5_without_events_or_without_h5py(tmp_path, truth, monkeypatch):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["images"] = np.zeros(3)
    with user_error("file-content", "other.h5", "images", "CD/events"):
        read_events(tmp_path / "other.h5")
    path = h5_file(tmp_path / "e.h5", truth, "dsec")
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with user_error("package-missing", "any2seg[files]"):
        read_events(path)


def test_exception_aedat_without_its_reader_or_of_another_version(tmp_path, monkeypatch):
    (tmp_path / "old.aedat").write_bytes(b"#!AER-DAT3.1\r\n" + bytes(40))
    with user_error("file-format", "old.aedat", "AER-DAT3.1"):
        read_events(tmp_path / "old.aedat")
    (tmp_path / "aedat.py").write_text("raise ImportError")
    monkeypatch.syspath_prepend(tmp_path)
    with user_error("package-missing", "any2seg[files]"):
        read_events(SAMPLES / "dv_processing.aedat4")


@pytest.mark.parametrize("name", ["expelliarmus.dat", "faery_evt2.raw", "faery_evt3.raw", "dv_processing.aedat4"])
def test_exception_of_another_sensor_than_the_calibrated_one(name):
    if name.endswith("aedat4"):
        pytest.importorskip("aedat")
    with user_error("calibration-size", name, "160x120", "event_camera") as caught:
        read_events(SAMPLES / name, sensor_size=(120, 160))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"% evt 4.0\n" + bytes(40), "EVT 4"),
        (b"% Date 2020\n% end\n" + bytes(40), "neither RAW"),
        (b"% Date 2020\n", "neither RAW"),
        (b"% evt 2.1\n" + bytes(16), "endianness"),
        (b"0.003811000 96 133 0\n0.003820001 17 35 1\n", "text"),
        (b"", "NumPy"),
    ],
)
def test_exception_damaged_and_foreign_files(tmp_path, content, words):
    (tmp_path / "a.raw").write_bytes(content)
    with user_error("file-format", "a.raw", words) as caught:
        read_events(tmp_path / "a.raw")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("package", "content"), [
    ("aedat", b"#!AER-DAT4.0\r\n" + bytes(90)), ("h5py", b"\x89HDF\r\n\x1a\n" + bytes(90)),
])  # fmt: skip
def test_exception_damaged_files_of_other_libraries(tmp_path, package, content):
    pytest.importorskip(package)
    (tmp_path / "a.raw").write_bytes(content)
    with user_error("file-format", "a.raw") as caught:
        read_events(tmp_path / "a.raw")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "values"),
    [("x", [70000, 1]), ("y", [-1, 1]), ("x", [0.5, 1]), ("t", [np.nan, 1]), ("t", [2e19, 1]), ("p", ["a", "b"])],
)
def test_exception_events_that_would_wrap_round(tmp_path, name, values):
    """Negative pixels, NaN and text are told, not stored as other numbers."""
    np.savez(tmp_path / "e.npz", **({"x": [1, 2], "y": [3, 4], "t": [5, 6], "p": [0, 1]} | {name: values}))
    with user_error("file-content", "e.npz", name):
        read_events(tmp_path / "e.npz", "ns")


def test_value_events_of_whole_floats_are_read(tmp_path):
    np.savez(tmp_path / "e.npz", x=[1.0], y=[65535.0], t=[2.0**40], p=[True])
    assert read_events(tmp_path / "e.npz", "ns").tolist() == [(1, 65535, 2**40, 1)]


def test_exception_columns_that_are_missing_or_uneven(tmp_path):
    np.savez(tmp_path / "short.npz", x=[1], y=[1], t=[1])
    with user_error("file-content", "short.npz", "p"):
        read_events(tmp_path / "short.npz")
    np.savez(tmp_path / "uneven.npz", x=[1], y=[1, 2], t=[1], p=[1])
    with user_error("file-content", "uneven.npz"):
        read_events(tmp_path / "uneven.npz")
