"""Input topics of the node: which type each sensor comes in, their subscriptions, and the stamps of what arrives."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from rclpy.node import Node
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from any2seg_core.base.errors import UserError
from any2seg_core.messages import event_array_from_cdr, stamp_ns
from any2seg_core.runtime.freshness import MessageDelay
from any2seg_core.vocabulary.sensor import DEPTH, EVENTS, IMAGE, POINTS
from any2seg_core.vocabulary.topics import node_camera_infos, node_input
from any2seg_ros import distro, qos
from any2seg_ros.guard import Guard
from any2seg_ros.parameters import NodeParameters
from any2seg_ros.steady import create_steady_timer
from any2seg_ros.topic_table import format_parameter, transport_parameter

_EVENT_KINDS = {
    "cloud": ("sensor_msgs/msg/PointCloud2",),
    "packet": ("event_camera_msgs/msg/EventPacket",),
    "array": ("dvs_msgs/msg/EventArray", "prophesee_event_msgs/msg/EventArray"),
    "image": ("sensor_msgs/msg/Image",),
}
_COMPRESSED = "sensor_msgs/msg/CompressedImage"
_AUTO_PERIOD_S = 0.2
_HINTS = {
    IMAGE: "remap the topic of an Image, or set {parameter} to compressed for that of a CompressedImage",
    DEPTH: "remap the topic of an Image, or set {parameter} to compressedDepth for that of a CompressedImage",
    EVENTS: "remap another topic or set {parameter}",
    POINTS: "remap the topic of a PointCloud2",
}
_LIVOX_HINT = "the node reads PointCloud2 alone (of recordings CustomMsg too): set xfer_format of the driver to 0"


@dataclass(frozen=True)
class Received:
    """One message as it came in.

    Attributes:
        message: what the frame builder made of it: the ROS message, or its events.
        header_ns: its own stamp. arrived_ns: steady clock (`time.monotonic_ns`) at its arrival.
        late_ns: how much longer it was under way than usual: it waited while this process was stopped or busy.
    """

    message: Any
    header_ns: int
    arrived_ns: int
    late_ns: int = 0


@dataclass(frozen=True)
class InputType:
    """Message class of an input; `raw`: delivered as CDR bytes, because one Python object per event is too slow.

    `suffix`: where image_transport puts a compressed topic, below that of the images.
    """

    message: Any
    raw: bool = False
    suffix: str = ""

    def topics(self, name: str) -> tuple[str, ...]:
        """Where messages may come for a remapped topic, the likeliest first: drivers also compress without a suffix."""
        return (name,) if not self.suffix or name.endswith(self.suffix) else (name + self.suffix, name)


def _event_type(parameter: str, event_format: str) -> InputType:
    """Type of an event topic for a value of its parameter; UserError where its package is not installed."""
    kinds = _EVENT_KINDS["cloud" if event_format == "auto" else event_format]
    for kind in kinds:
        message = distro.message_class(kind)
        if message is not None:
            return InputType(message, raw=event_format == "array")
    packages = " or ".join(kind.split("/")[0] for kind in kinds)
    raise UserError(
        f"parameter {parameter} is {event_format!r}: its message package {packages} is not installed here "
        "(no wheel ships it: install it from your ROS 2 distribution); without it use cloud or image",
        "package-missing",
    )


def input_type(name: str, settings: NodeParameters) -> InputType:
    """Type of a sensor's topic; UserError where it cannot be subscribed to."""
    if name in settings.event_formats:
        return _event_type(format_parameter(name), settings.event_formats[name])
    if name not in settings.transports:
        return InputType(PointCloud2)
    transport = settings.transports[name]
    return InputType(Image) if transport == "raw" else InputType(CompressedImage, suffix=f"/{transport}")


