"""Sensor and label files of a recipe: formats, scales, orientations, and what is refused."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import yaml
from folder_trees import LIDAR_TO_CAMERA, SIZE, K, cloud, write_cloud, write_png, write_recipe, write_yard, yard_recipe
from PIL import Image
from raised import user_error

from any2seg_core.data.catalogue import open_dataset
from any2seg_core.data.folder import RECIPE_FILE
from any2seg_core.data.images import CorruptFileError
from any2seg_core.data.recipe import read_recipe
from any2seg_core.sensors.calibration import load_calibration
from any2seg_core.sensors.rig import SensorRig

HEIGHT, WIDTH = SIZE


@pytest.fixture
def yard(tmp_path):
    return write_yard(tmp_path / "yard", frames=1)


def opened(root, sensors=None, **changes):
    """Split train of the yard by its recipe, with other sensors beside rgb and with other keys."""
    document = yard_recipe() | changes
    if sensors is not None:
        document["sensors"] = {"rgb": "image/{drive}/{frame}.png"} | sensors
    write_recipe(root / RECIPE_FILE, document)
    return open_dataset("folder", root, "train")


def write_points(path, rows: np.ndarray) -> None:
    """(N, 4) as the suffix says; of .bin with a ring."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, rows)
    elif path.suffix == ".npz":
        np.savez(path, **dict(zip(("x", "y", "z", "intensity"), rows.T, strict=True)))
    elif path.suffix == ".bin":
        np.column_stack([rows, np.zeros(len(rows), np.float32)]).astype("<f4").tofile(path)
    else:
        names = ("x", "y", "z", "intensity")
        head = {
            ".pcd": [
                "VERSION .7", f"FIELDS {' '.join(names)}", "SIZE 4 4 4 4", "TYPE F F F F", "COUNT 1 1 1 1",
                f"WIDTH {len(rows)}", "HEIGHT 1", "VIEWPOINT 0 0 0 1 0 0 0", f"POINTS {len(rows)}", "DATA ascii",
            ],
            ".ply": [
                "ply", "format ascii 1.0", f"element vertex {len(rows)}",
                *(f"property float {name}" for name in names), "end_header",
            ],
        }[path.suffix]  # fmt: skip
        lines = [" ".join(repr(float(value)) for value in row) for row in rows]
        path.write_text("\n".join([*head, *lines]) + "\n")


@pytest.mark.parametrize("suffix", [".bin", ".npy", ".npz", ".pcd", ".ply"])
def test_value_clouds_of_all_formats_are_one_plane(yard, suffix):
    rows = cloud(np.random.default_rng(3))
    expected = SensorRig(load_calibration(yard / "car.yaml")).planes({"lidar": rows}, 0)["lidar"]
    for drive in ("d1", "d2"):
        scaled = rows * np.array([1, 1, 1, 200], np.float32)
        write_points(yard / "scan" / drive / f"0000{suffix}", scaled)
    entry = {"path": f"scan/{{drive}}/{{frame}}{suffix}", "intensity_max": 200}
    frames = opened(yard, {"lidar": entry | ({"columns": 5} if suffix == ".bin" else {})})
    plane = frames[0].planes["lidar"]
    assert np.abs(plane.astype(int) - expected).max() <= 1  # of the intensity that was scaled and divided again
    assert expected.any()


def test_exception_an_intensity_without_its_scale_is_no_guess(yard):
    rows = cloud(np.random.default_rng(0)) * np.array([1, 1, 1, 255], np.float32)
    write_cloud(yard / "cloud" / "d1" / "0000.bin", rows)
    frames = opened(yard)
    with user_error("file-content", "0000.bin", "sensors.lidar.intensity_max: 255", kind=CorruptFileError):
        frames[0]


