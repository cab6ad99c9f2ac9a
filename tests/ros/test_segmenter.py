"""Where the node takes the pose of a sensor from, and what it says about it."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import cv2
import fake_car
import numpy as np
import pytest
from fake_car import CAMERA, EVENT_CAMERA, START_NS, TYPES

from any2seg_core.messages import array_to_image_fields, serialise
from any2seg_core.runtime.overlay import overlay
from any2seg_core.sensors.calibration import Calibration, save_calibration
from any2seg_core.sensors.camera import CameraModel
from any2seg_core.sync import Gap, Sample, SampleSet
from any2seg_core.vocabulary.labels import DELIVER

pytest.importorskip("rclpy")

STORE = serialise.typestore()
SENSORS = ("rgb", "depth", "event")


def cloud_all_around() -> bytes:
    """However the LiDAR is mounted, some of its points lie in the picture."""
    points = np.random.default_rng(0).uniform([-30, -30, -30, 0], [30, 30, 30, 1], (3000, 4)).astype(np.float32)
    return serialise.point_cloud(points, START_NS, "ego_vehicle/lidar")


def sample_set(sensors: tuple[str, ...] = SENSORS, **frames: str) -> SampleSet:
    """One set; `frames`: sensor -> another frame_id than that of the camera."""
    from any2seg_ros.inputs import Received

    samples = {}
    for name in sensors:
        sent = cloud_all_around() if name == "lidar" else fake_car.message(name, START_NS)
        message = STORE.deserialize_cdr(sent, TYPES[name])
        message.header.frame_id = frames.get(name, CAMERA.frame_id)
        samples[name] = (Sample(START_NS, START_NS, Received(message, START_NS, START_NS)),)
    return SampleSet(START_NS, sensors[0], samples, {}, dict.fromkeys(samples, 0))


def static(parent: str, **children: float):
    """A tf2_msgs/TFMessage: children of a frame, unturned, each so far along its x axis."""
    rotation = SimpleNamespace(x=0.0, y=0.0, z=0.0, w=1.0)
    header = SimpleNamespace(frame_id=parent, stamp=SimpleNamespace(sec=0, nanosec=0))
    moves = {child: SimpleNamespace(x=x_m, y=0.0, z=0.0) for child, x_m in children.items()}
    return SimpleNamespace(
        transforms=[
            SimpleNamespace(
                header=header,
                child_frame_id=child,
                transform=SimpleNamespace(translation=move, rotation=rotation),
            )
            for child, move in moves.items()
        ]
    )


@pytest.fixture()
def make_segmenter(checkpoint, tmp_path):
    """Function that makes a Segmenter with cameras from a file and the given extrinsics."""

    def make(**extrinsics):
        save_calibration(tmp_path / "c.yaml", Calibration(CAMERA, CAMERA, EVENT_CAMERA, **extrinsics))
        return segmenter_with(checkpoint, calibration_file=str(tmp_path / "c.yaml"), check_frames=False)

    return make


def segmenter_with(checkpoint, **values):
    """A Segmenter with the node's defaults but for these parameters."""
    from any2seg_ros.model_pool import ModelPool
    from any2seg_ros.parameter_table import TABLE
    from any2seg_ros.parameters import check
    from any2seg_ros.segmenter import Segmenter

    defaults = {name: entry.default for name, entry in TABLE.items()}
    return Segmenter(check({**defaults, "checkpoint": str(checkpoint), **values}), ModelPool())


def driver_yaml(path, camera: CameraModel, name: str) -> str:
    """A camera's YAML file as camera_calibration writes it; returns its URL."""
    numbers = ", ".join(map(str, camera.K.ravel()))
    path.write_text(
        f"image_width: {camera.width}\nimage_height: {camera.height}\ncamera_name: {name}\n"
        f"camera_matrix: {{rows: 3, cols: 3, data: [{numbers}]}}\ndistortion_model: plumb_bob\n"
        "distortion_coefficients: {rows: 1, cols: 5, data: [0, 0, 0, 0, 0]}\n"
    )
    return f"file://{path}"


