"""Messages by field: real rosbags messages, fakes, and every way in which one can be wrong."""

from __future__ import annotations

import array
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from raised import user_error
from rosbags.typesys import Stores, get_typestore

from any2seg_core.base.errors import UserError
from any2seg_core.messages import (
    MessageError,
    array_to_image_fields,
    cloud_rows,
    cloud_to_events,
    cloud_to_points,
    image_to_array,
    image_to_depth_m,
    image_to_rgb,
    stamp_ns,
)
from any2seg_core.sensors.events import EVENT_DTYPE

H, W = 7, 5
RNG = np.random.default_rng(3)
RGB = RNG.integers(0, 256, (H, W, 3), dtype=np.uint8)
ALPHA = np.full((H, W, 1), 7, np.uint8)


def _image(pixels: np.ndarray, encoding: str, padding: int = 0, big: bool = False, **changes) -> SimpleNamespace:
    stored = pixels.astype(pixels.dtype.newbyteorder(">" if big else "<"))
    rows = stored.reshape(len(pixels), -1).view(np.uint8)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=99)
    fields = {
        "height": pixels.shape[0], "width": pixels.shape[1], "encoding": encoding, "is_bigendian": int(big),
        "step": rows.shape[1], "data": rows.tobytes(),
    }  # fmt: skip
    return SimpleNamespace(**{**fields, **changes})


CODES = {"u1": 2, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 8, "i1": 1, "i8": 8}


def _cloud(records: np.ndarray, big: bool = False, height: int = 1, row_padding: int = 0, **changes) -> SimpleNamespace:
    offsets = {name: records.dtype.fields[name][1] for name in records.dtype.names}
    fields = [
        SimpleNamespace(
            name=name, offset=offset, datatype=CODES[records.dtype[name].newbyteorder("=").str[1:]], count=1
        )
        for name, offset in offsets.items()
    ]
    step, width = records.dtype.itemsize, len(records) // height
    rows = np.frombuffer(records.tobytes(), np.uint8).reshape(height, width * step)
    rows = np.pad(rows, ((0, 0), (0, row_padding)), constant_values=99)
    values = {
        "height": height, "width": width, "fields": fields, "is_bigendian": big, "point_step": step,
        "row_step": rows.shape[1], "data": rows.tobytes(), "is_dense": False,
    }  # fmt: skip
    return SimpleNamespace(**{**values, **changes})


def _points(n: int = 12, order: str = "<") -> np.ndarray:
    layout = np.dtype([("ring", "u2"), ("z", order + "f4"), ("intensity", order + "f4"), ("x", order + "f8"),
                       ("y", order + "f4"), ("pad", "u1")])  # fmt: skip
    records = np.zeros(n, layout)
    for name in ("x", "y", "z"):
        records[name] = np.random.default_rng(1).normal(size=n).astype(np.float32)
    records["intensity"] = np.linspace(0, 1, n)
    return records


@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize(
    "container",
    [
        bytes,
        bytearray,
        memoryview,
        list,
        lambda data: array.array("B", data),
        lambda data: np.frombuffer(data, np.uint8),
        lambda data: np.frombuffer(data, np.int8),
    ],
)
def test_value_every_container_of_bytes(container, padding):
    msg = _image(RGB, "rgb8", padding)
    msg.data = container(msg.data)
    np.testing.assert_array_equal(image_to_rgb(msg), RGB)


@pytest.mark.parametrize(
    ("encoding", "pixels"),
    [
        ("rgb8", RGB),
        ("bgr8", RGB[..., ::-1]),
        ("8UC3", RGB[..., ::-1]),
        ("rgba8", np.concatenate([RGB, ALPHA], 2)),
        ("bgra8", np.concatenate([RGB[..., ::-1], ALPHA], 2)),
    ],
)
def test_value_colour_encodings_become_rgb(encoding, pixels):
    got = image_to_rgb(_image(np.ascontiguousarray(pixels), encoding, padding=2))
    np.testing.assert_array_equal(got, RGB)
    assert got.dtype == np.uint8 and got.flags.c_contiguous