@pytest.mark.parametrize(
    ("stored", "entry", "metres"),
    [
        (np.uint16(2560), {"depth_scale": 256, "path": "depth/{drive}/{frame}.png"}, 10.0),
        (np.uint16(10_000), "depth/{drive}/{frame}.png", 10.0),
        (np.float32(10.0), "depth/{drive}/{frame}.npy", 10.0),
        (np.uint16(14_465), {"coding": "sun-rgbd", "path": "depth/{drive}/{frame}.png"}, None),  # 10 m << 3 | >> 13
    ],
)
def test_value_depth_scales(yard, stored, entry, metres):
    """A wall in front of the camera, through the rig; SUN RGB-D's lowest bits come back as the highest."""
    path = entry if isinstance(entry, str) else entry["path"]
    for drive in ("d1", "d2"):
        wall = np.full(SIZE, stored)
        wall[:5] = 65535 if wall.dtype == np.uint16 else np.nan
        target = yard / path.format(drive=drive, frame="0000")
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.suffix == ".npy":
            np.save(target, wall)
        else:
            assert cv2.imwrite(str(target), wall)
    entry = {"path": path} if isinstance(entry, str) else entry
    frames = opened(yard, {"depth": entry | ({"invalid": [65535]} if stored.dtype == np.uint16 else {})})
    depth_m = np.full(SIZE, metres if metres is not None else 10.0, np.float32)
    depth_m[:5] = 0
    expected = SensorRig(load_calibration(yard / "car.yaml")).planes({"depth": depth_m}, 0)["depth"]
    np.testing.assert_array_equal(frames[0].planes["depth"], expected)
    assert expected[:5].any(axis=2).sum() == 0 and expected[6:].any()


def test_value_carla_depth_and_a_field_of_view(yard):
    for drive in ("d1", "d2"):
        packed = np.zeros((*SIZE, 3), np.uint8)
        packed[..., 1] = 3  # 768 of 2^24 - 1, of 1000 m
        write_png(yard / "depth" / drive / "0000.png", packed)
    frames = opened(
        yard, {"depth": {"path": "depth/{drive}/{frame}.png", "coding": "carla"}}, calibration={"hfov_deg": 90}
    )
    plane = frames[0].planes["depth"]
    assert plane.shape == (*SIZE, 3) and (plane[0, :, 0] == plane[0, 0, 0]).all() and plane[0, 0, 0] > 0


def test_value_planes_are_taken_as_they_are(yard):
    rng = np.random.default_rng(0)
    given = rng.integers(0, 256, (*SIZE, 3), np.uint8)
    for drive in ("d1", "d2"):
        write_png(yard / "hha" / drive / "0000.png", given)
    frames = opened(yard, {"depth": {"path": "hha/{drive}/{frame}.png", "plane": "deliver-hha"}}, calibration=None)
    np.testing.assert_array_equal(frames[0].planes["depth"], given)
    assert frames.encodings["depth"] == "deliver-hha" and frames.computed == ()


def test_value_events_end_with_the_newest(yard):
    count = 400
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, WIDTH, count), rng.integers(0, HEIGHT, count)
    t_us = np.sort(rng.integers(0, 100_000, count)) + 5_000_000
    for drive in ("d1", "d2"):
        (yard / "events" / drive).mkdir(parents=True)
        np.savez(yard / "events" / drive / "0000.npz", x=x, y=y, t=t_us, p=rng.integers(0, 2, count))
    frames = opened(yard, {"event": {"path": "events/{drive}/{frame}.npz", "time_unit": "us", "window_ms": 20}})
    plane = frames[0].planes["event"]
    in_window = t_us > t_us.max() - 20_000
    places = {(row, column) for row, column in zip(y[in_window], x[in_window], strict=True)}
    assert {tuple(place) for place in np.argwhere(plane[..., :2].any(axis=2))} == places
    assert frames.event_window_ns == 20_000_000