def test_value_pose_that_nobody_gives_is_assumed_and_named_once(make_segmenter):
    segmenter = make_segmenter()
    result = segmenter(sample_set(event="dvs"))
    assert result.used == SENSORS
    assert segmenter.extrinsics == {"depth": "camera_frame", "event": "assumed"}
    assert len(result.notes) == 1
    assert result.notes[0].startswith("event: ") and "'dvs'" in result.notes[0] and "/tf_static" in result.notes[0]
    assert segmenter(sample_set(event="dvs")).notes == ()


def test_value_pose_from_a_file_wins_over_tf_and_tf_over_nothing(make_segmenter):
    segmenter = make_segmenter(depth_to_camera=np.eye(4))
    segmenter(sample_set(depth="stereo", event="dvs"))
    assert segmenter.extrinsics == {"depth": "calibration_file", "event": "assumed"}
    segmenter.transforms.add_message(static(CAMERA.frame_id, stereo=0.1, dvs=0.1), is_static=True)
    assert segmenter(sample_set(depth="stereo", event="dvs")).notes == ()
    assert segmenter.extrinsics == {"depth": "calibration_file", "event": "tf"}


@pytest.mark.parametrize("compressed", [False, True])
def test_value_a_picture_of_events_keeps_its_place_in_the_window_whenever_it_arrives(make_segmenter, compressed):
    """Stamps by arrival: it comes 5 ms after the camera, and its events are those of the window all the same."""
    segmenter = make_segmenter()
    picture = np.zeros((EVENT_CAMERA.height, EVENT_CAMERA.width, 3), np.uint8)
    picture[10:20, 10:20, 0] = 255
    message = SimpleNamespace(**array_to_image_fields(picture, "rgb8"))
    if compressed:
        data = cv2.imencode(".png", picture[..., ::-1])[1].tobytes()
        message = SimpleNamespace(format="png", data=data)
    stamp = SimpleNamespace(sec=START_NS // 10**9, nanosec=START_NS % 10**9)
    message.header = SimpleNamespace(frame_id=CAMERA.frame_id, stamp=stamp)
    shift_ns = 3_600_005_000_000
    found = sample_set()
    sent = replace(found.samples["event"][0].payload, message=segmenter.receive("event", message, shift_ns))
    samples = {**found.samples, "event": (Sample(START_NS + 5_000_000, START_NS, sent),)}
    assert segmenter(replace(found, samples=samples)).planes["event"].any()


def test_value_times_of_events_move_with_the_stamp_of_their_arrival(make_segmenter):
    segmenter = make_segmenter()
    message = sample_set().samples["event"][0].payload.message
    plain, moved = (segmenter.receive("event", message, shift_ns) for shift_ns in (1, 5_000_000))
    np.testing.assert_array_equal(moved.events["t"], plain.events["t"] + 4_999_999)


@pytest.mark.parametrize("source", ["camera_info_url", "calibration_file"])
def test_value_camera_that_its_file_does_not_name_has_the_frame_of_its_images(checkpoint, tmp_path, source):
    """camera_name of a driver's file is a device; a calibration may leave frame_id out."""
    camera = CameraModel(CAMERA.width, CAMERA.height, CAMERA.K)
    url = driver_yaml(tmp_path / "ci.yaml", camera, "narrow_stereo")
    save_calibration(tmp_path / "c.yaml", Calibration(camera, event_camera=EVENT_CAMERA))
    files = {"camera_info_url": url, "calibration_file": str(tmp_path / "c.yaml")}
    segmenter = segmenter_with(checkpoint, **{source: files[source]})
    extrinsics = {"ego_vehicle/rgb_front": 0.0, "ego_vehicle/lidar": 0.5}
    segmenter.transforms.add_message(static("ego_vehicle", **extrinsics), is_static=True)
    result = segmenter(sample_set(("rgb", "lidar"), lidar="ego_vehicle/lidar"))
    assert result.used == ("rgb", "lidar") and result.frame_id == CAMERA.frame_id
    assert segmenter.extrinsics == {"lidar": "tf"}
    np.testing.assert_array_equal(result.cloud.rig.calibration.lidar_to_camera[:3, 3], [0.5, 0, 0])
    alone = segmenter(sample_set(("lidar",), lidar="ego_vehicle/lidar"))
    assert alone.used == ("lidar",) and alone.frame_id == CAMERA.frame_id


def test_value_files_of_depth_and_event_camera_hold_without_one_of_the_camera(checkpoint, tmp_path):
    depth, event = CameraModel.from_fov(48, 32, 60.0), CameraModel.from_fov(76, 60, 50.0)
    segmenter = segmenter_with(
        checkpoint,
        depth_camera_info_url=driver_yaml(tmp_path / "depth.yaml", depth, "depth"),
        events_camera_info_url=driver_yaml(tmp_path / "events.yaml", event, "dvs"),
    )
    info = STORE.deserialize_cdr(serialise.camera_info(CAMERA, START_NS), "sensor_msgs/msg/CameraInfo")
    assert segmenter.set_camera_info("rgb", info).changed
    assert not segmenter.set_camera_info("depth", info).changed  # its file wins over the topic
    result = segmenter(sample_set(("rgb", "lidar"), lidar=CAMERA.frame_id))
    calibration = result.cloud.rig.calibration
    np.testing.assert_array_equal(calibration.depth_camera.K, depth.K)
    np.testing.assert_array_equal(calibration.event_camera.K, event.K)
    assert calibration.camera.frame_id == CAMERA.frame_id


def test_value_pose_of_tf_holds_for_its_frames_alone(make_segmenter):
    """Another LiDAR, or another camera, that TF does not know: no pose is better than a wrong one."""
    segmenter = make_segmenter()
    segmenter.transforms.add_message(static(CAMERA.frame_id, lidar_a=0.5, stereo=0.1), is_static=True)
    sensors = ("rgb", "depth", "lidar")
    known = segmenter(sample_set(sensors, lidar="lidar_a", depth="stereo"))
    assert known.used == sensors and segmenter.extrinsics == {"depth": "tf", "lidar": "tf"}
    strange = segmenter(sample_set(sensors, lidar="lidar_b", depth="stereo"))
    assert strange.used == ("rgb", "depth") and segmenter.extrinsics == {"depth": "tf", "lidar": "none"}
    assert "'lidar_b'" in strange.errors["lidar"] and CAMERA.frame_id in strange.errors["lidar"]
    assert segmenter(sample_set(sensors, lidar="lidar_a", depth="stereo")).used == sensors
    rear = CameraModel(CAMERA.width, CAMERA.height, CAMERA.K, frame_id="rear")
    info = STORE.deserialize_cdr(serialise.camera_info(rear, START_NS), "sensor_msgs/msg/CameraInfo")
    assert segmenter.set_camera_info("rgb", info).changed
    turned = segmenter(sample_set(sensors, lidar="lidar_a", depth="stereo"))
    assert turned.used == ("rgb", "depth") and segmenter.extrinsics == {"depth": "assumed", "lidar": "none"}
    assert len(turned.notes) == 1 and "'stereo'" in turned.notes[0] and "'rear'" in turned.notes[0]


def test_value_cloud_without_a_pose_names_both_frames(checkpoint, tmp_path):
    save_calibration(tmp_path / "c.yaml", Calibration(CAMERA))
    segmenter = segmenter_with(checkpoint, calibration_file=str(tmp_path / "c.yaml"))
    result = segmenter(sample_set(("rgb", "lidar"), lidar="velodyne"))
    assert result.used == ("rgb",) and segmenter.extrinsics == {"lidar": "none"}
    assert "'velodyne'" in result.errors["lidar"] and f"'{CAMERA.frame_id}'" in result.errors["lidar"]
    in_camera = segmenter(sample_set(("rgb", "lidar"), lidar=CAMERA.frame_id))  # as clouds of a depth camera
    assert in_camera.used == ("rgb", "lidar") and segmenter.extrinsics == {"lidar": "camera_frame"}


@pytest.mark.parametrize(("check", "used"), [(True, ("rgb",)), (False, ("rgb", "lidar"))])
def test_value_cloud_of_another_frame_than_the_calibrations_is_left_out(checkpoint, tmp_path, check, used):
    calibration = Calibration(CAMERA, lidar_to_camera=fake_car.LIDAR_TO_CAMERA, lidar_frame="velodyne")
    save_calibration(tmp_path / "c.yaml", calibration)
    segmenter = segmenter_with(checkpoint, calibration_file=str(tmp_path / "c.yaml"), check_frames=check)
    assert segmenter(sample_set(("rgb", "lidar"), lidar="/velodyne")).used == ("rgb", "lidar")
    result = segmenter(sample_set(("rgb", "lidar"), lidar="ouster"))
    assert result.used == used and result.reasons == ({"lidar": "frame"} if check else {})
    assert not check or ("'ouster'" in result.errors["lidar"] and "'velodyne'" in result.errors["lidar"])


def resized(found: SampleSet, height: int, width: int) -> SampleSet:
    """The same set with a camera image of another size."""
    payload = found.samples["rgb"][0].payload
    pixels = np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)
    message = SimpleNamespace(header=payload.message.header, **array_to_image_fields(pixels, "rgb8"))
    sample = replace(found.samples["rgb"][0], payload=replace(payload, message=message))
    return replace(found, samples={**found.samples, "rgb": (sample,)})


