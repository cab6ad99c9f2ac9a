"""Embed a data set with a teacher once, for the losses L_cr and L_se of training/train.py.

    python training/cache_teacher.py teacher=text data=data/drive out=runs/teacher/text
    python training/train.py training/configs/drive_b0.yaml teacher=runs/teacher/text lambda_cr=1 lambda_se=1

Scene descriptions come from a template of labels and condition, which sees the truth; from captions=<JSON or CSV>; or
from captioner=<folder of an image-to-text model of transformers>, which sees the camera's picture alone. The cache says
which. Work is kept in parts: after an interruption the same command goes on where it stopped. Keys: teacher (text |
languagebind), encoder (folder of a sentence encoder, or of LanguageBind_Image and the other towers), split (train),
dataset, suite, modalities, captions, captioner, device (cpu | cuda).
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from any2seg_core.base.atomic import only_one, replacing
from any2seg_core.base.errors import UserError
from any2seg_core.base.progress import track
from any2seg_core.base.screen import refusal, say
from any2seg_core.base.text_files import read_json
from any2seg_core.data.catalogue import open_dataset
from any2seg_core.data.kinds import Kind
from any2seg_core.data.samples import FrameDataset
from any2seg_core.runtime.devices import available_device
from any2seg_core.teachers.base import Teacher
from any2seg_core.teachers.cached import read_embeddings, write_embeddings
from any2seg_core.teachers.captioner import Captioner
from any2seg_core.teachers.captions import Caption, describe, of_condition, read_captions, spoken
from any2seg_core.teachers.language_bind import LanguageBindTeacher, tower_of
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
    captioner: Path | None = Field(None, description="folder of an image-to-text model that describes the camera image")
    encoder: Path | None = Field(
        None, description="folder of a sentence encoder, or of LanguageBind_Image and so on; default: extra or hub"
    )
    device: Literal["cpu", "cuda"] = "cpu"

    @model_validator(mode="after")
    def _one_source(self) -> CacheConfig:
        if self.captions is not None and self.captioner is not None:
            raise ValueError("captions and captioner exclude each other: a file, or a model")
        return self


def build_teacher(config: CacheConfig, frames: FrameDataset) -> Teacher:
    """The configured teacher, loaded, with what the sensors of the frames need."""
    device = available_device(config.device)
    if config.teacher == "text":
        return TextTeacher(config.encoder, device)
    towers = [tower_of(frames.suite.sensor(name)) for name in frames.modalities]
    return LanguageBindTeacher(towers, config.encoder, device)


def frame_captions(config: CacheConfig, frames: FrameDataset) -> tuple[list[Caption], str]:
    """One caption per frame, and where they come from and whether that sees the truth.

    Raises:
        UserError: the user's file lacks a frame; the model cannot be loaded, or a frame has no camera image.
    """
    conditions = [frames.condition(frame) for frame in frames.frames]
    if config.captioner is not None:
        captioner = Captioner(config.captioner, available_device(config.device))
        scenes = model_captions(config, captioner, frames)
        source = f"the model {captioner.name}, which sees the camera image and not the truth"
    elif config.captions is not None:
        written = read_captions(config.captions)
        missing = next((frame.name for frame in frames.frames if frame.name not in written), None)
        if missing is not None:
            raise UserError(
                f"captions={config.captions}: no caption of frame {missing}; describe every frame", "captions-missing"
            )
        scenes = [written[frame.name] for frame in frames.frames]
        source = f"the file {config.captions.name}, whose writer may have seen the truth"
    else:
        labels = (frames.labels(number) for number in range(len(frames)))
        captions = [
            describe(each, frames.label_space, condition) for each, condition in zip(labels, conditions, strict=True)
        ]
        return captions, "a template of the labels, which sees the truth"
    return [replace(of_condition(at), scene=scene) for scene, at in zip(scenes, conditions, strict=True)], source


def model_captions(config: CacheConfig, captioner: Captioner, frames: FrameDataset) -> list[str]:
    """One sentence per frame; kept on the way, so that an interrupted run goes on."""
    path = captions_so_far(config)
    known = read_json(path, "captions so far") if path.is_file() else {}
    done = known.get("captions", {}) if known.get("model") == captioner.name else {}
    camera = frames.suite.camera
    if camera not in frames.modalities:
        raise UserError(
            f"captioner={config.captioner}: describes images of {camera}, which is not among the sensors "
            f"{', '.join(frames.modalities)}; add it to modalities, or give captions=FILE",
            "sensor-absent",
        )
    todo = [number for number, frame in enumerate(frames.frames) if frame.name not in done]
    for count, number in enumerate(track(todo, f"captions of {len(todo)} frames", len(todo)), start=1):
        image = frames[number].planes.get(camera)
        name = frames.frames[number].name
        if image is None:
            raise UserError(
                f"captioner={config.captioner}: frame {name} has no image of {camera}; give captions=FILE",
                "captions-missing",
            )
        done[name] = captioner.describe(image)
        if count % _PART == 0 or count == len(todo):
            with replacing(path) as partial:
                partial.write_text(json.dumps({"model": captioner.name, "captions": done}), encoding="utf-8")
    return [done[frame.name] for frame in frames.frames]


def captions_so_far(config: CacheConfig) -> Path:
    """Where the sentences of a model are kept until the cache is whole."""
    return config.out / f".{config.split}.captions.json"


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
    teacher = build_teacher(config, frames)
    captions, source = frame_captions(config, frames)
    say(f"captions from {source}", err=True)
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
        "captions_from": source,
    }
    write_embeddings(target, arrays, facts)
    shutil.rmtree(folder)
    captions_so_far(config).unlink(missing_ok=True)
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