def test_value_points_label_the_pixels_that_they_fall_on(yard):
    """SemanticKITTI's layout: the class in the lower 16 bits, an instance above; one row is no return."""
    rows = np.array([[10, 0, 0, 0.5], [0, 0, 0, 0], [20, 2, 1, 0.1], [-5, 0, 0, 0.2]], "<f4")
    for drive in ("d1", "d2"):
        write_cloud(yard / "cloud" / drive / "0000.bin", rows)
        labels = np.array([6, 3, 9 | 5 << 16, 6], "<u4")
        (yard / "points" / drive).mkdir(parents=True)
        labels.tofile(yard / "points" / drive / "0000.label")
    frames = opened(yard, labels={"path": "points/{drive}/{frame}.label", "of": "lidar"})
    labels = frames[0].labels
    camera = np.array(K) @ np.array(LIDAR_TO_CAMERA)[:3]
    expected = np.full(SIZE, 254, np.uint8)
    for row, train in ((rows[0], 5), (rows[2], 8)):  # files of DELIVER's classes hold train id + 1
        u, v, w = camera @ np.array([*row[:3], 1.0])
        expected[round(v / w), round(u / w)] = train
    np.testing.assert_array_equal(labels, expected)
    (yard / "points" / "d1" / "0000.label").write_bytes(b"\0" * 12)
    with user_error("size-mismatch", "0000.label", 12, 16):
        frames[0]


def test_value_pictures_of_several_sizes_and_views(yard):
    """Labels of half the picture's size are its grid; those of another view are somebody else's."""
    write_png(yard / "image" / "d1" / "0000.png", np.full((2 * HEIGHT, 2 * WIDTH, 3), 9, np.uint8))
    frames = opened(yard)
    assert [frames[number].planes["lidar"].shape for number in (0, 1)] == [(*SIZE, 3)] * 2
    assert frames.read_plane(frames.frames[0], "lidar").shape == (2 * HEIGHT, 2 * WIDTH, 3)
    write_png(yard / "image" / "d1" / "0000.png", np.full((WIDTH, HEIGHT, 3), 9, np.uint8))
    without = opened(yard, {})
    with user_error("size-mismatch", "d1/0000", f"{HEIGHT}x{WIDTH}", kind=CorruptFileError):
        without[0]


@pytest.mark.parametrize(("label_size", "is_turned"), [(SIZE, False), ((WIDTH, HEIGHT), True)])
def test_value_an_exif_orientation_counts_where_only_then_labels_fit(yard, label_size, is_turned):
    pixels = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees, clockwise
    for drive in ("d1", "d2"):
        Image.fromarray(pixels).save(yard / "image" / drive / "0000.jpg", exif=exif, quality=100, subsampling=0)
        write_png(yard / "label" / drive / "0000.png", np.zeros(label_size, np.uint8))
    frames = opened(yard, {"rgb": "image/{drive}/{frame}.jpg"})
    plane = frames[0].planes["rgb"]
    stored = np.asarray(Image.open(yard / "image" / "d1" / "0000.jpg"))
    np.testing.assert_allclose(plane, np.rot90(stored, -1) if is_turned else stored, atol=2)