def test_value_outputs_have_the_size_of_the_image_whatever_camera_info_says(make_segmenter):
    """Half of it, odd, larger, changing at run time; without the camera that of its last image until time jumps."""
    from any2seg_ros.outputs import make_semantic_cloud

    segmenter = make_segmenter(lidar_to_camera=fake_car.LIDAR_TO_CAMERA)
    everything, blind = sample_set((*SENSORS, "lidar")), sample_set(("lidar", "depth"))
    to_camera = np.array(fake_car.LIDAR_TO_CAMERA)
    for height, width in ((32, 48), (63, 95), (127, 191), (64, 96)):
        for found in (resized(everything, height, width), blind):
            result = segmenter(found)
            assert set(result.used) == set(found.samples)
            assert result.labels.shape == result.confidence.shape == (height, width)
            assert {plane.shape for plane in result.planes.values()} == {(height, width, 3)}
            background = result.planes["rgb" if "rgb" in result.used else "depth"]
            np.testing.assert_array_equal(overlay(result.labels, result.planes, DELIVER, 0.0), background)
            cloud = make_semantic_cloud(result, result.cloud, DELIVER)
            records = np.frombuffer(cloud.data, np.uint8).reshape(-1, cloud.point_step)
            said = records[:, 16:18].copy().view(np.uint16)[:, 0]
            seen = said != 65535
            points = result.cloud.points[:, :3].astype(np.float64) @ to_camera[:3, :3].T + to_camera[:3, 3]
            column, row = np.round(CAMERA.scaled(width, height).project(points)[0][seen]).astype(int).T
            assert seen.mean() > 0.05
            np.testing.assert_array_equal(said[seen], result.labels[row, column])
    segmenter(resized(everything, 32, 48))
    segmenter.reset()
    assert segmenter(blind).labels.shape == (64, 96)


