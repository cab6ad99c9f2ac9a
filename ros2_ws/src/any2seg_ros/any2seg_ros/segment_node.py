"""Lifecycle node: sensor topics in, label images out, whichever sensors are alive.

    any2seg-segment-node --ros-args -p calibration_file:=calibration.yaml \\
        -r '~/in/image:=/camera/image_raw' -r '~/in/points:=/lidar/points'

A shell: callbacks put messages into the pipeline, the segmenter does the work in the pipeline's thread, the outputs
publish. configure loads and warms the model, activate subscribes; deactivate and cleanup undo both in mirror order.
"""

from __future__ import annotations

import gc
import time
import traceback
from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace
from functools import wraps
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import ClockChange, JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo
from std_srvs.srv import SetBool

from any2seg_core.base.allocator import release_freed_memory
from any2seg_core.base.errors import UserError
from any2seg_core.base.screen import refusal
from any2seg_core.base.units import NS_PER_S
from any2seg_core.runtime.accounts import Verdict
from any2seg_core.runtime.freshness import inference_deadline_ns, longest_label_age_ns
from any2seg_core.runtime.pipeline import LivePipeline
from any2seg_core.sync import SampleSet, Synchronizer
from any2seg_ros import diagnostics, parameters
from any2seg_ros.command_line import node_help, require_ros_arguments
from any2seg_ros.guard import Guard
from any2seg_ros.inputs import Inputs, Received, input_type
from any2seg_ros.model_pool import ModelPool
from any2seg_ros.outputs import Outputs
from any2seg_ros.parameter_table import TABLE
from any2seg_ros.running import run_nodes
from any2seg_ros.segmenter import Segmenter, UnusableSetError, age_ns
from any2seg_ros.steady import create_steady_timer
from any2seg_ros.throttle import LOG_PERIOD_S, Throttle
from any2seg_ros.topic_table import OUTPUTS, input_topics
from any2seg_ros.transform_listener import TransformListener

_DIAGNOSTICS_PERIOD_S = 1.0
_LOOK_PERIOD_S = 0.2  # what is new is told at once
_STALLED_TIMEOUTS = 3
_STALLED_PERIODS = 2.5
_BACKWARD_JUMP_S = -0.5
_SIMULATED_CLOCK_LOOK_S = 0.01