@pytest.mark.parametrize(
    ("change", "code", "named"),
    [
        ({"sensor": {}}, "key-unknown", "sensor"),
        ({"sensors": {"radar": "r/{drive}/{frame}.png"}}, "sensor-absent", "sensors.radar"),
        ({"sensors": {"rgb": {"path": "{drive}/{frame}.png", "columns": 4}}}, "value-conflict", "sensors.rgb.columns"),
        ({"sensors": {"rgb": {"path": "{frame", "optional": True}}}, "value-invalid", "sensors.rgb.path"),
        ({"labels": "label/{town}/{frame}.png"}, "value-invalid", "{town}"),
        ({"calibration": "calib/{day}.yaml"}, "value-invalid", "{day}"),
        ({"splits": {"train": {"town": "ulm"}}}, "value-invalid", "{town}"),
        ({"share": {"val": "20%"}}, "value-invalid", "share"),
        ({"splits": {}, "share": {"val": "70%", "test": "30%"}}, "value-invalid", "train"),
        ({"splits": {}}, "value-invalid", "{split}"),
        ({"calibration": {"path": "a.yaml", "hfov_deg": 90}}, "value-invalid", "hfov_deg"),
        ({"labels": {"path": "l/{drive}/{frame}.label", "of": "radar"}}, "value-invalid", "labels.of"),
        ({"suite": "bicycle"}, "value-unknown", "bicycle"),
        ({"splits": {"train": {"first": 1}}}, "value-invalid", "splits.train"),
        (
            {"splits": {"train": {"listed": "a.txt", "first": 1}, "val": {"listed": "b.txt"}}},
            "value-invalid",
            "{number}",
        ),
        ({"splits": {"train": {"without": {"town": "ulm"}}}}, "value-invalid", "{town}"),
        (
            {
                "calibration": None,
                "labels": None,
                "tables": {"path": {"train": "v1.0-trainval"}},
                "sensors": {"rgb": "{image:path}"},
                "splits": {"train": {"drive": "a"}, "val": {"drive": "b"}},
            },
            "value-invalid",
            "tables.path",
        ),
        ({"name": ""}, "value-range", "name"),
        ({"name": "a\nb"}, "value-invalid", "name"),
        ({"label_space": "yards"}, "label-space-unknown", "label_space"),
        ({"label_space": "none.yaml"}, "file-missing", "label_space"),
        ({"labels": "../label/{drive}/{frame}.png"}, "value-invalid", "labels.path: pattern '../label"),
        ({"labels": {"path": {"trian": "label/{drive}/{frame}.png"}}}, "value-invalid", "labels.path: 'trian'"),
        (
            {"labels": {"path": "label/{drive}/{frame}.png", "coding": {"trian": "ids"}}},
            "value-invalid",
            "labels.coding: 'trian'",
        ),
        ({"labels": {"path": "label/{drive}/{frame}.png", "coding": "id"}}, "value-unknown", "'instance_ids'"),
        ({"labels": {"path": "label/{drive}/{frame}.png", "of": "rgb"}}, "value-conflict", "labels.of"),
        ({"calibration": {"hfov_deg": 90}}, "extrinsics-missing", "calibration.hfov_deg"),
    ],
)
def test_exception_recipes(tmp_path, change, code, named):
    path = write_recipe(tmp_path / "recipe.yaml", yard_recipe() | change)
    with user_error(code, path, named):
        read_recipe(path)


@pytest.mark.parametrize("text", ["", "- a list", "name: [", "name: yard\nname: twice\n"])
def test_exception_no_recipe(tmp_path, text):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match="recipe") as caught:
        read_recipe(path)
    assert "\n" not in str(caught.value)