def test_value_sensors_that_send_but_not_near_enough_are_named_with_distance_and_limit(make_segmenter):
    found = sample_set()
    samples = {"rgb": found.samples["rgb"]}
    missing = {"depth": "stale", "event": "stale", "lidar": "never_seen"}
    gaps = {"depth": Gap(-340_000_000, 100_000_000), "event": Gap(-90_000_000, 70_000_000)}
    result = make_segmenter()(replace(found, samples=samples, missing=missing, gaps=gaps))
    assert result.missing == {
        "depth": "stale: nearest message is 340 ms older, max_age_s is 0.1",
        "event": "stale: nearest message is 90 ms older, event window and noise_window_s is 0.07",
        "lidar": "never_seen",
    }


def test_value_confidence_is_there_where_it_is_wanted_or_needed(make_segmenter):
    segmenter = make_segmenter()
    full = segmenter(sample_set())
    lean = segmenter(sample_set(), with_confidence=False)
    strict = segmenter(sample_set(), confidence_threshold=1.0, with_confidence=False)
    assert full.confidence.shape == full.labels.shape and lean.confidence is None
    np.testing.assert_array_equal(lean.labels, full.labels)
    assert (strict.labels == 255).all()


def test_value_planes_that_nobody_wants_are_made_for_the_model_alone(make_segmenter):
    """The model takes 64x96."""
    segmenter = make_segmenter(lidar_to_camera=fake_car.LIDAR_TO_CAMERA)
    everything, blind = sample_set((*SENSORS, "lidar")), sample_set(("event", "lidar"))
    for found in (resized(everything, 127, 191), blind):
        whole, lean = segmenter(found), segmenter(found, with_planes=False)
        assert whole.used == lean.used and whole.labels.shape == (127, 191)
        np.testing.assert_array_equal(lean.labels, whole.labels)
        assert {plane.shape for plane in whole.planes.values()} == {(127, 191, 3)}
        assert {lean.planes[name].shape for name in ("event", "lidar")} == {(64, 96, 3)}


