"""One evaluation of a recording, or of a part of it, frame by frame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from any2seg_core.bags.opened import BagOptions, open_bag
from any2seg_core.bags.reader import Recorded
from any2seg_core.bags.sets import SetStream
from any2seg_core.base.atomic import only_on_success
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
from any2seg_core.evaluation.recording.judged import JudgedFrame
from any2seg_core.evaluation.recording.novelty_tally import NoveltyTally
from any2seg_core.evaluation.recording.outages import OutageWindows
from any2seg_core.evaluation.recording.prepared import PreparedSet, RecordingTap, prepared_sets
from any2seg_core.evaluation.recording.record import ResultRecorder
from any2seg_core.evaluation.recording.reliability_tally import ReliabilityTally
from any2seg_core.evaluation.recording.scores import FrameScorer, phases_of
from any2seg_core.evaluation.recording.settings import EvaluateRequest
from any2seg_core.evaluation.recording.silence import ExpectedOutputMonitor
from any2seg_core.evaluation.recording.span import JUDGED, PASSED, WHOLE, RecordingSpan
from any2seg_core.evaluation.recording.stream_warnings import stream_warnings
from any2seg_core.evaluation.recording.truth_choice import require_images, truth_of
from any2seg_core.evaluation.recording.truth_tally import TruthTally
from any2seg_core.evaluation.recording.video import EvaluationVideo, check_place, set_rate_hz
from any2seg_core.evaluation.recording.worst import WorstFrames
from any2seg_core.evaluation.scores import Scoreboard, SubsetScore
from any2seg_core.faults.check import check_faults
from any2seg_core.faults.injector import FaultInjector
from any2seg_core.faults.kinds import fault_document
from any2seg_core.kernels.running import WORKLOAD
from any2seg_core.runtime.checkpoint_metadata import checkpoint_sha256
from any2seg_core.runtime.predictor import Predictor, Segmentation
from any2seg_core.runtime.reliability import observations
from any2seg_core.runtime.set_segmenter import SetSegmenter
from any2seg_core.sync.association import TRUTH_TOLERANCE_NS
from any2seg_core.sync.parameters import sync_config
from any2seg_core.vocabulary.labels import IGNORE, NOT_ANNOTATED
from any2seg_core.vocabulary.subsets import subsets_with_all

_AHEAD = 3


def load_predictor(request: EvaluateRequest) -> Predictor:
    """The model of an evaluation; what `Predictor.load` raises."""
    return Predictor.load(
        request.checkpoint,
        request.device,
        stream=request.stream,
        precision=request.precision,
        runtime=request.runtime,
        filled_rows=request.filled_rows,
    )


class RecordingRun:
    """Judges the frames of one recording.

    Args:
        request: without its `out`, which is for those who write results down. stack: closes what is opened.
        predictor: of `load_predictor`, for who judges several recordings; None: loaded here.
        span: the part whose frames come out, the same as of the whole; the result is then of that part.
        may_lack: subsets of sensors that the recording lacks are left out; else they are refused.
        with_pooled: results hold `Segmentation.pooled`.

    Attributes:
        result: what came of all frames together. subsets: that are judged; the last one is of all sensors.
        suite, modalities: sensors there can be, and those that recording and checkpoint have. opened: the recording.
        sync: settings of the synchroniser.

    Raises:
        UserError: a recording, checkpoint, truth or option that cannot be used.
    """

    def __init__(
        self,
        request: EvaluateRequest,
        stack: ExitStack,
        predictor: Predictor | None = None,
        span: RecordingSpan = WHOLE,
        may_lack: bool = False,
        with_pooled: bool = False,
    ) -> None:
        self.request, self._span = request, span
        self._watched: dict[str, Callable[[Recorded], None]] = {}
        self.predictor = predictor or load_predictor(request)
        WORKLOAD.expect_more()  # as the node does: labels of one set are then the same bits in both
        self._settings = read_settings(request.bag)
        self._coding, self._comparison = truth_of(request, self._settings, self.predictor.label_space)
        compared = compared_truth(self._comparison)
        is_folder = Path(request.truth or NO_TRUTH).is_dir()
        self._folder = TruthFolder(Path(request.truth), self._coding, compared) if is_folder else None
        self.suite = self.predictor.contract.suite
        options = BagOptions(
            self._wishes(), request.rules, request.calibration, request.params, suite=self.suite,
            with_poses=request.stream == FILTER,
        )
        self.opened = stack.enter_context(open_bag(request.bag, options))
        self._bag, self._topics = self.opened.bag, self.opened.choice.map
        self._start_ns = self._bag.start_ns or 0
        self._has_truth = self._folder is not None or bool(self._topics.truth)
        require_images(request, self._coding, self._bag, self._topics.truth)
        self.modalities = self._modalities()
        self.subsets = self._subsets(may_lack)
        event_window_ns = self.predictor.contract.event_window_ns
        self.sync = sync_config(self.opened.parameters, self.modalities, event_window_ns, self.suite)
        self._notes = check_faults(request.faults, self._bag, self._topics, self.suite)
        self._notes += self.predictor.contract.encoding_notes(self.modalities)
        self._injector = FaultInjector(request.faults, self._topics, request.seed, self._start_ns, self.suite)
        self._recorder: ResultRecorder | None = None
        if request.record is not None:
            recorder = ResultRecorder(request.record, self._bag, self.predictor.label_space, self.suite)
            stack.enter_context(only_on_success(request.record.parent))
            self._recorder = stack.enter_context(recorder)
        self._video: EvaluationVideo | None = None
        if request.video is not None:
            stack.enter_context(only_on_success(request.video.parent))
            self._video = stack.enter_context(self._new_video(request.video))
        self._noise = noise_level(request.noise) if request.noise else None
        end_s = ((self._bag.end_ns or 0) - self._start_ns) / NS_PER_S
        phases = phases_of(request.faults, max(end_s, 1e-9))
        letters = [self.suite.subset_letters(subset) for subset in self.subsets]
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
        self._segmenter = SetSegmenter(self.predictor, self.sync, with_pooled)
        self._reliability, self._novelty = ReliabilityTally(), NoveltyTally()

    def _new_video(self, path: Path) -> EvaluationVideo:
        check_place(path, self.request.bag)
        rate_hz = set_rate_hz(self.opened, self.modalities, self.request.every)
        space = self.predictor.label_space
        return EvaluationVideo(path, space, self.suite, self.modalities, rate_hz, self._has_truth)

    def _wishes(self) -> list[str]:
        truth = NO_TRUTH if self._folder is not None else self.request.truth
        given = [*self.request.topics, *([f"truth={truth}"] if truth else [])]
        return self._settings.topics_for(self.suite, given)

    def _modalities(self) -> tuple[str, ...]:
        known = self.predictor.contract.modalities
        there = tuple(name for name in self.opened.modalities if name in known)
        if not there:
            raise UserError(
                f"{self.request.bag}: has {', '.join(self.opened.modalities)}, "
                f"the checkpoint takes {', '.join(known)}",
                "sensor-absent",
            )
        return there

    def _subsets(self, may_lack: bool) -> list[tuple[str, ...]]:
        possible = self.predictor.contract.modalities if may_lack else self.modalities
        try:
            asked = subsets_with_all(self.request.subsets, self.suite, possible)
        except UserError as error:
            told = f"--subsets {self.request.subsets}: of what recording and checkpoint have: {error}"
            raise UserError(told, error.code) from None
        there = [subset for subset in asked if set(subset) < set(self.modalities)]
        return [*there, self.suite.canonical(self.modalities)]

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
            "suite": self.suite.to_document(),
            "streams": {name: self._topics.streams[name] for name in self.modalities},
            "calibration": self.opened.calibration.source or None,
            "extrinsics": self.opened.calibration.found,
            "synchroniser": asdict(self.sync),
            "truth": (request.truth if self._folder is not None else self._topics.truth) or None,
            "truth_coding": self._coding.facts,
            "subsets": [self.suite.subset_letters(subset) for subset in self.subsets],
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

    def watch(self, topic: str, take: Callable[[Recorded], None]) -> None:
        """Have `take` called with each message of a topic, before the frame that comes after it."""
        self._watched[topic] = take

    def frames(self, progress: Callable[[float], None] = lambda done_s: None) -> Iterator[JudgedFrame]:
        """Judge every set of the span, in order; after the last one `result` is complete.

        Args:
            progress: gets seconds of the recording, those before the span included.

        Raises:
            UserError: a whole recording of which not one set could be judged.
        """
        stream, sets = self._sets()
        with Prefetched(sets, _AHEAD) as items:
            for prepared, role in self._span.roles(self._noted(items)):
                if role == PASSED:
                    self._pass(prepared)
                else:
                    judged = self._judged(prepared)
                    if judged is not None and role == JUDGED:
                        yield judged
                progress(self._time_s(prepared))
        if not self._absence.has_begun and self._span.is_whole:
            raise UserError(self._why_nothing(stream), "bag-no-sets")
        self._finish()
        pauses = self._monitor.pauses
        self.result.warnings += stream_warnings(stream, pauses, self._start_ns, self.opened.notes)

    def _sets(self) -> tuple[SetStream, Iterator[PreparedSet]]:
        """The stream of the recording's messages, and its sets made ready."""
        calibration, num_classes = self.opened.calibration, len(self._comparison.space)
        is_copied = self._recorder is not None
        seen = tuple(self._bag.topics) if is_copied else (*self.opened.topic_names, *self._watched)
        unseen = self._bag.messages([name for name in self._bag.topics if name not in seen])
        self._monitor = ExpectedOutputMonitor(
            self._topics, self.sync, self._folder, num_classes, unseen, self._coding,
            compared_truth(self._comparison),
        )
        messages = self._injector(self._monitor.messages(self._bag.messages(seen)))
        stream = SetStream(
            passed := RecordingTap(messages, seen if is_copied else tuple(self._watched)),
            self._topics,
            self.sync,
            self.opened.frames(self.predictor.contract.event_window_ns),
            use_camera_info=not calibration.is_final,
            extrinsics=self.opened.extrinsics,
        )
        return stream, prepared_sets(stream, passed, self._monitor, self.request.every, num_classes)

    def _noted(self, items: Iterable[PreparedSet]) -> Iterator[PreparedSet]:
        """The sets as they are; the messages that came before each go to those who want them."""
        for prepared in items:
            for message in prepared.passed:
                if self._recorder is not None:
                    self._recorder.copy(message)
                if message.topic in self._watched:
                    self._watched[message.topic](message)
            yield prepared

    def _pass(self, found: PreparedSet) -> None:
        """A set before the span: what those after it are compared with, without the network."""
        shape = None
        if found.frame is not None and found.frame.planes:
            self._segmenter.pass_by(found.frame)
            shape = next(iter(found.frame.planes.values())).shape[:2]
        self._truths.take(found.truth, shape, self._time_s(found))

    def _judged(self, prepared: PreparedSet) -> JudgedFrame | None:
        """None for a set that is skipped, and at the end."""
        self._notes += [] if prepared.frame is None else prepared.frame.notes
        if prepared.frame is not None and prepared.frame.planes:
            return self._frame(prepared)
        if prepared.frame is not None or prepared.missed_ns is not None:
            return self._missed(prepared)
        if prepared.is_skipped:
            samples = () if prepared.sample_set is None else prepared.sample_set.samples
            self._absence.skipped(self._time_s(prepared), samples)
        return None

    def _time_s(self, found: PreparedSet) -> float:
        return (found.time_ns - self._start_ns) / NS_PER_S

    def _frame(self, found: PreparedSet) -> JudgedFrame:
        sample_set, frame = found.sample_set, found.frame
        assert sample_set is not None and frame is not None  # what else there may be, `run` passes to others
        stamp_ns, planes = frame.stamp_ns, frame.planes
        used, time_s = self.suite.canonical(planes), self._time_s(found)
        change = None
        if self._noise is not None:
            seed = self.request.seed
            change = partial(add_noise, level=self._noise, seed=seed, stamp_ns=stamp_ns, suite=self.suite)
        segmented = self._segmenter.segment(
            sample_set, frame, found.time_ns, self.subsets, change=change, pose=found.pose
        )
        full = segmented.segmentation
        self.result.invalid_frames += full.invalid_share > 0
        results = {self.suite.subset_letters(subset): result for subset, result in segmented.subsets.items()}
        read = self._truths.take(found.truth, full.labels.shape, time_s)
        truth = None if read is None else read.labels
        scores = self._scorer.score(results, full, truth, planes)
        phase = self._add(scores, time_s, used)
        self._absence.evaluated(time_s, sample_set.samples, used)
        for name, why in {**sample_set.missing, **frame.reasons}.items():
            self.result.absent.setdefault(name, Counter())[why] += 1
        everything = scores[self.suite.subset_letters(self.subsets[-1])]
        shown = replace(full, labels=self._comparison.of_labels(full.labels))
        self._worst.offer(time_s, shown, planes, truth, everything.confusion.miou("present"))
        if truth is not None and self._comparison.mapping is not None:
            self._left_out += [np.count_nonzero(truth == NOT_ANNOTATED), np.count_nonzero(truth != IGNORE)]
        if self._recorder is not None:
            self._recorder.add(found.time_ns, stamp_ns, frame.frame_id, full, planes)
        if self._video is not None:
            miou = None if truth is None else everything.confusion.miou("present")
            self._video.add(time_s, full.labels, planes, truth, miou)
        reliability = self._reliability.take(time_s, segmented.reliability)
        unlike = self._novelty.take(time_s, full.novelty)
        told = scores, results, reliability, segmented.observed, unlike, segmented
        return JudgedFrame(found, time_s, phase, truth is not None, *told)

    def _missed(self, found: PreparedSet) -> JudgedFrame:
        """A moment without labels: no set came, or one of which nothing could be used."""
        time_s = self._time_s(found)
        read = self._truths.take(found.truth, None, time_s)
        scores = self._scorer.missed(None if read is None else read.pixels)
        if found.frame is None:
            self.result.silent_frames += 1
        else:
            reasons = (f"{self.suite.sensor(name).title} {why}" for name, why in found.frame.reasons.items())
            self.result.unusable[", ".join(reasons)] += 1
        phase = self._add(scores, time_s, ())
        if self._video is not None:
            self._video.add(time_s, None, {}, None if read is None else read.labels, None)
        self._absence.evaluated(time_s, () if found.sample_set is None else found.sample_set.samples, ())
        rated = self._segmenter.rate(found.sample_set, found.frame, found.time_ns)
        reliability = self._reliability.take(time_s, rated)
        said = None
        if found.sample_set is not None and found.frame is not None:
            said = observations(found.sample_set, found.frame, self.suite)
        results: dict[str, Segmentation | None] = dict.fromkeys(scores)
        return JudgedFrame(found, time_s, phase, read is not None, scores, results, reliability, said)

    def _add(self, scores: dict[str, SubsetScore], time_s: float, used: Sequence[str]) -> int:
        phase = self._phase(time_s)
        self.result.board.add(scores, (phase, *self._outages.of(time_s, used)))
        self.result.blocks.add(scores)
        return phase

    def _phase(self, time_s: float) -> int:
        phases = self.result.phases
        return next((i for i, phase in enumerate(phases) if phase.start_s <= time_s < phase.end_s), len(phases) - 1)

    def _why_nothing(self, stream: SetStream) -> str:
        """For a run without one judged set."""
        read = ", ".join(f"{self.suite.sensor(name).title} {stream.read[name]}" for name in self.modalities)
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
        self.result.encodings = {name: counts[name] for name in self.suite.canonical(counts)}
        told = (*self._notes, *self._injector.idle(), *self._truths.warnings())
        self.result.warnings = [*self._bag.warnings, *self.opened.notes, *told]
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
