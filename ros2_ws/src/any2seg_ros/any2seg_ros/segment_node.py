"""Lifecycle node: sensor topics in, label images out, whichever sensors are alive.

    python -m any2seg_ros.segment_node --ros-args -p checkpoint:=checkpoints/drive_b0.safetensors \\
        -p calibration_file:=calibration.yaml -r ~/in/image:=/carla/ego_vehicle/rgb_front/image ...

A shell: callbacks put messages into the pipeline, the segmenter does the work in the pipeline's thread, the outputs
publish. configure loads and warms the model, activate subscribes; deactivate and cleanup undo both in mirror order.
"""

from __future__ import annotations

import gc
import os
import sys
import traceback
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import ExternalShutdownException
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from any2seg_core.allocator import keep_freed_memory
from any2seg_core.errors import UserError
from any2seg_core.live import LivePipeline
from any2seg_core.messages import stamp_ns
from any2seg_core.sync import SampleSet, Synchronizer
from any2seg_core.topics import NODE_CAMERA_INFOS, NODE_INPUTS
from any2seg_ros import diagnostics, parameters, qos
from any2seg_ros.outputs import Outputs
from any2seg_ros.segmenter import Segmenter

_TYPES = {"rgb": Image, "depth": Image, "event": PointCloud2, "lidar": PointCloud2}
_LOG_EVERY_S = 5.0
_DIAGNOSTICS_PERIOD_S = 1.0


def _told(transition: Callable[..., TransitionCallbackReturn]) -> Callable[..., TransitionCallbackReturn]:
    """Log what a transition raises: rclpy turns it into ERROR without a word."""

    @wraps(transition)
    def told(node: SegmentNode, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return transition(node, state)
        except Exception:
            node.get_logger().fatal(traceback.format_exc())
            raise

    return told


class SegmentNode(LifecycleNode):
    """Node `segment`; topics below ``~/in/`` and ``~/out/``, parameters in `parameters.py`."""

    def __init__(self, **options: Any) -> None:
        super().__init__("segment", **options)
        parameters.declare(self)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._monitor = diagnostics.Monitor()
        self._created: list[Any] = []  # subscriptions and the timer of the active state
        self._pipeline: LivePipeline | None = None
        self._segmenter: Segmenter | None = None
        self._outputs: Outputs | None = None

    @_told
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Read parameters, load and warm the model, create the outputs; FAILURE with the reason for bad input."""
        try:
            self._settings = parameters.read(self)
            self._segmenter = Segmenter(
                self._settings.checkpoint,
                self._settings.calibration_file,
                self._settings.device,
                self._settings.modalities,
            )
        except (UserError, ImportError, OSError, RuntimeError) as error:
            self.get_logger().error(f"cannot configure: {error}")
            return TransitionCallbackReturn.FAILURE
        self._outputs = Outputs(self, self._segmenter.label_space, self._settings.overlay_alpha)
        self.get_logger().info(f"configured with {self._settings.checkpoint} on {self._settings.device}")
        return TransitionCallbackReturn.SUCCESS

    @_told
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start the pipeline and subscribe."""
        result = super().on_activate(state)
        synchronizer = Synchronizer(self._settings.sync_for(self._segmenter.event_window_ns))
        self._pipeline = LivePipeline(synchronizer, self._process, self._report_error)
        for name in self._settings.modalities:
            self._subscribe(name)
        self._created.append(self.create_timer(_DIAGNOSTICS_PERIOD_S, self._publish_diagnostics))
        self._outputs.publish_label_info()
        self.get_logger().info(f"active, waiting for {', '.join(self._settings.modalities)}")
        return result

    @_told
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe, then end the pipeline."""
        self._stop()
        return super().on_deactivate(state)

    @_told
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free model and outputs."""
        self._outputs.destroy()
        self._outputs = self._segmenter = None
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """From any state."""
        self._stop()
        return TransitionCallbackReturn.SUCCESS

    def _subscribe(self, name: str) -> None:
        settings = self._settings
        depth = settings.event_depth if _TYPES[name] is PointCloud2 else settings.input_depth
        profile = qos.sensor_input(settings.input_reliability, depth)
        below = f"~/in/{NODE_INPUTS[name]}"
        self._created.append(self.create_subscription(_TYPES[name], below, partial(self._on_message, name), profile))
        if name in NODE_CAMERA_INFOS:
            below = f"~/in/{NODE_CAMERA_INFOS[name]}"
            callback = partial(self._on_camera_info, name)
            self._created.append(self.create_subscription(CameraInfo, below, callback, profile))

    def _stop(self) -> None:
        for entity in self._created:
            destroy = self.destroy_timer if hasattr(entity, "timer_period_ns") else self.destroy_subscription
            destroy(entity)
        self._created = []
        if self._pipeline is not None and not self._pipeline.stop():
            self.get_logger().warning("the model is still busy; its thread ends with its present set")
        self._pipeline = None

    def _on_message(self, name: str, message: Any) -> None:
        try:
            self._pipeline.offer(name, stamp_ns(message.header), message)
        except UserError as error:
            self._report_bad_message(name, error)

    def _on_camera_info(self, name: str, message: CameraInfo) -> None:
        try:
            if self._segmenter.set_camera_info(name, message):
                self.get_logger().info(f"{name}: intrinsics of camera_info, {message.width}x{message.height}")
        except UserError as error:
            self._report_bad_message(name, error)

    def _process(self, sample_set: SampleSet) -> None:
        result = self._segmenter(sample_set)
        for name, reason in result.errors.items():
            self._report_bad_message(name, reason)
        self._outputs.publish(result)
        self._monitor.published(result)

    def _report_bad_message(self, name: str, reason: UserError | str) -> None:
        self._monitor.bad_message(name)
        self.get_logger().warning(f"{name}: message left out: {reason}", throttle_duration_sec=_LOG_EVERY_S)

    def _report_error(self, error: Exception) -> None:
        self._monitor.failed(error)
        self.get_logger().error(f"set left out: {error!r}", throttle_duration_sec=_LOG_EVERY_S)

    def _publish_diagnostics(self) -> None:
        stats = self._pipeline.inspect(lambda synchronizer: synchronizer.stats)
        message = self._monitor.message(stats, self._pipeline.overrun, self.get_name())
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)


def main(args: list[str] | None = None) -> None:
    """Entry point. Ends on SIGINT, SIGTERM; stays up, unconfigured, when configuring fails."""
    keep_freed_memory()
    # torch's OpenMP threads spin by default while they wait, which starves every other process of a busy machine:
    # 137 against 1800 ms per frame beside a training run. Must be set before torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    rclpy.init(args=args)
    node = SegmentNode()
    try:
        if node.get_parameter("autostart").value:
            configured = node.trigger_configure() == TransitionCallbackReturn.SUCCESS
            if configured:
                node.trigger_activate()
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        node.on_shutdown(LifecycleState("shutdown", 0))
        node.destroy_node()
        rclpy.try_shutdown()
        # The DDS participant, and with it its shared memory, ends with the last reference to the node.
        del node
        gc.collect()
        rclpy.get_default_context().destroy()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # the interpreter's own end takes seconds with torch loaded, and the work is done


if __name__ == "__main__":
    main()