def test_value_grey_encodings_become_rgb():
    grey = RGB[..., 0].copy()
    expected = np.repeat(grey[..., None], 3, 2)
    for msg in (_image(grey, "mono8"), _image(grey, "8UC1"), _image(grey.astype(np.uint16) << 8, "mono16", big=True)):
        np.testing.assert_array_equal(image_to_rgb(msg), expected)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("padding", [0, 5])
def test_value_depth_encodings_become_metres(big, padding):
    metres = RNG.uniform(0, 60, (H, W)).astype(np.float32)
    metres[0, 0] = np.nan
    np.testing.assert_array_equal(image_to_depth_m(_image(metres, "32FC1", padding, big)), metres)
    millimetres = RNG.integers(0, 60000, (H, W)).astype(np.uint16)
    for encoding in ("16UC1", "mono16"):
        got = image_to_depth_m(_image(millimetres, encoding, padding, big))
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, millimetres / 1000.0, rtol=1e-6)


def test_value_carla_packed_depth():
    code = RNG.integers(0, 2**24, (H, W))
    bgra = np.stack([code >> 16, (code >> 8) & 255, code & 255, np.full((H, W), 255)], 2).astype(np.uint8)
    np.testing.assert_allclose(image_to_depth_m(_image(bgra, "bgra8")), code / (2**24 - 1) * 1000.0, rtol=1e-6)


@pytest.mark.parametrize("encoding", ["rgb8", "mono8", "16UC1", "32FC1", "bgra8"])
def test_value_image_fields_round_trip(encoding):
    pixels = {
        "rgb8": RGB,
        "mono8": RGB[..., 1],
        "16UC1": RGB[..., 0].astype(np.uint16),
        "bgra8": RGB[:, :, [0, 1, 2, 0]],
        "32FC1": RGB[..., 0].astype(np.float32),
    }[encoding]
    fields = array_to_image_fields(pixels, encoding)
    assert isinstance(fields["data"], array.array) and fields["data"].typecode == "B"
    np.testing.assert_array_equal(image_to_array(SimpleNamespace(**fields)), pixels)
    with user_error("message-encoding", encoding):
        array_to_image_fields(pixels.astype(np.float64), encoding)


def test_value_real_rosbags_messages_after_serialisation():
    store = get_typestore(Stores.ROS2_JAZZY)
    make = store.types
    stamp = make["builtin_interfaces/msg/Time"](sec=5, nanosec=7)
    header = make["std_msgs/msg/Header"](stamp=stamp, frame_id="c")
    fields = array_to_image_fields(RGB, "bgr8")
    image = make["sensor_msgs/msg/Image"](header=header, **{**fields, "data": np.frombuffer(fields["data"], np.uint8)})
    image = store.deserialize_cdr(store.serialize_cdr(image, image.__msgtype__), image.__msgtype__)
    assert stamp_ns(image.header) == stamp_ns(image.header.stamp) == 5_000_000_007
    np.testing.assert_array_equal(image_to_rgb(image), cv2.cvtColor(RGB, cv2.COLOR_BGR2RGB))
    records = _points()
    fake = _cloud(records)
    point_field = make["sensor_msgs/msg/PointField"]
    fake.fields = [point_field(name=f.name, offset=f.offset, datatype=f.datatype, count=1) for f in fake.fields]
    fake.data = np.frombuffer(fake.data, np.uint8)
    cloud = make["sensor_msgs/msg/PointCloud2"](header=header, **vars(fake))
    cloud = store.deserialize_cdr(store.serialize_cdr(cloud, cloud.__msgtype__), cloud.__msgtype__)
    expected = np.stack([records[n] for n in ("x", "y", "z", "intensity")], 1).astype(np.float32)
    np.testing.assert_array_equal(cloud_to_points(cloud), expected)


@pytest.mark.parametrize(("height", "padding"), [(1, 0), (3, 0), (3, 6)])
@pytest.mark.parametrize("order", ["<", ">"])
def test_value_points_by_name_in_any_layout(order, height, padding):
    records = _points(12, order)
    expected = np.stack([records[n] for n in ("x", "y", "z", "intensity")], 1).astype(np.float32)
    got = cloud_to_points(_cloud(records, order == ">", height, padding))
    np.testing.assert_array_equal(got, expected)
    assert got.dtype == np.float32


