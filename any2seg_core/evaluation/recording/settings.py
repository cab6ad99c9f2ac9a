"""What an evaluation of a recording is asked for. Light to import: the command line makes its options of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from any2seg_core.base.precisions import PRECISION_HELP
from any2seg_core.base.runtimes import DEFAULT, FILLED_ROWS_HELP, RUNTIME_HELP
from any2seg_core.base.shipped import default_checkpoint
from any2seg_core.base.stream_modes import OFF, STREAM_HELP
from any2seg_core.faults.kinds import Fault
from any2seg_core.vocabulary.class_mapping import ClassMap
from any2seg_core.vocabulary.subsets import EVERY_SUBSET
from any2seg_core.vocabulary.truth_codings import CARLA_VERSION, CODINGS, RIDER, TRAIN_IDS, CarlaVersion, Rider


@dataclass(frozen=True, kw_only=True)
class JudgingSettings:
    """How recordings are judged, one or the many of a fleet.

    Attributes:
        subsets: `parse_subsets` of the sensors; all of them together are always among them.
        topics, rules, params: as in `BagOptions`. device, precision, runtime, stream: as in `Predictor`.
        faults: what is done to the messages, with `seed`.
    """

    subsets: Annotated[str, Field(description="every, or a list: all,R,camera+lidar,DEL.")] = EVERY_SUBSET
    seed: Annotated[int, Field(ge=0, description="Of all that is random.")] = 0
    every: Annotated[int, Field(ge=1, description="Evaluate every n-th set.")] = 1
    device: Annotated[str, Field(description="cpu, cuda, cuda:1, ...")] = "cpu"
    precision: Annotated[str, Field(description=PRECISION_HELP)] = "float32"
    runtime: Annotated[str, Field(description=RUNTIME_HELP)] = DEFAULT
    stream: Annotated[str, Field(description=STREAM_HELP)] = OFF
    topics: Annotated[tuple[str, ...], Field(description="Fix a topic: rgb=/camera/image_raw, depth=none.")] = ()
    rules: Annotated[Path | None, Field(description="Rules that map topics to sensors, as bags/topics.yaml.")] = None
    params: Annotated[Path | None, Field(description="ROS 2 parameter file with synchroniser settings.")] = None
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True)
class EvaluateRequest(JudgingSettings):
    """What to evaluate, on what, how; each setting with its text for the command line.

    Attributes:
        out: folder for the results; never None once made.
        truth: topic or folder of labels; "": the recording's own if it has one; NO_TRUTH: none.
        noise: level of `add_noise` on the model's input, "" for none.
        calibration: as in `BagOptions`. filled_rows: as in `Predictor`.
        other attributes: as in `JudgingSettings`; subsets are of the sensors that recording and checkpoint have.
    """

    bag: Annotated[Path, Field(description="Recording: rosbag2 folder, .mcap, .db3 or ROS 1 .bag.")]
    checkpoint: Annotated[
        Path, Field(description="Checkpoint (.safetensors), or a folder of any2seg export.")
    ] = default_checkpoint()
    out: Annotated[Path | None, Field(description="Folder for results; default: runs/evaluate/<recording>.")] = None
    truth: Annotated[
        str,
        Field(
            description="Topic, folder of <stamp in ns>.png, or what bag extract wrote; default: the recording's own; "
            "none."
        ),
    ] = ""
    truth_coding: Annotated[
        str, Field(description=f"Of the images of the truth: {', '.join(CODINGS)}; the last two are CARLA's topics.")
    ] = TRAIN_IDS
    label_space: Annotated[
        str, Field(description="Classes of the truth: a shipped label space or a YAML; default: any2seg.yaml's.")
    ] = ""
    map: ClassMap = ""
    carla_version: CarlaVersion = CARLA_VERSION
    rider: Rider = RIDER
    noise: Annotated[str, Field(description="Noise on the model's input: low, mid or high.")] = ""
    filled_rows: Annotated[bool, Field(description=FILLED_ROWS_HELP)] = False
    record: Annotated[Path | None, Field(description="Also write inputs and labels to this .mcap.")] = None
    video: Annotated[
        Path | None, Field(description="Also write camera, labels and truth to this .webm, or .mp4 (slower).")
    ] = None
    calibration: Annotated[Path | None, Field(description="Calibration YAML; default: of the recording.")] = None

    @property
    def folder(self) -> Path:
        """Where the results go: `out`, which has its default by now."""
        assert self.out is not None
        return self.out

    def __post_init__(self) -> None:
        if self.out is None:
            object.__setattr__(self, "out", Path("runs/evaluate") / (self.bag.stem or "bag"))
