"""Score a recording: the node's own sets and planes in virtual time, every sensor subset from one encoding.

Two runs with the same arguments write the same bytes: no wall clock, no thread and no hash order is in the results.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from any2seg_core.base.atomic import publishing
from any2seg_core.base.errors import UserError
from any2seg_core.evaluation.recording.evaluation import Evaluation
from any2seg_core.evaluation.recording.judged import frame_line
from any2seg_core.evaluation.recording.run import RecordingRun
from any2seg_core.evaluation.recording.settings import EvaluateRequest


def evaluate_bag(
    request: EvaluateRequest,
    progress: Callable[[float, float], None] | None = None,
    report: Callable[[Evaluation, Path], None] | None = None,
) -> Evaluation:
    """Judge a recording and write out/frames.jsonl, whole or not at all.

    Memory does not grow with the length of the recording.

    Args:
        progress: called with seconds done and seconds in all.
        report: called at the end with the result and a folder that holds frames.jsonl; what it writes there appears in
            `request.out` together with frames.jsonl, and the recording of the results just before.

    Raises:
        UserError: a recording, checkpoint, truth or option that cannot be used.
    """
    if request.every < 1:
        raise UserError(f"--every {request.every}: must be at least 1", "value-range")
    recording, out = request.bag.resolve(), request.folder.resolve()
    if recording == out or recording in out.parents:
        raise UserError(f"--out {request.out}: lies in the recording itself; choose another place", "output-is-input")
    with ExitStack() as stack:
        folder = stack.enter_context(publishing(request.folder))
        run = RecordingRun(request, stack)
        with (folder / "frames.jsonl").open("w", encoding="utf-8") as lines:
            end_s = run.result.end_s
            lines.write(json.dumps(run.result.conditions) + "\n")
            for judged in run.frames(lambda done_s: progress(done_s, end_s) if progress is not None else None):
                lines.write(json.dumps(frame_line(judged, run.suite)) + "\n")
        if report is not None:
            report(run.result, folder)
        return run.result