def test_value_points_drop_not_finite_rows_and_allow_missing_intensity():
    records = np.zeros(4, [("x", "f4"), ("y", "f4"), ("z", "f4")])
    records["x"] = [1, np.nan, 2, np.inf]
    points = cloud_to_points(_cloud(records))
    np.testing.assert_array_equal(points, [[1, 0, 0, 1], [2, 0, 0, 1]])
    assert cloud_to_points(_cloud(records[:0])).shape == (0, 4)


ROW = np.dtype([(name, "<f4") for name in ("x", "y", "z", "intensity")])


@pytest.mark.parametrize(
    ("place", "value", "is_in_place"),
    [((3, "intensity"), 0.25, True), ((3, "intensity"), 1.25, False), ((3, "intensity"), np.nan, False),
     ((0, "x"), np.nan, False), ((8, "z"), np.inf, False), ((8, "y"), -np.inf, False), ((5, "intensity"), -0.5, False)],
)  # fmt: skip
@pytest.mark.parametrize("order", ["xyzi", "yxzi", "padded"])
def test_value_rows_that_need_no_change_are_not_copied(place, value, is_in_place, order):
    turned = np.dtype([(name, "<f4") for name in ("y", "x", "z", "intensity")])
    layouts = {"xyzi": ROW, "yxzi": turned, "padded": np.dtype([*ROW.descr, ("ring", "<u2")])}
    records = np.zeros(9, layouts[order])
    for name in ROW.names:
        records[name] = RNG.uniform(0.1, 1.0, 9)
    records[place[1]][place[0]] = value
    message = _cloud(records)
    found = cloud_to_points(message)
    rows = np.stack([records[name] for name in ROW.names], axis=1)
    rows = rows[np.isfinite(rows[:, :3]).all(axis=1)]
    np.testing.assert_array_equal(found, np.column_stack([rows[:, :3], np.nan_to_num(rows[:, 3]).clip(0, 1)]))
    assert np.shares_memory(found, np.frombuffer(message.data, np.uint8)) == (is_in_place and order == "xyzi")
    assert not (is_in_place and order == "xyzi") or not found.flags.writeable


def test_value_points_at_the_origin_are_dropped_whatever_the_rest():
    records = np.zeros(5, ROW)
    records["x"], records["intensity"] = [4, 0.005, 3, 0, 0.02], 0.5
    np.testing.assert_array_equal(cloud_to_points(_cloud(records))[:, 0], np.float32([4, 3, 0.02]))


def test_value_intensity_scales():
    layout = [("x", "f4"), ("y", "f4"), ("z", "f4")]
    integer = np.ones(2, [*layout, ("intensity", "u1")])
    integer["intensity"] = [51, 255]
    np.testing.assert_allclose(cloud_to_points(_cloud(integer))[:, 3], [0.2, 1.0])
    floating = np.ones(3, [*layout, ("intensity", "f4")])
    floating["intensity"] = [51, 300, np.nan]
    np.testing.assert_allclose(cloud_to_points(_cloud(floating), intensity_max=255.0)[:, 3], [0.2, 1.0, 0.0])


def _carla_events(n: int, time: str) -> np.ndarray:
    records = np.zeros(n, [("x", "<u2"), ("y", "<u2"), ("t", "<" + time), ("pol", "i1")])
    records["x"], records["y"] = np.arange(n), np.arange(n) * 2
    records["t"], records["pol"] = 5_000_000_000 + np.arange(n) * 1000, np.arange(n) % 2
    return records


@pytest.mark.parametrize("time", ["f8", "i8"])
def test_value_carla_events_bridge_and_native(time):
    records = _carla_events(9, time)
    msg = _cloud(records)
    if time == "i8":  # CARLA 0.9.16: broken names, width in bytes
        msg.fields[3].name, msg.width, msg.row_step = "", len(msg.data), 0
    events = cloud_to_events(msg)
    assert events.dtype == EVENT_DTYPE
    np.testing.assert_array_equal(events["t"], records["t"].astype(np.int64))
    np.testing.assert_array_equal(events["p"], np.where(records["pol"] > 0, 1, -1))
    np.testing.assert_array_equal(events["y"], records["y"])


