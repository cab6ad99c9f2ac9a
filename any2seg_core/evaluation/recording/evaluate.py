"""Score a recording: the node's own sets and planes in virtual time, every sensor subset from one encoding.

Two runs with the same arguments write the same bytes: no wall clock, no thread and no hash order is in the results.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from any2seg_core.bags.extrinsics import left_out_notes
from any2seg_core.bags.opened import BagOptions, open_bag
from any2seg_core.bags.sets import SetStream
from any2seg_core.base.atomic import only_on_success, publishing
from any2seg_core.base.errors import UserError
from any2seg_core.base.prefetch import Prefetched
from any2seg_core.base.stream_modes import FILTER
from any2seg_core.base.units import NS_PER_S
from any2seg_core.base.versions import versions
from any2seg_core.data.bag_settings import read_settings
from any2seg_core.data.recording_truth import NO_TRUTH, TruthFolder, compared_truth
from any2seg_core.evaluation.bootstrap import FrameBlocks
from any2seg_core.evaluation.noise import add_noise, noise_level
from any2seg_core.evaluation.recording.absence import AbsenceLog
from any2seg_core.evaluation.recording.evaluation import Evaluation
from any2seg_core.evaluation.recording.novelty_tally import NoveltyTally
from any2seg_core.evaluation.recording.outages import OutageWindows
from any2seg_core.evaluation.recording.prepared import PreparedSet, RecordingTap, prepared_sets
from any2seg_core.evaluation.recording.record import ResultRecorder
from any2seg_core.evaluation.recording.reliability_tally import ReliabilityTally
from any2seg_core.evaluation.recording.scores import FrameScorer, phases_of
from any2seg_core.evaluation.recording.settings import EvaluateRequest
from any2seg_core.evaluation.recording.silence import ExpectedOutputMonitor
from any2seg_core.evaluation.recording.truth_choice import require_images, truth_of
from any2seg_core.evaluation.recording.truth_tally import TruthTally
from any2seg_core.evaluation.recording.video import EvaluationVideo, check_place, set_rate_hz
from any2seg_core.evaluation.recording.worst import WorstFrames
from any2seg_core.evaluation.scores import Scoreboard, SubsetScore, rounded
from any2seg_core.faults.check import check_faults
from any2seg_core.faults.injector import FaultInjector
from any2seg_core.faults.kinds import fault_document
from any2seg_core.kernels.running import WORKLOAD
from any2seg_core.runtime.checkpoint_metadata import checkpoint_sha256
from any2seg_core.runtime.predictor import Predictor, Segmentation
from any2seg_core.runtime.set_segmenter import SetSegmenter
from any2seg_core.sync.association import TRUTH_TOLERANCE_NS
from any2seg_core.sync.parameters import sync_config
from any2seg_core.vocabulary.labels import IGNORE, NOT_ANNOTATED
from any2seg_core.vocabulary.subsets import subsets_with_all

_AHEAD = 3


class _Run:
    """One evaluation in progress."""

    def __init__(self, request: EvaluateRequest, stack: ExitStack) -> None:
        self.request = request
        self.predictor = Predictor.load(
            request.checkpoint,
            request.device,
            stream=request.stream,
            precision=request.precision,
            runtime=request.runtime,
            filled_rows=request.filled_rows,
        )
        WORKLOAD.expect_more()  # as the node does: labels of one set are then the same bits in both
        self._settings = read_settings(request.bag)
        self._coding, self._comparison = truth_of(request, self._settings, self.predictor.label_space)
        compared = compared_truth(self._comparison)
        is_folder = Path(request.truth or NO_TRUTH).is_dir()
        self._folder = TruthFolder(Path(request.truth), self._coding, compared) if is_folder else None
        self._suite = self.predictor.contract.suite
        options = BagOptions(
            self._wishes(), request.rules, request.calibration, request.params, suite=self._suite,
            with_poses=request.stream == FILTER,
        )
        self._opened = stack.enter_context(open_bag(request.bag, options))
        self._bag, self._topics = self._opened.bag, self._opened.choice.map
        self._start_ns = self._bag.start_ns or 0
        self._has_truth = self._folder is not None or bool(self._topics.truth)
        require_images(request, self._coding, self._bag, self._topics.truth)
        self.modalities = self._modalities()
        try:
            self.subsets = subsets_with_all(request.subsets, self._suite, self.modalities)
        except UserError as error:
            told = f"--subsets {request.subsets}: of what recording and checkpoint have: {error}"
            raise UserError(told, error.code) from None
        event_window_ns = self.predictor.contract.event_window_ns
        self._sync = sync_config(self._opened.parameters, self.modalities, event_window_ns, self._suite)
        self._notes = check_faults(request.faults, self._bag, self._topics, self._suite)
        self._notes += self.predictor.contract.encoding_notes(self.modalities)
        self._injector = FaultInjector(request.faults, self._topics, request.seed, self._start_ns, self._suite)
        self._recorder: ResultRecorder | None = None
        if request.record is not None:
            recorder = ResultRecorder(request.record, self._bag, self.predictor.label_space, self._suite)
            stack.enter_context(only_on_success(request.record.parent))
            self._recorder = stack.enter_context(recorder)
        self._video: EvaluationVideo | None = None
        if request.video is not None:
            stack.enter_context(only_on_success(request.video.parent))
            self._video = stack.enter_context(self._new_video(request.video))
        self._noise = noise_level(request.noise) if request.noise else None
        end_s = ((self._bag.end_ns or 0) - self._start_ns) / NS_PER_S
        phases = phases_of(request.faults, max(end_s, 1e-9))
        letters = [self._suite.subset_letters(subset) for subset in self.subsets]
        self._scorer = FrameScorer(self._comparison.space, letters, self._comparison.of_labels)
        self._worst = WorstFrames()
        board = Scoreboard(self._comparison.space)
        for phase in range(len(phases)):  # those without a frame have figures too
            board.add(self._scorer.empty(), (phase,))
        blocks = FrameBlocks(self._comparison.space)
        self.result = Evaluation(self._conditions(), phases, board, blocks, end_s=end_s, has_truth=self._has_truth)
        self._left_out = np.zeros(2, np.int64)  # pixels of the truth: of classes that are not compared, labelled
        self._absence = AbsenceLog(self.modalities)
        self._outages = OutageWindows(request.faults)
        self._truths = TruthTally(str(self.result.conditions["truth"]))
        self._segmenter = SetSegmenter(self.predictor, self._sync)
        self._reliability, self._novelty = ReliabilityTally(), NoveltyTally()

    def _new_video(self, path: Path) -> EvaluationVideo:
        check_place(path, self.request.bag)
        rate_hz = set_rate_hz(self._opened, self.modalities, self.request.every)
        space = self.predictor.label_space
        return EvaluationVideo(path, space, self._suite, self.modalities, rate_hz, self._has_truth)

    def _wishes(self) -> list[str]:
        truth = NO_TRUTH if self._folder is not None else self.request.truth
        given = [*self.request.topics, *([f"truth={truth}"] if truth else [])]
        return self._settings.topics_for(self._suite, given)

    def _modalities(self) -> tuple[str, ...]:
        known = self.predictor.contract.modalities
        there = tuple(name for name in self._opened.modalities if name in known)
        if not there:
            raise UserError(
                f"{self.request.bag}: has {', '.join(self._opened.modalities)}, "
                f"the checkpoint takes {', '.join(known)}",
                "sensor-absent",
            )
        return there

    def _conditions(self) -> dict[str, Any]:
        request = self.request
        return {
            "versions": versions(),
            "bag": {
                "name": request.bag.name,
                "start_ns": self._bag.start_ns,
                "end_ns": self._bag.end_ns,
                "topics": {name: topic.count for name, topic in sorted(self._bag.topics.items())},
            },
            "checkpoint": {"name": request.checkpoint.name, "sha256": checkpoint_sha256(request.checkpoint)},
            "label_space": self._comparison.space.reference,
            "mapping": self._comparison.document(0, 0),
            "suite": self._suite.to_document(),
            "streams": {name: self._topics.streams[name] for name in self.modalities},
            "calibration": self._opened.calibration.source or None,
            "extrinsics": self._opened.calibration.found,
            "synchroniser": asdict(self._sync),
            "truth": (request.truth if self._folder is not None else self._topics.truth) or None,
            "truth_coding": self._coding.facts,
            "subsets": [self._suite.subset_letters(subset) for subset in self.subsets],
            "protocol": "drop",
            "every": request.every,
            "seed": request.seed,
            "faults": [{"text": str(fault), **fault_document(fault)} for fault in request.faults],
            "noise": request.noise or None,
            "device": str(self.predictor.device),
            "precision": self.predictor.precision,
            "engine": self.predictor.engine.facts,
            "filled_rows": request.filled_rows,
            "stream": request.stream,
        }

    def run(self, lines: IO[str], progress: Callable[[float], None]) -> None:
        """Judge every set; `progress` gets seconds of the recording."""
        lines.write(json.dumps(self.result.conditions) + "\n")
        is_copied = self._recorder is not None
        calibration, num_classes = self._opened.calibration, len(self._comparison.space)
        seen = tuple(self._bag.topics) if is_copied else self._opened.topic_names
        unseen = self._bag.messages([name for name in self._bag.topics if name not in seen])
        watch = ExpectedOutputMonitor(
            self._topics, self._sync, self._folder, num_classes, unseen, self._coding,
            compared_truth(self._comparison),
        )
        recorded = self._bag.messages(seen)
        messages = self._injector(watch.messages(recorded))
        stream = SetStream(
            passed := RecordingTap(messages, is_copied),
            self._topics,
            self._sync,
            self._opened.frames(self.predictor.contract.event_window_ns),
            use_camera_info=not calibration.is_final,
            extrinsics=self._opened.extrinsics,
        )
        sets = prepared_sets(stream, passed, watch, self.request.every, num_classes)
        with Prefetched(sets, _AHEAD) as items:
            for prepared in items:
                if self._recorder is not None:
                    for message in prepared.passed:
                        self._recorder.copy(message)
                self._notes += [] if prepared.frame is None else prepared.frame.notes
                if prepared.frame is not None and prepared.frame.planes:
                    lines.write(json.dumps(self._frame(prepared)) + "\n")
                elif prepared.frame is not None or prepared.missed_ns is not None:
                    lines.write(json.dumps(self._missed(prepared)) + "\n")
                elif prepared.is_skipped:
                    samples = () if prepared.sample_set is None else prepared.sample_set.samples
                    self._absence.skipped(self._time_s(prepared), samples)
                progress(self._time_s(prepared))
        if not self._absence.has_begun:
            raise UserError(self._why_nothing(stream), "bag-no-sets")
        self._finish()
        self.result.warnings += [f"{pause.text(self._start_ns)}: nothing is missed there" for pause in watch.pauses]
        self.result.warnings += [
            f"{name}: {stream.bad[name]} messages could not be used, the last because: {why}"
            for name, why in stream.reasons.items()
        ]
        self.result.warnings += stream.notes(self._start_ns)
        told = " ".join(self._opened.notes)
        untold = Counter({line: count for line, count in stream.left_out.items() if line not in told})
        self.result.warnings += left_out_notes(untold)

    def _time_s(self, found: PreparedSet) -> float:
        return (found.time_ns - self._start_ns) / NS_PER_S

    def _frame(self, found: PreparedSet) -> dict[str, Any]:
        sample_set, frame = found.sample_set, found.frame
        assert sample_set is not None and frame is not None  # what else there may be, `run` passes to others
        stamp_ns, planes = frame.stamp_ns, frame.planes
        used, time_s = self._suite.canonical(planes), self._time_s(found)
        change = None
        if self._noise is not None:
            seed = self.request.seed
            change = partial(add_noise, level=self._noise, seed=seed, stamp_ns=stamp_ns, suite=self._suite)
        segmented = self._segmenter.segment(
            sample_set, frame, found.time_ns, self.subsets, change=change, pose=found.pose
        )
        full = segmented.segmentation
        self.result.invalid_frames += full.invalid_share > 0
        results = {self._suite.subset_letters(subset): result for subset, result in segmented.subsets.items()}
        read = self._truths.take(found.truth, full.labels.shape, time_s)
        truth = None if read is None else read.labels
        scores = self._scorer.score(results, full, truth, planes)
        phase = self._add(scores, time_s, used)
        self._absence.evaluated(time_s, sample_set.samples, used)
        for name, why in {**sample_set.missing, **frame.reasons}.items():
            self.result.absent.setdefault(name, Counter())[why] += 1
        everything = scores[self._suite.subset_letters(self.subsets[-1])]
        shown = replace(full, labels=self._comparison.of_labels(full.labels))
        self._worst.offer(time_s, shown, planes, truth, everything.confusion.miou("present"))
        if truth is not None and self._comparison.mapping is not None:
            self._left_out += [np.count_nonzero(truth == NOT_ANNOTATED), np.count_nonzero(truth != IGNORE)]
        if self._recorder is not None:
            self._recorder.add(found.time_ns, stamp_ns, frame.frame_id, full, planes)
        if self._video is not None:
            miou = None if truth is None else everything.confusion.miou("present")
            self._video.add(time_s, full.labels, planes, truth, miou)
        line = self._line(found, phase, self._subset_entries(results, scores, truth is not None), truth is not None)
        reliability = self._reliability.take(time_s, segmented.reliability)
        unlike = self._novelty.take(time_s, full.novelty)
        invalid_share = rounded(full.invalid_share, 6)
        return line | {"invalid_share": invalid_share, "reliability": reliability, "novelty": unlike}

    def _missed(self, found: PreparedSet) -> dict[str, Any]:
        """A moment without labels: no set came, or one of which nothing could be used."""
        time_s = self._time_s(found)
        read = self._truths.take(found.truth, None, time_s)
        scores = self._scorer.missed(None if read is None else read.pixels)
        if found.frame is None:
            self.result.silent_frames += 1
        else:
            reasons = (f"{self._suite.sensor(name).title} {why}" for name, why in found.frame.reasons.items())
            self.result.unusable[", ".join(reasons)] += 1
        phase = self._add(scores, time_s, ())
        if self._video is not None:
            self._video.add(time_s, None, {}, None if read is None else read.labels, None)
        self._absence.evaluated(time_s, () if found.sample_set is None else found.sample_set.samples, ())
        entries = self._subset_entries(dict.fromkeys(scores), scores, read is not None)
        reliability = self._reliability.take(
            time_s, self._segmenter.rate(found.sample_set, found.frame, found.time_ns)
        )
        return self._line(found, phase, entries, read is not None) | {"reliability": reliability}

    def _add(self, scores: dict[str, SubsetScore], time_s: float, used: Sequence[str]) -> int:
        phase = self._phase(time_s)
        self.result.board.add(scores, (phase, *self._outages.of(time_s, used)))
        self.result.blocks.add(scores)
        return phase

    def _subset_entries(
        self, results: dict[str, Segmentation | None], scores: dict[str, SubsetScore], has_truth: bool
    ) -> dict[str, Any]:
        subsets = {}
        for name, result in results.items():
            entry = scores[name].frame_document()
            if has_truth:
                entry["counts"] = scores[name].class_counts()
            entry["used"] = "" if result is None else self._suite.subset_letters(result.used)
            entry["labels_crc32"] = None if result is None else zlib.crc32(np.ascontiguousarray(result.labels))
            subsets[name] = entry
        return subsets

    def _line(self, found: PreparedSet, phase: int, subsets: dict[str, Any], has_truth: bool) -> dict[str, Any]:
        sample_set, frame = found.sample_set, found.frame
        samples, ages_ns = ({}, {}) if sample_set is None else (sample_set.samples, sample_set.age_ns)
        return {
            "stamp_ns": found.missed_ns if frame is None else frame.stamp_ns,
            "time_s": rounded(self._time_s(found), 6),
            "phase": phase,
            "reference": None if sample_set is None else sample_set.reference,
            "used": "" if frame is None else self._suite.subset_letters(frame.planes),
            "missing": {} if sample_set is None or frame is None else {**sample_set.missing, **frame.errors},
            "stamps_ns": {name: [each.stamp_ns for each in samples[name]] for name in self._suite.canonical(samples)},
            "ages_ms": {name: rounded(age_ns / 1e6) for name, age_ns in ages_ns.items()},
            "truth": has_truth,
            "subsets": subsets,
        }

    def _phase(self, time_s: float) -> int:
        phases = self.result.phases
        return next((i for i, phase in enumerate(phases) if phase.start_s <= time_s < phase.end_s), len(phases) - 1)

    def _why_nothing(self, stream: SetStream) -> str:
        """For a run without one judged set."""
        read = ", ".join(f"{self._suite.sensor(name).title} {stream.read[name]}" for name in self.modalities)
        hits = self._injector.counts
        hit = ", ".join(f"{fault} hit {sum(count.values())}" for fault, count in hits.items() if count)
        unusable = ", ".join(f"{why} ({count})" for why, count in self.result.unusable.items())
        reasons = [f"messages that came: {read}"]
        reasons += [f"unusable sets: {unusable}"] if unusable else []
        reasons += [f"faults: {hit}"] if hit else []
        reasons += [f"{name}: {why}" for name, why in stream.reasons.items()]
        return f"{self.request.bag}: not one set of sensors could be made, so nothing was judged ({'; '.join(reasons)})"

    def _finish(self) -> None:
        self._truths.require()
        self.result.conditions["mapping"] = self._comparison.document(*self._left_out.tolist())
        self.result.silent = self._absence.finish(self.result.end_s)
        self.result.injected = {fault: dict(sorted(hits.items())) for fault, hits in self._injector.counts.items()}
        unreadable = self._injector.unreadable
        self.result.unreadable = {fault: dict(sorted(left.items())) for fault, left in unreadable.items()}
        self.result.worst = self._worst.frames()
        self.result.reliability = self._reliability.document()
        self.result.novelty = self._novelty.document()
        counts = self._segmenter.features.counts()
        self.result.encodings = {name: counts[name] for name in self._suite.canonical(counts)}
        told = (*self._notes, *self._injector.idle(), *self._truths.warnings())
        self.result.warnings = [*self._bag.warnings, *self._opened.notes, *told]
        if self.result.silent_frames:
            self.result.warnings.append(
                f"{self.result.silent_frames} times a set was due and none came: no labels, missed by every subset"
            )
        if self.result.invalid_frames:
            self.result.warnings.append(
                f"{self.result.invalid_frames} frames have pixels whose logits are not finite: unlabelled there"
            )
        if self._has_truth and not any(score.with_truth for score in self.result.total().values()):
            self.result.has_truth = False
            self.result.warnings.append(
                f"truth {self.result.conditions['truth']}: no judged frame has one within "
                f"{TRUTH_TOLERANCE_NS / 1e6:g} ms of its stamp, so nothing is compared with it"
            )
        if self._recorder is not None and self._recorder.left_out:
            self.result.warnings += [f"{topic}: not copied, no definition of {kind} is known"
                                     for topic, kind in self._recorder.left_out.items()]  # fmt: skip


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
        run = _Run(request, stack)
        with (folder / "frames.jsonl").open("w", encoding="utf-8") as lines:
            end_s = run.result.end_s
            run.run(lines, lambda done_s: progress(done_s, end_s) if progress is not None else None)
        if report is not None:
            report(run.result, folder)
        return run.result