def _log_exceptions(transition: Callable[..., TransitionCallbackReturn]) -> Callable[..., TransitionCallbackReturn]:
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
    """Node `segment`; topics below ``~/in/`` and ``~/out/``, parameters in `parameter_table.py`.

    Its inputs and parameters are those of the sensors of its checkpoint.

    Args:
        name: of the node. pool: shared by the nodes of one process. options: of rclpy's LifecycleNode.

    Attributes:
        declared: its parameters, with the suite that they follow.
        collect_garbage: called when a model was loaded or let go; who owns the process may want to do more.
    """

    def __init__(self, name: str = "segment", pool: ModelPool | None = None, **options: Any) -> None:
        super().__init__(name, **options)
        self.collect_garbage: Callable[[], object] = gc.collect
        self.declared = parameters.DeclaredParameters(self)
        self._pool = pool or ModelPool()
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._monitor = diagnostics.Monitor()
        self._guard = Guard(self.report_callback_error)
        self._enabled = True
        self._throttle = Throttle()
        self._patience_s = 1.0  # for a running inference when the pipeline ends
        self._settings: parameters.NodeParameters | None = None
        self._segmenter: Segmenter | None = None
        self._outputs: Outputs | None = None
        self._pipeline: LivePipeline | None = None
        self._inputs: Inputs | None = None
        self._releases: list[Callable[[], Any]] = []  # undo on_activate, last first
        self.add_on_set_parameters_callback(self._guard("parameters", self._on_parameters, _refused_parameters))
        self.create_service(SetBool, "~/enable", self._guard("~/enable", self._on_enable, lambda _, response: response))

    def report_callback_error(self, name: str, error: Exception) -> None:
        """Count and tell an exception that nobody expected; the node goes on."""
        self._monitor.callback_failed(name, error)
        if self._is_due(("callback", name)):
            text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
            self.get_logger().error(f"callback {name} failed: {text}")

    def _is_due(self, trouble: Hashable) -> bool:
        """Whether a kind of trouble belongs into the log again."""
        return self._throttle.is_due(trouble, LOG_PERIOD_S if self._settings is None else self._settings.log_period_s)

    @_log_exceptions
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Read parameters, load and warm the model, create the outputs; FAILURE with the reason for bad input."""
        try:
            self.declared.follow_checkpoint()
            if self.declared.complaints:
                raise UserError("; ".join(self.declared.complaints.values()), "value-type")
            settings = self.declared.settings()
            for name in settings.modalities:
                input_type(name, settings)
            self._segmenter = Segmenter(settings, self._pool)
        except (UserError, OSError) as error:
            self.get_logger().error(f"cannot configure: {refusal(error)}")
            return TransitionCallbackReturn.FAILURE
        except (ImportError, RuntimeError) as error:
            self.get_logger().error(f"cannot configure: {error}")
            return TransitionCallbackReturn.FAILURE
        for note in self._segmenter.encoding_notes:
            self.get_logger().warning(note)
        self._outputs = Outputs(self, self._segmenter.label_space, settings.suite, settings.overlay_alpha)
        self._settings = settings
        self._monitor = diagnostics.Monitor()
        self.collect_garbage()
        self.get_logger().info(f"configured with {settings.checkpoint} on {settings.device}")
        return TransitionCallbackReturn.SUCCESS

    @_log_exceptions
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start the pipeline and subscribe."""
        result = super().on_activate(state)
        settings, is_simulated = self._settings, self.get_parameter("use_sim_time").value
        synchronizer = Synchronizer(settings.sync_for(self._segmenter.event_window_ns))
        self._monitor.begin()
        self._pipeline = LivePipeline(
            synchronizer,
            self._process,
            self._report_error,
            self._now_ns if is_simulated else time.monotonic_ns,
            _SIMULATED_CLOCK_LOOK_S if is_simulated else None,
            self._pool.turns,
        )
        self._releases.append(self._end_pipeline)
        self._inputs = Inputs(
            self,
            settings,
            self._segmenter.receive,
            self._on_message,
            self._on_camera_info,
            self._refuse,
            self._warn,
            self._guard,
        )
        self._releases.append(self._inputs.destroy)
        if settings.use_tf:
            tree = self._segmenter.transforms
            self._releases.append(TransformListener(self, tree, self._guard, self._is_due).destroy)
        timer = create_steady_timer(self, _LOOK_PERIOD_S, self._guard("diagnostics", self._publish_diagnostics))
        self._releases.append(lambda: self.destroy_timer(timer))
        backward, forward = Duration(seconds=_BACKWARD_JUMP_S), Duration(nanoseconds=settings.sync.jump_reset_ns)
        jumps = JumpThreshold(min_forward=forward, min_backward=backward, on_clock_change=True)
        on_jump = self._guard("time jump", self._on_jump)
        self._releases.append(self.get_clock().create_jump_callback(jumps, post_callback=on_jump).unregister)
        self._outputs.publish_label_info(settings.confidence_threshold)
        self.get_logger().info(f"active, waiting for {', '.join(settings.enabled) or 'nothing: all is switched off'}")
        return result

    @_log_exceptions
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe, then end the pipeline."""
        self._stop()
        return super().on_deactivate(state)

    @_log_exceptions
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free model and outputs, and give their memory back to the system."""
        self._stop()
        if self._outputs is not None:
            self._outputs.destroy()
        self._outputs = self._segmenter = self._settings = None
        self.collect_garbage()
        release_freed_memory()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """From any state; does not wait for a running inference, which may take longer than anybody has."""
        self._patience_s = 0.1
        self._stop()
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """After a transition that raised: back to unconfigured, so that it can be tried again."""
        return self.on_cleanup(state)

    def _stop(self) -> None:
        while self._releases:
            self._releases.pop()()
        self._inputs = None

    def _end_pipeline(self) -> None:
        if not self._pipeline.stop(self._patience_s):
            self.get_logger().warning("the model is still busy; its thread ends with its present set")
        self._pipeline = None

    def _now_ns(self) -> int:
        return self.get_clock().now().nanoseconds

    def _on_message(self, name: str, stamp_ns: int, received: Received) -> None:
        if self._enabled:
            self._pipeline.offer(name, stamp_ns, received)
        else:
            self._pipeline.refuse(name, "disabled")

    def _on_camera_info(self, name: str, message: CameraInfo) -> None:
        try:
            update = self._segmenter.set_camera_info(name, message)
            if update.changed:
                self.get_logger().info(f"{name}: intrinsics of camera_info, {message.width}x{message.height}")
            for note in update.notes:
                self.get_logger().warning(f"{name}: {note}")
        except UserError as error:
            self._monitor.camera_info_refused(name)
            self._tell_fault(name, getattr(error, "reason", "value"), f"camera_info: {error.with_code}")

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._enabled = request.data
        self._monitor.expect_labels()
        response.success, response.message = True, "enabled" if request.data else "disabled"
        return response

    def _on_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        """All or nothing; before configure nothing is checked, because configure checks everything."""
        if self._settings is None or not any(change.name in self.declared.table for change in changes):
            for change in changes:  # rclpy has looked at type and range before: what was wrong at the start is repaired
                self.declared.complaints.pop(change.name, None)
            return SetParametersResult(successful=True)
        try:
            settings = self.declared.settings(changes)
        except UserError as error:
            return SetParametersResult(successful=False, reason=error.with_code)
        if settings.confidence_threshold != self._settings.confidence_threshold:
            self._outputs.publish_label_info(settings.confidence_threshold)
        if settings.enabled != self._settings.enabled:
            self._monitor.expect_labels()
            self.get_logger().info(f"switched on: {', '.join(settings.enabled) or 'no sensor'}")
        self._settings = settings
        self._outputs.overlay_alpha = settings.overlay_alpha
        self._segmenter.set_health(settings.health)
        if self._pipeline is not None:
            self._pipeline.reconfigure(settings.sync_for(self._segmenter.event_window_ns))
            self._inputs.use(settings.enabled)
        return SetParametersResult(successful=True)

    def _on_jump(self, jump: TimeJump) -> None:
        self._segmenter.reset()
        self._pipeline.jump(self._now_ns())
        self.get_logger().info(f"{_jump_text(jump)}: everything starts anew")

    def _process(self, sample_set: SampleSet) -> Verdict:
        """One set, in the worker thread: to labels, unless nobody wants them or they would be too old."""
        outputs, pipeline, settings = self._outputs, self._pipeline, self._settings
        if not outputs.is_wanted():
            self._monitor.idle()
            return Verdict("idle")
        period_ns = pipeline.inspect(lambda sync: sync.stats.streams[sample_set.reference].period_ns)
        limit_ns = longest_label_age_ns(settings.max_label_age_s, settings.sync, period_ns)
        if self._is_too_old(pipeline, sample_set, sample_set.samples, limit_ns):
            return Verdict("too_old")
        begin_s = time.monotonic()
        try:
            wanted = outputs.needs_confidence(), outputs.needs_planes()
            result = self._segmenter(sample_set, settings.confidence_threshold, *wanted)
        except UnusableSetError as error:
            if self._pipeline is not pipeline:
                return Verdict("idle")
            self._tell_errors(error.errors, error.reasons)
            self._monitor.unusable(str(error))
            return Verdict(unusable=error.reasons)
        verdict = Verdict(unusable=result.reasons, usable=result.used)
        if self._pipeline is not pipeline:  # deactivated, perhaps even cleaned up, while the model was busy
            return replace(verdict, dropped="idle")
        deadline_ns = inference_deadline_ns(settings.inference_deadline_s, period_ns)
        self._monitor.took(time.monotonic() - begin_s, deadline_ns / NS_PER_S)
        self._tell_errors(result.errors, result.reasons)
        for name in sample_set.gaps:
            self._warn(name, "gap", f"not in the set: {result.missing[name]}")
        for note in result.notes:
            self.get_logger().warning(note)
        if self._is_too_old(pipeline, sample_set, result.used, limit_ns, was_computed=True):
            return replace(verdict, dropped="too_old")
        outputs.publish(result)
        self._monitor.published(result)
        return verdict

    def _is_too_old(
        self, pipeline: LivePipeline, found: SampleSet, names: Iterable[str], limit_ns: int, was_computed: bool = False
    ) -> bool:
        samples = [sample for name in names for sample in found.samples[name]]
        own_ns = age_ns(samples, time.monotonic_ns(), pipeline.now_ns())
        if own_ns <= limit_ns:
            return False
        text = self._monitor.too_old(own_ns / NS_PER_S, limit_ns / NS_PER_S, was_computed)
        if self._is_due("too old"):
            self.get_logger().warning(text)
        return True

    def _tell_errors(self, errors: dict[str, str], reasons: dict[str, str]) -> None:
        for name, text in errors.items():
            self._tell_fault(name, reasons[name], text)

    def _tell_fault(self, name: str, reason: str, text: str) -> None:
        self._monitor.at_fault(name, reason, text)
        self._warn(name, reason, f"left out: {text}")

    def _refuse(self, name: str, error: Exception) -> None:
        """A message that cannot even be put into a set."""
        reason = getattr(error, "reason", "value") if isinstance(error, UserError) else "error"
        self._pipeline.refuse(name, reason)
        self._tell_fault(name, reason, error.with_code if isinstance(error, UserError) else str(error))

    def _report_error(self, error: Exception) -> None:
        self._monitor.failed(error)
        if self._is_due(type(error).__name__):
            self.get_logger().error(f"set left out: {error!r}")

    def _warn(self, name: str, kind: str, text: str) -> None:
        """To the log; of each sensor and kind of trouble once per log_period_s."""
        if self._is_due((name, kind)):
            self.get_logger().warning(f"{name}: {text}")

    def _publish_diagnostics(self) -> None:
        """Once a period, and whenever something else is wrong than was told last."""
        snapshot = self._snapshot()
        for name, stream in snapshot.stats.streams.items():
            if stream.fault is not None:
                self._warn(name, *stream.fault)
        if not self._monitor.is_due(snapshot, _DIAGNOSTICS_PERIOD_S):
            return
        for name, text in self._inputs.foreign_types().items():
            self._warn(name, "type", text)
        message = self._monitor.message(snapshot, self.get_name())
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)

    def _snapshot(self) -> diagnostics.Snapshot:
        settings, pipeline, segmenter = self._settings, self._pipeline, self._segmenter
        counts = pipeline.stats
        reference = counts.sync.reference
        period_ns = None if reference is None else counts.sync.streams[reference].period_ns
        least_s = _STALLED_TIMEOUTS * settings.sync.timeout_without_reference_ns / NS_PER_S
        return diagnostics.Snapshot(
            stats=counts.sync,
            config=settings.sync,
            overrun=pipeline.overrun,
            publishers={name: self._inputs.publishers(name) for name in settings.modalities},
            incompatible=self._inputs.incompatible,
            enabled=self._enabled,
            model=settings.checkpoint,
            device=settings.device,
            engine=segmenter.engine,
            event_counts=segmenter.event_counts,
            extrinsics=dict(segmenter.extrinsics),
            lacks_clock=self.get_parameter("use_sim_time").value and self._now_ns() == 0,
            fates=counts.fates,
            refused=counts.refused,
            reliability=segmenter.reliability(),
            encodings=segmenter.encodings(),
            busy_s=pipeline.busy_s,
            deadline_s=inference_deadline_ns(settings.inference_deadline_s, period_ns) / NS_PER_S,
            patience_s=max(least_s, _STALLED_PERIODS * (period_ns or 0) / NS_PER_S),
        )


def _refused_parameters(_changes: list[Parameter]) -> SetParametersResult:
    return SetParametersResult(successful=False, reason="the node failed on the change; its log has the reason")


def _jump_text(jump: TimeJump) -> str:
    """What is known of a jump in time; where another clock takes over, rclpy says how far by 0."""
    changes = {
        ClockChange.ROS_TIME_ACTIVATED: "the node's time is simulated from now on (use_sim_time)",
        ClockChange.ROS_TIME_DEACTIVATED: "the node's time is the system's from now on (use_sim_time is off)",
    }
    return changes.get(jump.clock_change) or f"time jumped by {jump.delta.nanoseconds / NS_PER_S:.3f} s"


def help_text() -> str:
    """What --help prints."""
    parameters = {name: (entry.default, entry.description) for name, entry in TABLE.items()}
    topics = [(topic.name, topic.description) for topic in (*input_topics(), *OUTPUTS)]
    return node_help(__doc__ or "", parameters, topics)


def main(args: list[str] | None = None) -> None:
    """Entry point. Ends on SIGINT, SIGTERM; stays up, unconfigured, when configuring fails."""
    require_ros_arguments(args, help_text())
    run_nodes(lambda: [SegmentNode()], args)


if __name__ == "__main__":
    main()