def test_value_suite_and_classes_lie_beside_the_recipe(yard, tmp_path):
    suite = {"name": "truck", "sensors": {"front": {"kind": "image", "letter": "F"}}}
    classes = {"name": "yard-2", "classes": [
        {"name": "sky", "colour": [1, 2, 3], "raw": [0]}, {"name": "ground", "colour": [3, 2, 1], "raw": [6]},
    ], "void": {"raw": [255]}}  # fmt: skip
    for name, document in (("truck", suite), ("classes", classes)):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(document))
    document = yard_recipe() | {"suite": "truck.yaml", "label_space": "classes.yaml", "calibration": None}
    document |= {"sensors": {"front": "image/{drive}/{frame}.png"}, "labels": "label/{drive}/{frame}.png"}
    frames = open_dataset(str(write_recipe(tmp_path / "own.yaml", document)), yard, "train")
    assert frames.suite.letters == "F" and len(frames.label_space) == 2
    counts = np.bincount(frames[0].labels.ravel(), minlength=256)
    assert (counts[0], counts[1], counts[255]) == ((HEIGHT // 2 - 1) * WIDTH, (HEIGHT - HEIGHT // 2) * WIDTH, WIDTH)


FIVE = {
    "name": "five",
    "sensors": {
        "front": {"kind": "image", "letter": "F"},
        "side": {"kind": "image", "letter": "S", "format": "grey"},
        "thermal": {"kind": "image", "letter": "T", "format": "thermal16", "range": [28000, 32000]},
        "lidar": {"kind": "points", "letter": "L"},
        "radar": {"kind": "points", "letter": "R", "range": [-20, 40]},
    },
}


def write_five(root, suite_file) -> dict:
    """The yard with a side camera in colours, thermal counts and a radar of named columns; its recipe."""
    suite_file.write_text(yaml.safe_dump(FIVE, sort_keys=False))
    rng = np.random.default_rng(5)
    for drive in ("d1", "d2", "d3"):
        write_png(root / "side" / drive / "0000.png", rng.integers(0, 256, (*SIZE, 3), np.uint8))
        write_png(root / "thermal" / drive / "0000.png", rng.integers(27000, 33000, SIZE).astype(np.uint16))
        points = cloud(rng, 40)
        points[:, 3] = rng.uniform(-30, 50, 40)
        (root / "radar" / drive).mkdir(parents=True)
        names = ("x", "y", "z", "rcs")
        np.savez(root / "radar" / drive / "0000.npz", **dict(zip(names, points.T, strict=True)))
    document = yaml.safe_load((root / "car.yaml").read_text())
    place = {"to_camera": LIDAR_TO_CAMERA}
    (root / "car.yaml").write_text(yaml.safe_dump(document | {"sensors": {"radar": place}}))
    recipe = yard_recipe() | {"suite": suite_file.name}
    lidar = recipe["sensors"]["lidar"]
    pictures = {name: f"{folder}/{{drive}}/{{frame}}.png" for name, folder in (
        ("front", "image"), ("side", "side"), ("thermal", "thermal"),
    )}  # fmt: skip
    return recipe | {"sensors": pictures | {"lidar": lidar, "radar": "radar/{drive}/{frame}.npz"}}


def test_value_five_sensors_of_a_suite_of_ones_own(yard, tmp_path):
    """Each plane against the codes by hand, or the rig: the cameras are at one place, so no picture moves."""
    recipe = write_five(yard, tmp_path / "five.yaml")
    frames = open_dataset(str(write_recipe(tmp_path / "recipe.yaml", recipe)), yard, "train")
    planes = frames[0].planes
    assert tuple(planes) == ("front", "side", "thermal", "lidar", "radar") and frames.suite.letters == "FSTLR"
    side = cv2.imread(str(yard / "side" / "d1" / "0000.png"), cv2.IMREAD_GRAYSCALE)
    np.testing.assert_allclose(planes["side"][..., 0], side, atol=1)
    counts = cv2.imread(str(yard / "thermal" / "d1" / "0000.png"), cv2.IMREAD_UNCHANGED).astype(float)
    expected = np.round(255 * np.clip((counts - 28000) / 4000, 0, 1))
    np.testing.assert_array_equal(planes["thermal"], np.repeat(expected[..., None], 3, axis=2))
    with np.load(yard / "radar" / "d1" / "0000.npz") as file:
        rows = np.column_stack([file["x"], file["y"], file["z"], np.clip((file["rcs"] + 20) / 60, 0, 1)])
    rig = SensorRig(load_calibration(yard / "car.yaml"), suite=frames.suite)
    radar = rig.planes({"radar": rows.astype(np.float32)}, 0)["radar"]
    assert radar.any() and np.abs(radar.astype(int) - planes["radar"]).max() <= 1
    assert frames.encodings["thermal"] == "range8-1"


def test_exception_colours_say_no_temperature(yard, tmp_path):
    recipe = write_five(yard, tmp_path / "five.yaml")
    write_png(yard / "thermal" / "d1" / "0000.png", np.zeros((*SIZE, 3), np.uint8))
    frames = open_dataset(str(write_recipe(tmp_path / "recipe.yaml", recipe)), yard, "train")
    with user_error("file-content", "thermal", kind=CorruptFileError):
        frames[0]
    recipe["sensors"]["radar"] = {"path": "radar/{drive}/{frame}.npz", "intensity_max": 40}
    with user_error("value-conflict", "sensors.radar.intensity_max"):
        read_recipe(write_recipe(tmp_path / "recipe.yaml", recipe))
