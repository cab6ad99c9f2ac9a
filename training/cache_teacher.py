"""Embed a data set with a teacher once, for the losses L_cr and L_se of training/train.py.

    python training/cache_teacher.py teacher=text data=data/drive out=runs/teacher/text
    python training/train.py training/configs/drive_b0.yaml teacher=runs/teacher/text lambda_cr=1 lambda_se=1

Scene descriptions come from the labels and the condition of each frame, or from captions=<JSON or CSV>. Work is kept in
parts: after an interruption the same command goes on where it stopped. Keys: teacher (text | languagebind), encoder
(folder of a sentence encoder for teacher=text), split (train), dataset, suite, modalities, captions,
device (cpu | cuda).
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from any2seg_core.base.atomic import only_one
from any2seg_core.base.errors import UserError
from any2seg_core.base.progress import track
from any2seg_core.base.screen import refusal
from any2seg_core.data.catalogue import open_dataset
from any2seg_core.data.kinds import Kind
from any2seg_core.data.samples import FrameDataset
from any2seg_core.runtime.devices import available_device
from any2seg_core.teachers.base import Teacher
from any2seg_core.teachers.cached import read_embeddings, write_embeddings
from any2seg_core.teachers.captions import Caption, describe, read_captions, spoken
from any2seg_core.teachers.language_bind import LanguageBindTeacher
from any2seg_core.teachers.text import TextTeacher
from any2seg_core.vocabulary.modalities import sensor_suite
from any2seg_training.settings import answered_help, load_settings

_PART = 64
"""Frames per part: what an interruption costs at most."""


class CacheConfig(BaseModel):
    """Which teacher, on what."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    teacher: Literal["text", "languagebind"]
    data: Path
    out: Path
    dataset: Kind = "auto"
    split: str = "train"
    suite: str | None = Field(None, description="as in training")
    modalities: str | tuple[str, ...] | None = None
    captions: Path | None = Field(None, description="JSON or CSV; default: made from labels and condition")
    encoder: Path | None = Field(None, description="folder of a sentence encoder; default: that of the extra")
    device: Literal["cpu", "cuda"] = "cpu"


def build_teacher(config: CacheConfig) -> Teacher:
    """The configured teacher, loaded."""
    device = available_device(config.device)
    return TextTeacher(config.encoder, device) if config.teacher == "text" else LanguageBindTeacher(device=device)


def frame_captions(config: CacheConfig, frames: FrameDataset) -> list[Caption]:
    """One caption per frame; UserError if the user's file lacks one."""
    written = None if config.captions is None else read_captions(config.captions)
    captions = []
    for number, frame in enumerate(frames.frames):
        made = describe(frames.labels(number), frames.label_space, frames.condition(frame))
        if written is None:
            captions.append(made)
            continue
        if frame.name not in written:
            raise UserError(
                f"captions={config.captions}: no caption of frame {frame.name}; describe every frame",
                "captions-missing",
            )
        captions.append(Caption(written[frame.name], made.setting, made.failure))
    return captions


def embed_part(
    teacher: Teacher, frames: FrameDataset, captions: list[Caption], numbers: range
) -> dict[str, np.ndarray]:
    """scene (n, D) and modality (n, M, D) of some frames; rows of sensors that a frame lacks are zero."""
    scene = teacher.embed_texts([captions[number].scene for number in numbers])
    modality = np.zeros((len(numbers), len(frames.modalities), scene.shape[1]), scene.dtype)  # (N, M, D)
    for row, number in zip(modality, numbers, strict=True):
        planes = frames[number].planes
        embedded = teacher.embed_modalities(planes, captions[number], frames.suite)
        row[[frames.modalities.index(name) for name in planes]] = embedded
    return {"scene": scene, "modality": modality}


def part_key(teacher: Teacher, frames: FrameDataset, captions: list[Caption], numbers: range) -> str:
    """Changes with all that the embeddings of these frames depend on, as far as it is known without reading images."""
    facts = [teacher.name, frames.modalities, [(frames.frames[n].name, repr(captions[n])) for n in numbers]]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def usable(path: Path, key: str) -> bool:
    """Whether an earlier run has left this part, whole and of the same frames, texts and teacher."""
    if not path.is_file():
        return False
    try:
        return read_embeddings(path)[1].get("key") == key
    except UserError:
        return False


def cache(config: CacheConfig) -> Path:
    """Write <out>/classes.safetensors and <out>/<split>.safetensors; returns the latter's path."""
    suite = None if config.suite is None else sensor_suite(config.suite)
    frames = open_dataset(config.dataset, config.data, config.split, config.modalities, suite=suite)
    captions = frame_captions(config, frames)
    teacher = build_teacher(config)
    space = frames.label_space
    names = teacher.embed_texts([spoken(name) for name in space.classes])
    write_embeddings(config.out / "classes.safetensors", {"class_names": names}, {"classes": space.classes})

    target = config.out / f"{config.split}.safetensors"
    folder = config.out / f".{config.split}.parts"
    starts = range(0, len(frames), _PART)
    parts = [folder / f"{start:08d}.safetensors" for start in starts]
    for start, path in track(zip(starts, parts, strict=True), f"{config.teacher} x {len(frames)} frames", len(parts)):
        numbers = range(start, min(start + _PART, len(frames)))
        key = part_key(teacher, frames, captions, numbers)
        if not usable(path, key):
            write_embeddings(path, embed_part(teacher, frames, captions, numbers), {"key": key})
    pieces = [read_embeddings(path)[0] for path in parts]
    arrays = {name: np.concatenate([piece[name] for piece in pieces]) for name in ("scene", "modality")}
    facts = {
        "teacher": teacher.name,
        "modalities": frames.modalities,
        "frames": [frame.name for frame in frames.frames],
        "captions": [caption.scene for caption in captions],
    }
    write_embeddings(target, arrays, facts)
    shutil.rmtree(folder)
    return target


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    if answered_help(words, __doc__, CacheConfig):
        return 0
    try:
        config = load_settings(CacheConfig, words)
        with only_one(config.out / f".{config.split}.lock", f"out={config.out}: making embeddings"):
            target = cache(config)
    except (UserError, OSError) as error:
        print(f"cache_teacher: {refusal(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("cache_teacher: stopped; the same command goes on from the parts that are done", file=sys.stderr)
        return 130
    print(f"wrote {target}; train with teacher={target.parent}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
