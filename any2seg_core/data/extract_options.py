"""What `any2seg bag extract` is asked for. Light to import: the command line makes its options of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from any2seg_core.base.precisions import PRECISION_HELP
from any2seg_core.base.runtimes import DEFAULT, RUNTIME_HELP
from any2seg_core.vocabulary.truth_codings import CARLA_VERSION, CODINGS, RIDER, TRAIN_IDS, CarlaVersion, Rider


@dataclass(frozen=True)
class ExtractOptions:
    """What to write; each setting with its text for the command line.

    Attributes:
        out: other splits may be there.
        condition: DELIVER's folder for the weather; "": what the recording says at each moment (the simulated drive's
            do), else "sun".
        min_motion: "0.5m", "4%" or "" for no such rule.
        truth_coding, carla_version, rider, label_space: of `TruthCoding`; labels of LiDAR points are also written where
            ``data.sparse={kind: lidar}`` looks.
        labels: its labels of each frame go to ``predicted``, coded as those in ``semantic``; its event window holds.
        precision, runtime: of those labels, as in `Predictor`.
        event_window_ns: length of the event window, as in the input contract that will be trained.
    """

    out: Annotated[Path, Field(description="Root of the data set to write, in DELIVER's layout.")]
    split: Annotated[str, Field(description="train, val or test.")] = "train"
    condition: Annotated[
        str, Field(description="Weather: cloud, fog, night, rain, sun; default: as the recording says, else sun.")
    ] = ""
    every: Annotated[int, Field(ge=1, description="Take every n-th complete set.")] = 1
    min_motion: Annotated[
        str, Field(description="Least motion between frames: 0.5m by odometry, or 4% change of the picture.")
    ] = ""
    moments: Annotated[
        Path | None, Field(description="CSV of any2seg fleet select: only its moments of this recording.")
    ] = None
    truth_coding: Annotated[
        str, Field(description=f"Of the truth topic: {', '.join(CODINGS)}; default: any2seg.yaml's.")
    ] = TRAIN_IDS
    label_space: Annotated[
        str, Field(description="Classes of the truth: a shipped label space or a YAML; default: any2seg.yaml's.")
    ] = ""
    carla_version: CarlaVersion = CARLA_VERSION
    rider: Rider = RIDER
    labels: Annotated[
        Path | None, Field(description="Checkpoint whose labels are written too, to the folder predicted.")
    ] = None
    precision: Annotated[str, Field(description=f"With labels. {PRECISION_HELP}")] = "float32"
    runtime: Annotated[str, Field(description=f"With labels. {RUNTIME_HELP}")] = DEFAULT
    event_window_ns: int = 50_000_000
