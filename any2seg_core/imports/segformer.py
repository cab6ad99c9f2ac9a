"""A complete SegFormer of another program, encoder and head, as a checkpoint of this one for the camera alone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from any2seg_core.base.errors import UserError
from any2seg_core.base.limits import limits, raising
from any2seg_core.imports import hugging_face, mmsegmentation
from any2seg_core.imports.foreign import DEFAULT_SIDE, Description, space_of, with_red_first
from any2seg_core.models import Any2Seg, MFFConfig, ModelConfig
from any2seg_core.models.head_maps import HEAD_DIALECTS
from any2seg_core.models.key_maps import DIALECTS
from any2seg_core.models.mit import VARIANTS
from any2seg_core.models.pretrained import place_of_encoder, read_weights, require_finite, state_in
from any2seg_core.runtime.checkpoint import save_checkpoint
from any2seg_core.runtime.checkpoint_metadata import is_checkpoint
from any2seg_core.vocabulary.contract import InputContract
from any2seg_core.vocabulary.labels import LabelSpace
from any2seg_core.vocabulary.modalities import SensorSuite
from any2seg_core.vocabulary.sensor import IMAGE, Sensor

CAMERA = SensorSuite("camera", (Sensor("rgb", "R", IMAGE, title="camera", folder="img"),))
"""The suite of what knows one picture alone; the camera of the shipped suites has this name too."""

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_SHOWN = 4
_STEP = 32
_ENCODERS = ("backbone.", "segformer.", "encoder.")
_UNUSED = ("auxiliary_head.", "data_preprocessor.", "ema_", "loss_")
"""Parts of a state beside encoder and head that no label depends on."""
_LICENCE = "NVIDIA Source Code License for SegFormer: research or evaluation only, not for commercial use"
_NVIDIA, _ITS_ENCODERS = re.compile("nvidia|nvlabs", re.IGNORECASE), re.compile(r"\bmit[-_]b\d")


@dataclass(frozen=True)
class Imported:
    """What was written.

    Attributes:
        model: MiT variant. classes: K. size: (height, width) of the network's input, pixels.
        program: that the weights came from. licence: of the weights where it is known, else "".
        notes: lines for people: what was not said, and what is done otherwise here.
    """

    model: str
    classes: LabelSpace
    size: tuple[int, int]
    program: str
    licence: str
    notes: tuple[str, ...]


def import_segformer(
    source: str, out: Path, size: tuple[int, int] | None = None, classes: LabelSpace | None = None
) -> Imported:
    """Write a SegFormer of another program as a checkpoint; its logits are those of the other program.

    Args:
        source: folder of ``transformers`` (config.json and the weights), a file of weights in the names of
            transformers 4 or 5, of MMSegmentation or of SegFormer's own program, or the id of a repository on the
            Hugging Face hub, which is fetched.
        out: new checkpoint, ``.safetensors``.
        size: (height, width) that pictures are resized to, pixels; default: what the source says, else 512x512. Brought
            up to multiples of 32.
        classes: default: those of the source.

    Raises:
        UserError: nothing there, damaged, another network, tensors that are missing or unknown, another number of
            classes, or ``out`` is there already.
    """
    if out.suffix != ".safetensors":
        raise UserError(f"{out}: a checkpoint is written as .safetensors: name it so", "file-name")
    if out.exists():
        raise UserError(f"{out}: is there already; remove it or choose another name", "output-exists")
    state, head, description = _read(source)
    variant = _variant(state, source)
    count, width = _classifier(state, source)
    if classes is not None:
        description.class_names, description.colours = classes.classes, classes.colours
    space = space_of(description, count, source)
    if description.is_bgr:
        first = "encoder.stages.0.embed.proj.weight"
        state[first] = with_red_first(state[first], description)
    config = ModelConfig(
        encoder=f"mit_{variant}", head=head, head_width=width, num_classes=count,
        modalities=CAMERA.members, mff=MFFConfig(unit_scale=True), layer_norm_eps=description.layer_norm_eps,
        align_corners=description.align_corners,
    )  # fmt: skip
    model = _filled(config, state, source)
    pixels = _size(size, description)
    contract = InputContract(
        suite=CAMERA, modalities=CAMERA.members, height=pixels[0], width=pixels[1], label_space=classes or space,
        normalisation={CAMERA.camera: description.normalisation},
    )  # fmt: skip
    licence, notes = _licence(source, description), tuple(description.notes)
    place = Path(source)
    origin = place.resolve().name if place.exists() else source  # of an id of the hub all of it, of a path the name
    provenance = {"imported_from": origin, "program": description.program, "licence": licence, "notes": notes}
    save_checkpoint(out, model, contract, provenance | description.facts)
    return Imported(config.encoder, contract.label_space, pixels, description.program, licence, notes)


def _read(source: str) -> tuple[dict[str, Tensor], Any, Description]:
    """State of `Any2Seg`, kind of its head, and what is said beside it."""
    place = path = _local(source)
    description = hugging_face.describe(place) if place.is_dir() else None
    given: dict[str, Tensor] = {}
    document: Any = None
    for path in hugging_face.weight_files(place) if place.is_dir() else [place]:
        if path.suffix == ".safetensors" and is_checkpoint(path):
            raise UserError(f"{path}: is a checkpoint of this program already: use it as it is", "file-content")
        document, foreign_names = read_weights(path)
        given |= state_in(document, path, foreign_names)
    state, head, program = _translated(given, str(path))
    if description is None and program == hugging_face.PROGRAM:
        description = Description(program, hugging_face.LAYER_NORM_EPS)
        description.notes.append("a file alone does not say how pictures are normalised: as those of ImageNet")
        if (path.parent / hugging_face.CONFIG).is_file():
            description.notes.append(f"beside it lies {hugging_face.CONFIG}: give the folder, which names its classes")
    return state, head, description or mmsegmentation.describe(document, str(path), program)


def _translated(state: dict[str, Tensor], source: str) -> tuple[dict[str, Tensor], Any, str]:
    """Names of another program -> names of `Any2Seg`, the kind of the head, and the program."""
    found = place_of_encoder(state, source)
    if found is None:
        told = f"holds no MiT encoder ({_listed(list(state))})"
        raise UserError(f"{source}: {told}: give a SegFormer", "weights-mismatch")
    place, first = found
    root = next((place.removesuffix(name) for name in _ENCODERS if place.endswith(name)), place)
    own_head = root + "decode_head."
    encoder = {n.removeprefix(place): v for n, v in state.items() if n.startswith(place) and not n.startswith(own_head)}
    outer = {name.removeprefix(root): value for name, value in state.items() if name.startswith(root)}
    head = {n.removeprefix("decode_head."): v for n, v in outer.items() if n.startswith("decode_head.")}
    if not head:
        raise UserError(
            f"{source}: holds an encoder without SegFormer's head: train with pretrained={source}", "weights-mismatch"
        )
    dialect = next((dialect for key, dialect in HEAD_DIALECTS.items() if key in head), None)
    if dialect is None:
        raise UserError(
            f"{source}: its head is not SegFormer's (decode_head has {_listed(list(head))}): give a SegFormer",
            "weights-mismatch",
        )
    require_finite(head, source, own_head)
    require_finite(encoder, source, place)
    foreign = [name for name in outer if not name.startswith(("decode_head.", place.removeprefix(root), *_UNUSED))]
    if foreign and place != root:
        raise UserError(f"{source}: has parts that SegFormer has not: {_listed(foreign)}", "weights-mismatch")
    translated = {f"encoder.{name}": value for name, value in DIALECTS[first](encoder).items()}
    translated |= {f"head.{name}": value for name, value in dialect.translate(head).items()}
    is_official = "linear_pred.weight" in head
    program = mmsegmentation.OFFICIAL if is_official else mmsegmentation.PROGRAM
    return translated, dialect.head, hugging_face.PROGRAM if "classifier.weight" in head else program


def _variant(state: dict[str, Tensor], source: str) -> str:
    """Which MiT this is, by its widths and depths."""
    widths, depths = [], []
    for stage in range(4):
        weight = state.get(f"encoder.stages.{stage}.embed.proj.weight")
        widths.append(0 if weight is None else len(weight))
        blocks = {name.split(".")[4] for name in state if name.startswith(f"encoder.stages.{stage}.blocks.")}
        depths.append(len(blocks))
    for name, variant in VARIANTS.items():
        if (list(variant.widths), list(variant.depths)) == (widths, depths):
            return name
    raise UserError(
        f"{source}: an encoder of widths {widths} and depths {depths} is none of MiT-B0 to B5", "weights-mismatch"
    )


def _classifier(state: dict[str, Tensor], source: str) -> tuple[int, int]:
    """Number of classes, and channels of the fused feature."""
    weight = state.get("head.classifier.weight")
    if weight is None or weight.ndim != 4:
        raise UserError(f"{source}: its head has no classifier: give a whole SegFormer", "weights-mismatch")
    count, width = weight.shape[:2]
    if not 1 < count < 65535:
        raise UserError(f"{source}: its head tells {count} classes apart: 2 to 65534 are possible", "value-range")
    return count, width


def _licence(source: str, description: Description) -> str:
    """Of weights whose source, or whatever stands beside them, names NVIDIA or its encoders; else ""."""
    origin = " ".join(description.origin)
    is_official = description.program == mmsegmentation.OFFICIAL
    is_named = _NVIDIA.search(f"{source} {origin}") or _ITS_ENCODERS.search(origin)
    return _LICENCE if is_official or is_named else ""


def _filled(config: ModelConfig, state: dict[str, Tensor], source: str) -> Any2Seg:
    """A model with this state; UserError lists the names that are missing, unknown or of another shape."""
    with torch.device("meta"):
        model = Any2Seg(config)
    own = model.state_dict()
    counts = {name for name in own if name.endswith("num_batches_tracked")}
    state = {name: torch.zeros((), dtype=torch.long) for name in counts} | state
    problems = {
        "missing": [name for name in own if name not in state],
        "unknown": [name for name in state if name not in own],
        "of another shape": [name for name in own if name in state and state[name].shape != own[name].shape],
    }
    told = [f"{title} {len(names)} ({_listed(names)})" for title, names in problems.items() if names]
    if told:
        raise UserError(f"{source} is not a whole SegFormer: {'; '.join(told)}", "weights-mismatch")
    whole = {name: value if name in counts else value.float() for name, value in state.items()}
    model.load_state_dict(whole, strict=True, assign=True)
    return model.eval()


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def _size(asked: tuple[int, int] | None, description: Description) -> tuple[int, int]:
    """(height, width) of the network's input, multiples of 32."""
    given = asked or description.size
    if given is None:
        description.notes.append(f"nothing says the size of its input: {DEFAULT_SIDE}x{DEFAULT_SIDE}, or give --size")
    height, width = given or (DEFAULT_SIDE, DEFAULT_SIDE)
    if min(height, width) < 1 or height * width > limits().camera_pixels:
        raise UserError(
            f"an input of {width}x{height} pixels is larger than any camera; {raising('camera_mpx')}", "limit-exceeded"
        )
    whole = -(-height // _STEP) * _STEP, -(-width // _STEP) * _STEP
    if whole != (height, width):
        description.notes.append(
            f"pictures of {width}x{height} are fed as {whole[1]}x{whole[0]}: this program takes multiples of {_STEP}"
        )
    return whole


def _local(source: str) -> Path:
    """The file or folder that is meant; what is none and looks like an id of the hub is fetched."""
    path = Path(source)
    if path.exists():
        return path
    if not _HUB_ID.fullmatch(source) or path.parent.exists():
        raise UserError(f"{source}: no such file or folder", "file-missing")
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise UserError(
            f"{source} is no file; to fetch it from the Hugging Face hub pip install huggingface_hub", "package-missing"
        ) from None
    folder, reason = None, ""
    for names in ((hugging_face.CONFIG,), hugging_face.WEIGHTS, (hugging_face.PREPROCESSOR,)):
        for name in names:
            try:
                folder = Path(hf_hub_download(source, name)).parent
                break
            except (OSError, ValueError) as error:  # no network, no such repository or file, no id
                reason = (str(error).splitlines() or [type(error).__name__])[0]
        else:
            if names != (hugging_face.PREPROCESSOR,):
                told = f"{source}: no such file, and {names[0]} cannot be fetched from the hub ({reason})"
                raise UserError(f"{told}; give a local folder", "weights-unavailable")
    assert folder is not None  # config.json was fetched
    return folder