def test_value_named_events_and_empty_packets():
    records = np.zeros(4, [("p", "u1"), ("t", "f8"), ("y", "u2"), ("x", "u2"), ("pad", "u4")])
    records["t"], records["p"] = [1e9, 2e9, 3e9, 0], [1, 0, 1, 0]
    events = cloud_to_events(_cloud(records))
    assert events["t"].tolist() == [10**9, 2 * 10**9, 3 * 10**9, 0] and events["p"].tolist() == [1, -1, 1, -1]
    assert len(cloud_to_events(_cloud(_carla_events(0, "f8")))) == 0


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"encoding": "magic"}, ("message-encoding", "'magic'")),
        ({"encoding": 3}, ("message-field", "encoding")),
        ({"step": 14}, ("message-step", "step 14")),
        ({"step": 16}, ("message-length", "112")),
        ({"data": b"abc"}, ("message-length", "3 bytes")),
        ({"data": "text"}, ("message-field", "data")),
        ({"data": None}, ("message-field", "data")),
        ({"data": [1, 2, 300]}, ("message-field",)),
        ({"data": np.zeros(35, np.float32)}, ("message-field", "4 bytes")),
        ({"height": 0}, ("message-size", "height", "is 0")),
        ({"width": -1}, ("message-size", "width", "is -1")),
        ({"width": 2**31}, ("message-size", "width")),
        ({"height": 2.5}, ("message-field",)),
        ({"is_bigendian": "no"}, ("message-field", "is_bigendian")),
        ({"encoding": "32FC1"}, ("message-step", "step 15")),
    ],
)
def test_exception_malformed_images(changes, told):
    msg = _image(RGB, "rgb8")
    vars(msg).update(changes)
    with user_error(*told) as caught:
        image_to_array(msg)
    assert "\n" not in str(caught.value) and isinstance(caught.value, UserError)


@pytest.mark.parametrize("name", ["height", "width", "encoding", "step", "data", "is_bigendian"])
def test_exception_missing_image_field(name):
    msg = _image(RGB, "rgb8")
    delattr(msg, name)
    with user_error("message-field", name):
        image_to_rgb(msg)


def test_exception_wrong_kind_of_image():
    with user_error("message-encoding"):
        image_to_rgb(_image(np.ones((3, 2), np.float32), "32FC1"))
    with user_error("message-encoding"):
        image_to_depth_m(_image(RGB, "rgb8"))


@pytest.mark.parametrize("row_step", [0, 1, 12 * _points().dtype.itemsize])
def test_value_without_padding_a_wrong_row_step_of_an_organised_cloud_changes_nothing(row_step):
    plain, other = _cloud(_points(), height=3), _cloud(_points(), height=3, row_step=row_step)
    np.testing.assert_array_equal(cloud_to_points(other), cloud_to_points(plain))
    padded = _cloud(_points(), height=3, row_padding=5, row_step=row_step)
    with user_error("message-step" if row_step < 2 else "message-length"):
        cloud_to_points(padded)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"point_step": 0}, ("message-step", "point_step", "is 0")),
        ({"point_step": 8}, ("message-length",)),
        ({"data": b""}, ("message-length", "0 bytes")),
        ({"width": 13}, ("message-length",)),
        ({"width": 2**40}, ("message-size", "width")),
        ({"height": 10**5, "width": 10**5}, ("message-size",)),
        ({"fields": []}, ("message-layout", "x, y, z")),
        ({"fields": 7}, ("message-field",)),
        ({"fields": [SimpleNamespace(name="x", offset=0, datatype=9, count=1)]}, ("message-layout",)),
        ({"fields": [SimpleNamespace(name="x", offset=30, datatype=7, count=1)]}, ("message-layout",)),
        ({"fields": [SimpleNamespace(name="x")]}, ("message-field", "'offset'")),
    ],
)
def test_exception_malformed_clouds(changes, told):
    msg = _cloud(_points())
    vars(msg).update(changes)
    with user_error(*told):
        cloud_to_points(msg)


