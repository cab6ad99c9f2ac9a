"""Parameters of the node: bad ones fail configure with the reason, tunable ones change at run time, all or none."""

from __future__ import annotations

import math

import pytest
from acceptance import wait_for

pytest.importorskip("rclpy")
pytestmark = pytest.mark.ros


def set_all(node, **values):
    from rclpy.parameter import Parameter

    return node.set_parameters_atomically([Parameter(name.replace("__", "."), value=v) for name, v in values.items()])


def test_value_every_parameter_is_described_and_says_whether_it_can_change(make_node):
    from any2seg_ros.parameter_table import TABLE

    node = make_node()
    for name, entry in TABLE.items():
        descriptor = node.describe_parameter(name)
        assert descriptor.description == entry.description
        assert descriptor.read_only != entry.tunable
        if isinstance(entry.default, float):
            (limits,) = descriptor.floating_point_range
            assert (limits.from_value, limits.to_value) == (entry.low, entry.high)
        if entry.choices:
            assert all(choice in descriptor.additional_constraints for choice in entry.choices)


@pytest.mark.parametrize(("given", "expected"), [("off", "off"), ("'off'", "off"), ("filter", "filter")])
def test_value_off_is_off_with_and_without_quotes(make_node, given, expected):
    """YAML and `-p stream:=off` make false of it."""
    node = make_node(stream=given)
    assert node.declared.complaints == {}
    assert node.declared.settings().stream == expected


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"timeout_s": 99.0}, "timeout_s"),
        ({"timeout_s": "soon"}, "timeout_s"),
        ({"input_reliability": "sometimes"}, "input_reliability"),
        ({"modalities": "[rgb, sonar]"}, "sonar"),
        ({"event_format": "packet"}, "event_camera_msgs"),
        ({"rgb.noise_window_s": 0.5}, "rgb.noise_window_s"),
        ({"camera_info_url": "none.yaml"}, "none.yaml"),
        ({"calibration_file": "none.yaml"}, "none.yaml"),
        ({"device": "abacus"}, "abacus"),
        ({"precision": "float16"}, "float32 or bfloat16"),
        ({"checkpoint": "none.safetensors"}, "none.safetensors"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_exception_bad_parameters_fail_configure_with_the_reason(make_node, checkpoint, capfd, parameters, told):
    from rclpy.lifecycle import TransitionCallbackReturn

    if told == "event_camera_msgs":
        from any2seg_ros import distro

        if distro.has(told):
            pytest.skip("installed here, so the format can be used")
    node = make_node(**{"checkpoint": checkpoint, **parameters})
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    written = capfd.readouterr().err
    assert "cannot configure" in written
    assert told in written
    assert "Traceback" not in written


def test_value_parameter_that_was_repaired_lets_configure_pass(make_node, checkpoint, capfd):
    """Two were wrong at the start; the message names those that still are."""
    from rclpy.lifecycle import TransitionCallbackReturn

    node = make_node(checkpoint=checkpoint, timeout_s=99.0, overlay_alpha=7.0)
    assert set_all(node, timeout_s=0.1).successful
    assert not set_all(node, overlay_alpha=8.0).successful
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    written = capfd.readouterr().err
    assert "overlay_alpha" in written and "timeout_s" not in written
    assert set_all(node, overlay_alpha=0.25).successful
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert node._settings.sync.timeout_ns == 100_000_000
    assert node._settings.overlay_alpha == 0.25


def test_value_tunable_parameters_take_effect_and_buffers_stay(active):
    active._pipeline.offer("lidar", 10**18, None)
    result = set_all(active, lidar__max_age_s=0.3, timeout_s=0.02, overlay_alpha=0.25, confidence_threshold=0.5)
    assert result.successful, result.reason
    config, stats = active._pipeline.inspect(lambda synchronizer: (synchronizer.config, synchronizer.stats))
    assert config.streams["lidar"].max_age_ns == 300_000_000
    assert config.timeout_ns == 20_000_000
    assert stats.streams["lidar"].added == 1
    assert active._outputs.overlay_alpha == 0.25
    assert active._settings.confidence_threshold == 0.5


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"overlay_alpha": 0.1, "rgb__noise_window_s": 5.0}, "rgb.noise_window_s"),
        ({"overlay_alpha": 0.1, "timeout_s": math.nan}, "timeout_s"),
        ({"overlay_alpha": 0.1, "timeout_s": -1.0}, "timeout_s"),
        ({"overlay_alpha": 0.1, "checkpoint": "other.safetensors"}, "checkpoint"),
    ],
    ids=["contradiction", "nan", "range", "read-only"],
)
def test_exception_what_is_refused_changes_nothing_and_says_why(active, values, told):
    before = active._settings
    result = set_all(active, **values)
    assert not result.successful
    assert told in result.reason
    assert active._settings is before
    assert active.get_parameter("overlay_alpha").value == 0.5
    assert active._outputs.overlay_alpha == 0.5