@pytest.mark.parametrize(
    ("clock_rate", "late_ms", "expected_ms"),
    [(1.0, 0, 300), (1.0, 2500, 2800), (0.01, 0, 3), (10.0, 0, 300)],
    ids=["steady", "waited in the transport", "slow simulation", "recording played fast"],
)
def test_value_age_is_that_of_the_newest_message_on_the_clock_that_makes_it_younger(clock_rate, late_ms, expected_ms):
    """Cloud 900 ms and image 300 ms ago by the steady clock; the other clock runs at its own pace."""
    from any2seg_ros.inputs import Received
    from any2seg_ros.segmenter import age_ns

    ms = 1_000_000
    samples = []
    for ago_ms in (900, 300):
        received = Received(None, 1, (5000 - ago_ms) * ms, late_ms * ms)
        samples.append(Sample(1, START_NS - round(ago_ms * clock_rate) * ms, received))
    assert age_ns(samples, 5000 * ms, START_NS) == expected_ms * ms


def test_value_sensors_whose_planes_the_model_does_not_know_are_named(tmp_path):
    from any2seg_core.models import Any2Seg, ModelConfig
    from any2seg_core.runtime.checkpoint import save_checkpoint
    from any2seg_core.vocabulary.contract import InputContract

    contract = InputContract(height=32, width=64)
    contract = contract.model_copy(update={"encodings": contract.encodings | {"depth": "deliver-hha"}})
    save_checkpoint(tmp_path / "m.safetensors", Any2Seg(ModelConfig(head_width=16)), contract, {})
    (note,) = segmenter_with(tmp_path / "m.safetensors").encoding_notes
    assert note.startswith("depth: ") and "deliver-hha" in note
    assert segmenter_with(tmp_path / "m.safetensors", modalities=["rgb", "lidar"]).encoding_notes == ()


@pytest.mark.parametrize(("stream", "fixed_frame", "is_known"), [("filter", "", True), ("filter", "elsewhere", False),
                                                                 ("off", "", False)])  # fmt: skip
def test_value_a_stream_that_filters_asks_where_the_camera_is(checkpoint, tmp_path, stream, fixed_frame, is_known):
    """By /tf, against odom or what fixed_frame names."""
    save_calibration(tmp_path / "c.yaml", Calibration(CAMERA, CAMERA, EVENT_CAMERA))
    given = {"calibration_file": str(tmp_path / "c.yaml"), "stream": stream, "fixed_frame": fixed_frame}
    segmenter = segmenter_with(checkpoint, **given)
    segmenter.transforms.add_message(static("odom", **{CAMERA.frame_id: 0.1}), is_static=True)
    pose = segmenter._pose(10**9)
    assert (pose is not None) == is_known
    if pose is not None:
        np.testing.assert_allclose(pose.to_world[:3, 3], [0.1, 0.0, 0.0])
        assert pose.world == "odom"
