"""How the truth of a recording says its classes, and which of them labels are compared on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from shlex import quote

from any2seg_core.bags.reader import Recording
from any2seg_core.bags.topics import CLOUD_KIND
from any2seg_core.base.errors import UserError
from any2seg_core.data.bag_settings import BagSettings
from any2seg_core.data.deliver_labels import LABEL_SPACE_FILE
from any2seg_core.data.recording_truth import NO_TRUTH, TruthCoding
from any2seg_core.evaluation.recording.settings import EvaluateRequest
from any2seg_core.vocabulary.class_mapping import Comparison, class_mapping
from any2seg_core.vocabulary.labels import DELIVER, LabelSpace
from any2seg_core.vocabulary.truth_codings import FILE_CODINGS, TAG, TRAIN_IDS


def truth_of(request: EvaluateRequest, settings: BagSettings, labels: LabelSpace) -> tuple[TruthCoding, Comparison]:
    """Coding and classes of the truth, and the comparison with a model's.

    The label space is that of the request, else of the folder of truth, else of the recording's settings; where nobody
    says one it is DELIVER's for CARLA's codings and the model's for others.

    Args:
        settings: of the recording. labels: label space of the model.

    Raises:
        UserError: an unknown coding, label space or mapping, or ones that do not belong together.
    """
    coding = settings.coding(request.truth_coding, request.carla_version, request.rider, _said(request))
    is_said = bool(_said(request)) or "label_space" in settings.model_fields_set
    if not is_said:
        coding = replace(coding, space=DELIVER if coding.is_carla else labels)
    mapping = class_mapping(request.map) if request.map else None
    truth = f"the truth of {request.bag} ({coding.kind})"

    def told(own: str, rival: str) -> str:
        return f"{request.checkpoint} was trained on labels {own}, {truth} has {rival}"

    return coding, Comparison.between(labels, coding.space, mapping, told)


def _said(request: EvaluateRequest) -> str:
    """Label space of the request or of a folder of truth; "" where neither says one."""
    beside = Path(request.truth or NO_TRUTH) / LABEL_SPACE_FILE
    return request.label_space or (str(beside) if beside.is_file() else "")


def require_images(request: EvaluateRequest, coding: TruthCoding, bag: Recording, topic: str) -> None:
    """UserError for truth that is points, and for files in a coding of CARLA's topics; topic: "" where it is none."""
    if Path(request.truth or NO_TRUTH).is_dir() and coding.is_carla:
        raise UserError(
            f"truth_coding={coding.kind}: the files of --truth {request.truth} are {TRAIN_IDS} unless it says "
            f"{', '.join(FILE_CODINGS[1:])}",
            "value-conflict",
        )
    if topic and bag.topics[topic].kind == CLOUD_KIND:
        raise UserError(
            f"truth topic {topic} holds points, labels are compared with images: write such images with `any2seg "
            f"bag extract {quote(str(request.bag))} --out FOLDER --truth {topic} --truth-coding {TAG} "
            f"--carla-version {coding.carla_version}` and give --truth FOLDER",
            "bag-topic-type",
        )