def test_value_standard_qos_overrides_win(make_node, checkpoint):
    from rclpy.qos import ReliabilityPolicy

    name = "qos_overrides./segment/in/image.subscription.reliability"
    node = make_node(**{"checkpoint": checkpoint, "modalities": "[rgb]", name: "reliable"})
    node.trigger_configure()
    node.trigger_activate()
    # A node hears of its own topics through discovery, a moment later.
    assert wait_for(lambda: node.get_subscriptions_info_by_topic("/segment/in/image"))
    (info,) = node.get_subscriptions_info_by_topic("/segment/in/image")
    assert info.qos_profile.reliability == ReliabilityPolicy.RELIABLE


def test_value_transports_and_formats_subscribe_to_their_topics(make_node, checkpoint):
    from sensor_msgs.msg import CompressedImage, Image

    parameters = {"image_transport": "compressed", "depth_transport": "compressedDepth", "event_format": "image"}
    node = make_node(checkpoint=checkpoint, **parameters)
    node.trigger_configure()
    node.trigger_activate()
    kinds = {each.topic_name: each.msg_type for each in node.subscriptions}
    assert kinds["/segment/in/image/compressed"] is CompressedImage
    assert kinds["/segment/in/depth/compressedDepth"] is CompressedImage
    assert kinds["/segment/in/events"] is Image


@pytest.mark.parametrize(("remapped", "published"), [("/cam/jpeg", "/cam/jpeg"), ("/cam/compressed", "/cam/compressed"),
                                                     ("/cam/raw", "/cam/raw/compressed")])  # fmt: skip
def test_value_compressed_images_are_found_by_their_type(make_node, checkpoint, domain, remapped, published):
    """On the topic itself, whatever it is called, or below it, where image_transport publishes them."""
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from sensor_msgs.msg import CompressedImage

    remap = {"~/in/image": remapped}
    node = make_node(checkpoint=checkpoint, modalities="[rgb]", image_transport="compressed", remappings=remap)
    node.trigger_configure()
    node.trigger_activate()
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    other = rclpy.create_node("camera", context=context)
    publisher = other.create_publisher(CompressedImage, published, 1)
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    try:
        for _ in range(400):
            executor.spin_once(timeout_sec=0.05)
            if publisher.get_subscription_count():
                break
        assert publisher.get_subscription_count() == 1
        assert node._inputs.publishers("rgb") == 1
    finally:
        executor.remove_node(node)
        other.destroy_node()
        rclpy.shutdown(context=context)


def test_value_event_format_auto_follows_the_publisher(active, domain):
    """From the cloud that is expected first to rendered images, as soon as somebody publishes those."""
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from sensor_msgs.msg import Image, PointCloud2

    assert active._inputs._subscriptions["event"].msg_type is PointCloud2
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    other = rclpy.create_node("renderer", context=context)
    other.create_publisher(Image, "/segment/in/events", 1)
    executor = SingleThreadedExecutor(context=active.context)
    executor.add_node(active)
    for _ in range(400):
        executor.spin_once(timeout_sec=0.05)
        if active._inputs._subscriptions["event"].msg_type is Image:
            break
    executor.remove_node(active)
    other.destroy_node()
    rclpy.shutdown(context=context)
    assert active._inputs._subscriptions["event"].msg_type is Image


def test_value_enable_service_stops_and_resumes_taking_messages(active):
    from std_srvs.srv import SetBool

    for wanted in (False, True):
        answer = active._on_enable(SetBool.Request(data=wanted), SetBool.Response())
        assert answer.success
        added = active._pipeline.inspect(lambda synchronizer: synchronizer.stats).streams["rgb"].added
        active._on_message("rgb", 10**18 + wanted, None)
        after = active._pipeline.inspect(lambda synchronizer: synchronizer.stats).streams["rgb"].added
        assert after - added == int(wanted)


def test_value_topic_of_another_type_is_named_with_the_way_out(make_node, checkpoint, domain):
    """DDS itself keeps silent; the oracle is what was published."""
    import rclpy
    from sensor_msgs.msg import CompressedImage, PointCloud2

    node = make_node(checkpoint=checkpoint)
    node.trigger_configure()
    node.trigger_activate()
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    driver = rclpy.create_node("driver", context=context)
    kinds = {"/segment/in/image": CompressedImage, "/segment/in/points": PointCloud2}
    publishers = [driver.create_publisher(kind, topic, 1) for topic, kind in kinds.items()]
    try:
        assert wait_for(lambda: all(node.count_publishers(topic) for topic in kinds), 20.0) and publishers
        found = node._inputs.foreign_types()
        assert list(found) == ["rgb"]
        words = "published as sensor_msgs/msg/CompressedImage, subscribed to as sensor_msgs/msg/Image"
        assert found["rgb"].startswith(f"/segment/in/image is {words}: ")
        assert "set image_transport" in found["rgb"]
    finally:
        driver.destroy_node()
        rclpy.shutdown(context=context)