class Inputs:
    """All subscriptions of the active state: made on activate, taken back by `destroy`.

    Args:
        node: gets the subscriptions. settings: checked parameters.
        decode: called with sensor, message and the shift from its header to the stamp that it gets, in nanoseconds;
            returns what goes on.
        on_message: called with sensor, stamp in nanoseconds and Received.
        on_camera_info: called with sensor and message.
        on_bad: called with sensor and error for a message that cannot be used.
        warn: called with sensor, kind of trouble and text, every time; not everything needs to reach the log.
        guard: wraps every callback; a bad message that raises something else than a UserError is reported there too.

    Attributes:
        incompatible: sensor -> publishers whose quality of service did not match.
    """

    def __init__(
        self,
        node: Node,
        settings: NodeParameters,
        decode: Callable[[str, Any, int], Any],
        on_message: Callable[[str, int, Received], None],
        on_camera_info: Callable[[str, CameraInfo], None],
        on_bad: Callable[[str, Exception], None],
        warn: Callable[[str, str, str], None],
        guard: Guard,
    ) -> None:
        self.incompatible: Counter[str] = Counter()
        self._node, self._settings, self._guard = node, settings, guard
        self._decode, self._on_message, self._on_bad, self._warn = decode, on_message, on_bad, warn
        self._subscriptions: dict[str, Any] = {}
        self._delays = {name: MessageDelay() for name in settings.modalities}
        self._event_kinds: dict[str, str] = {}
        self._on_camera_info = on_camera_info
        self._infos = node_camera_infos(settings.suite)
        self.use(settings.enabled)
        self._auto = [name for name in settings.modalities if settings.event_formats.get(name) == "auto"]
        self._compressed = [name for name in settings.modalities if settings.transports.get(name, "raw") != "raw"]
        follow = guard("format of the inputs", self._follow_publishers)
        wants_timer = self._auto or self._compressed
        self._timer = create_steady_timer(node, _AUTO_PERIOD_S, follow) if wants_timer else None

    def use(self, names: Collection[str]) -> None:
        """Subscribe to these sensors and to no other; what goes on stays as it is."""
        for name in self._settings.modalities:
            below = f"~/in/{self._infos[name]}" if name in self._infos else ""
            if name in names and name not in self._subscriptions:
                self._subscribe(name, input_type(name, self._settings))
                if below:
                    callback = partial(self._on_camera_info, name)
                    depth = self._settings.input_depth
                    self._subscriptions[below] = self._create(name, CameraInfo, below, callback, depth)
            elif name not in names and name in self._subscriptions:
                for key in filter(None, (name, below)):
                    self._node.destroy_subscription(self._subscriptions.pop(key))
                self._delays[name] = MessageDelay()
                self._event_kinds.pop(name, None)

    def destroy(self) -> None:
        """Unsubscribe from everything."""
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
        for subscription in self._subscriptions.values():
            self._node.destroy_subscription(subscription)
        self._subscriptions = {}

    def publishers(self, name: str) -> int:
        """How many publishers a sensor's topic has at present."""
        subscription = self._subscriptions.get(name)
        return 0 if subscription is None else self._node.count_publishers(subscription.topic_name)

    def foreign_types(self) -> dict[str, str]:
        """Per sensor whose topic is published with another type only: which one, what is expected, and the way out.

        Such a publisher and a subscription never meet, and DDS says nothing about it.
        """
        found = {}
        for name, subscription in self._subscriptions.items():
            if name not in self._settings.modalities or name in self._auto:
                continue
            kind = subscription.msg_type
            expected = f"{kind.__module__.partition('.')[0]}/msg/{kind.__name__}"
            topic = subscription.topic_name
            published = sorted({info.topic_type for info in self._node.get_publishers_info_by_topic(topic)})
            if published and expected not in published:
                kinds = ", ".join(published)
                hint = _LIVOX_HINT if any(each.startswith("livox_") for each in published) else self._hint(name)
                found[name] = f"{topic} is published as {kinds}, subscribed to as {expected}: {hint}"
        return found

    def _hint(self, name: str) -> str:
        suite = self._settings.suite
        kind = suite.sensor(name).kind
        parameter = format_parameter(name) if kind == EVENTS else transport_parameter(suite, name)
        return _HINTS[kind].format(parameter=parameter)

    def _topics(self, name: str, kind: InputType) -> tuple[str, ...]:
        """As image_transport does: one remapping of the base topic moves its compressed topic too."""
        return kind.topics(self._node.resolve_topic_name(f"~/in/{node_input(self._settings.suite, name)}"))

    def _subscribe(self, name: str, kind: InputType, topic: str = "") -> None:
        settings = self._settings
        depth = settings.event_depth if name in settings.event_formats else settings.input_depth
        topic = topic or self._topics(name, kind)[0]
        callback = partial(self._receive, name)
        self._subscriptions[name] = self._create(name, kind.message, topic, callback, depth, kind.raw)

    def _create(self, name: str, kind: Any, topic: str, callback: Callable, depth: int, raw: bool = False) -> Any:
        on_incompatible = self._guard(f"{name}: quality of service", partial(self._on_incompatible, name, topic))
        events = distro.subscription_events()(incompatible_qos=on_incompatible)
        return self._node.create_subscription(
            kind,
            topic,
            self._guard(topic, callback),
            qos.sensor_input(self._settings.input_reliability, depth),
            event_callbacks=events,
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            raw=raw,
        )

    def _receive(self, name: str, message: Any, info: Mapping[str, Any]) -> None:
        arrived_ns = time.monotonic_ns()
        try:
            stamp, received = self._read(name, message, info.get("source_timestamp", 0), arrived_ns)
        except Exception as error:
            self._on_bad(name, error)
            if isinstance(error, UserError):
                return
            raise
        self._on_message(name, stamp, received)

    def _read(self, name: str, message: Any, source_ns: int, arrived_ns: int) -> tuple[int, Received]:
        if isinstance(message, bytes):
            message = event_array_from_cdr(message)
        header_ns = stamp_ns(message.header)
        clock_ns = self._node.get_clock().now().nanoseconds
        is_header = self._settings.stamp_source == "header"
        stamp = header_ns if is_header else clock_ns
        if is_header and not header_ns:
            why = "the driver does not set it; repair that, or set stamp_source to arrival"
            self._warn(name, "zero", f"left out: stamp is 0: {why}")  # the synchroniser drops and counts it
        payload = self._decode(name, message, stamp - header_ns)
        late_ns = self._delays[name].of(source_ns, header_ns, clock_ns, arrived_ns)
        return stamp, Received(payload, header_ns, arrived_ns, late_ns)

    def _on_incompatible(self, name: str, topic: str, event: Any) -> None:
        self.incompatible[name] += event.total_count_change
        self._warn(
            name,
            "quality of service",
            f"a publisher of {topic} offers another quality of service ({event.last_policy_kind!s}), nothing comes "
            "through: set input_reliability to best_effort, or qos_overrides of the topic",
        )

    def _follow_publishers(self) -> None:
        for name in self._auto:
            self._follow_event_publisher(name)
        for name in self._compressed:
            self._follow_compressed_images(name)

    def _follow_compressed_images(self, name: str) -> None:
        """Of the topics that may carry compressed images the one that does, by its type."""
        if name not in self._subscriptions:
            return
        kind = input_type(name, self._settings)
        present = self._subscriptions[name].topic_name
        found = next((topic for topic in self._topics(name, kind) if self._carries_compressed(topic)), present)
        if found != present:
            self._node.destroy_subscription(self._subscriptions[name])
            self._subscribe(name, kind, found)
            self._node.get_logger().info(f"{name}: compressed images come on {found}")

    def _carries_compressed(self, topic: str) -> bool:
        return any(info.topic_type == _COMPRESSED for info in self._node.get_publishers_info_by_topic(topic))

    def _follow_event_publisher(self, name: str) -> None:
        """Format auto: take the type that is published, as far as its package is installed."""
        if name not in self._subscriptions:
            return
        topic = self._subscriptions[name].topic_name
        formats = {kind: event_format for event_format, kinds in _EVENT_KINDS.items() for kind in kinds}
        published = [info.topic_type for info in self._node.get_publishers_info_by_topic(topic)]
        found = next((kind for kind in published if kind in formats), None)
        if found is None or found == self._event_kinds.get(name):
            return
        self._event_kinds[name] = found
        if (message := distro.message_class(found)) is None:
            package = found.split("/")[0]
            self._node.get_logger().error(f"{name}: {topic} is {found}, and {package} is not installed here")
        elif self._subscriptions[name].msg_type is not message:
            self._node.destroy_subscription(self._subscriptions[name])
            self._subscribe(name, InputType(message, raw=formats[found] == "array"))
            self._node.get_logger().info(f"{name}: {topic} is {found}")
