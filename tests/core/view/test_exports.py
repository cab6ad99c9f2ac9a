"""Files for other viewers, read by their own readers, against the moments of the recording."""

from __future__ import annotations

import io
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from raised import assert_refused, user_error

from any2seg_core.bags.opened import BagOptions, open_bag
from any2seg_core.cli.bag_view import view
from any2seg_core.view.exporting import export
from any2seg_core.view.foxglove import foxglove_file
from any2seg_core.view.moments import MomentReader
from any2seg_core.view.rerun import rerun_file


def written(car_bag, predictor, path, suffix, option, open_sink):
    with open_bag(car_bag, BagOptions()) as opened:
        return export(MomentReader(opened, predictor), path, suffix, option, open_sink, lambda done_s, end_s: None)


def moments_of(car_bag, predictor):
    with open_bag(car_bag) as opened:
        reader = MomentReader(opened, predictor)
        return [(reader.start_ns + round(each.time_s * 1e9), each) for each in reader.every()]


def test_value_every_goes_over_all_sets(car_bag, predictor):
    with open_bag(car_bag) as opened:
        expected = [each.stamp_ns for each in opened.sets(predictor.contract.event_window_ns)]
    assert [time_ns for time_ns, _ in moments_of(car_bag, predictor)] == expected


def test_value_foxglove_gets_pictures_points_and_confidence(car_bag, predictor, tmp_path):
    pytest.importorskip("foxglove")
    reader = pytest.importorskip("mcap.reader")
    path = tmp_path / "car.mcap"
    moments = moments_of(car_bag, predictor)
    assert written(car_bag, predictor, path, ".mcap", "--foxglove", foxglove_file) == len(moments)
    with path.open("rb") as file:
        found: dict[str, list] = {}
        for schema, channel, message in reader.make_reader(file, validate_crcs=True).iter_messages():
            found.setdefault(channel.topic, []).append((schema.name, message.log_time, message.data))
    assert {topic: entries[0][0] for topic, entries in found.items()} == {
        "/camera": "foxglove.CompressedImage", "/labels": "foxglove.CompressedImage", "/lidar": "foxglove.PointCloud",
        "/camera/calibration": "foxglove.CameraCalibration", "/confidence": "Confidence",
    }  # fmt: skip
    assert [time_ns for _, time_ns, _ in found["/camera"]] == [time_ns for time_ns, _ in moments]
    with_lidar = [each for each in moments if "lidar" in each[1].frame.planes]
    assert len(found["/lidar"]) == len(with_lidar) < len(moments)
    _, moment = with_lidar[0]
    to_camera = moment.frame.rig.calibration.place("lidar").to_camera
    first = to_camera[:3, :3] @ moment.frame.samples["lidar"][0, :3].astype(float) + to_camera[:3, 3]
    assert first.astype(np.float32).tobytes() in found["/lidar"][0][2]
    jpeg = found["/camera"][0][2]
    picture = Image.open(io.BytesIO(jpeg[jpeg.index(b"\xff\xd8") :]))
    assert picture.size == (96, 64)
    sure = float(re.search(rb'"confidence":\s*([\d.]+)', found["/confidence"][0][2])[1])
    assert sure == pytest.approx(float(moments[0][1].segmentation.confidence.mean()), abs=1e-6)


def test_value_rerun_gets_the_same(car_bag, predictor, tmp_path):
    """Its own program verifies the file and counts the rows of each entity."""
    pytest.importorskip("rerun")
    path = tmp_path / "car.rrd"
    count = written(car_bag, predictor, path, ".rrd", "--rerun", rerun_file)
    program = [sys.executable, "-m", "rerun", "rrd"]
    verified = subprocess.run([*program, "verify", str(path)], capture_output=True, text=True, timeout=60)
    assert verified.returncode == 0, verified.stderr
    told = subprocess.run([*program, "print", str(path)], capture_output=True, text=True, timeout=60).stdout
    rows: dict[str, int] = {}
    for number, entity in re.findall(r"with (\d+) rows .*? - (/[\w/]+)", told):
        rows[entity] = rows.get(entity, 0) + int(number)
    assert rows["/world/camera/picture"] == rows["/world/camera/overlay"] == rows["/confidence"] == count
    assert rows["/world/camera/labels"] == count + 1  # with the classes
    assert 0 < rows["/world/lidar"] < count


@pytest.mark.parametrize(
    ("name", "code"), [("car.bag", "file-name"), ("car", "file-name"), ("bag/a.mcap", "output-is-input")]
)
def test_exception_files_that_are_refused(car_bag, predictor, tmp_path, name, code):
    path = car_bag / "a.mcap" if code == "output-is-input" else tmp_path / name
    with user_error(code, "--foxglove"):
        written(car_bag, predictor, path, ".mcap", "--foxglove", foxglove_file)
    assert not path.exists()


@pytest.mark.parametrize(("option", "package"), [("foxglove", "foxglove"), ("rerun", "rerun")])
def test_exception_a_missing_package_is_one_line_and_leaves_nothing(
    car_bag, tmp_path, monkeypatch, option, package, checkpoint
):
    monkeypatch.setitem(sys.modules, package, None)
    path = tmp_path / f"car.{'mcap' if option == 'foxglove' else 'rrd'}"
    with user_error("package-missing", f"pip install 'any2seg[{option}]'") as caught:
        view(car_bag, checkpoint, **{option: path})
    assert_refused(caught.value.with_code, "package-missing", f"--{option}")
    assert list(tmp_path.iterdir()) == []