@pytest.mark.parametrize("unused", [("padding", 0, 0), ("time", 1000, 8), ("blob", 4, 9)])
def test_value_fields_that_nobody_asks_for_may_be_of_any_type(unused):
    """Drivers that declare padding, or types of their own, must not lose their cloud by it."""
    cloud = _cloud(_points(5))
    name, offset, datatype = unused
    plain = cloud_to_points(cloud)
    cloud.fields.insert(0, SimpleNamespace(name=name, offset=offset, datatype=datatype, count=0))
    np.testing.assert_array_equal(cloud_to_points(cloud), plain)
    assert name not in cloud_rows(cloud)[1]
    cloud.fields[0].name = "z"  # the first of equal names counts
    with user_error("message-layout"):
        cloud_to_points(cloud)


def test_exception_malformed_events():
    with user_error("message-length", "13-byte"):
        cloud_to_events(_cloud(_carla_events(3, "f8"), data=b"x" * 38))
    wrong = _carla_events(3, "f8")
    wrong["t"] = np.nan
    with user_error("message-value"):
        cloud_to_events(_cloud(wrong))
    with user_error("message-layout", "t"):
        cloud_to_events(_cloud(_points()))


@pytest.mark.parametrize("stamp", [(-1, 0), (0, -1), (0, 10**9), (1.5, 0), ("a", 0), (2**60, 0)])
def test_exception_bad_stamps(stamp):
    header = SimpleNamespace(stamp=SimpleNamespace(sec=stamp[0], nanosec=stamp[1]))
    with user_error("message-stamp", "stamp"):
        stamp_ns(header)
    with user_error("message-stamp", "sec"):
        stamp_ns(SimpleNamespace())


ANY = st.one_of(st.integers(-3, 40), st.integers(), st.floats(), st.none(), st.text(max_size=6), st.binary(max_size=90),
                st.booleans(), st.lists(st.integers(-2, 260), max_size=40))  # fmt: skip
FIELD = st.builds(SimpleNamespace, name=st.sampled_from(["x", "y", "z", "t", "pol", "intensity", "", 3]),
                  offset=st.integers(-2, 30), datatype=st.integers(-1, 10), count=ANY)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "height": st.integers(0, 4) | ANY, "width": st.integers(0, 5) | ANY, "step": st.integers(0, 40) | ANY,
            "encoding": st.sampled_from(["rgb8", "bgra8", "mono8", "mono16", "32FC1", "8UC3", "x"]) | ANY,
            "is_bigendian": ANY, "data": st.binary(max_size=120) | ANY, "point_step": st.integers(0, 32) | ANY,
            "row_step": st.integers(0, 120) | ANY, "fields": st.lists(FIELD, max_size=6) | ANY, "stamp": ANY,
        },
    )
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_property_random_messages_raise_only_message_errors(fields):
    msg = SimpleNamespace(**fields)
    for read in (image_to_array, image_to_rgb, image_to_depth_m, cloud_to_points, cloud_to_events, stamp_ns):
        try:
            result = read(msg)
        except MessageError as error:
            assert "\n" not in str(error) and str(error)
        else:
            assert isinstance(result, int | np.ndarray)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([13, 16, 20]), st.booleans(), st.sampled_from(["f8", "f4", "u4", "i8"]))
def test_property_random_bytes_in_well_formed_clouds(data, step, big, time):
    n = len(data) // step
    layout = [("x", 0, 4), ("y", 2, 4), ("t", 4, CODES[time]), ("pol", 12, 1), ("z", 0, 7), ("intensity", 8, 7)]
    fields = [SimpleNamespace(name=name, offset=offset, datatype=kind, count=1) for name, offset, kind in layout]
    msg = SimpleNamespace(height=1, width=n, fields=fields, is_bigendian=big, point_step=step, row_step=n * step,
                          data=data[: n * step], is_dense=True)  # fmt: skip
    points = None
    if step >= 16:
        points = cloud_to_points(msg)
        assert points.shape[0] <= n and np.isfinite(points).all()
    try:
        events = cloud_to_events(msg)
    except MessageError as error:
        assert "event" in str(error)
    else:
        assert events.dtype == EVENT_DTYPE and len(events) == n
