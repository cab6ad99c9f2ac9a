"""ImageNet weights for the encoder: from a file, or from a hub where there is a network. Nothing is shipped.

NVIDIA's MiT weights are under a non-commercial licence (see the SegFormer repository); the user decides to load them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from any2seg_core.base.errors import UserError
from any2seg_core.base.git_lfs import refuse_pointer
from any2seg_core.models.key_maps import DIALECTS, from_official
from any2seg_core.models.linear import ModalityNorm
from any2seg_core.models.mit import MixTransformer
from any2seg_core.models.weight_files import innermost_state, load_torch

_FIRST = "stages.0.embed.proj.weight"
_SHOWN = 4
_LENGTH_BYTES = 8  # a .safetensors is the length of its head, and that as JSON
_STATES = ("state_dict", "model_state_dict", "model_state", "model", "state_dict_ema", "model_ema", "ema_state_dict",
           "ema", "net", "module")  # fmt: skip
_WRAPPERS = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
"""What torch.compile, FSDP and activation checkpointing put before, or between, the parts of a name."""
_HEADS = ("head.", "decode_head.", "auxiliary_head.", "classifier.")


def read_weights(path: Path) -> tuple[Any, list[str]]:
    """What a ``.safetensors`` or ``.pth`` file holds, see `load_torch`, and the names of what was left out of it.

    Raises:
        UserError: missing or damaged.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file", "file-missing")
    foreign_names: list[str] = []
    try:
        refuse_pointer(path)
        return (load_file(path) if _is_safetensors(path) else load_torch(path, foreign_names)), foreign_names
    except (SafetensorError, OSError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"{path}: not a file of weights ({reason})", "file-format") from None


def state_in(document: Any, path: Path, foreign_names: list[str]) -> dict[str, Tensor]:
    """The tensors of the weights in what `read_weights` gave.

    They are found under ``state_dict``, ``model`` and the like, else in whichever dictionaries hold some; what is no
    tensor is left out, and so are the names of wrappers.

    Raises:
        UserError: no state of tensors.
    """
    state = _tensors(innermost_state(document, _STATES))
    if not state and foreign_names:
        held = ", ".join(foreign_names[:_SHOWN])
        raise UserError(f"{path}: not a file of weights (it holds {held})", "file-content")
    if not state:
        raise UserError(f"{path}: holds no dictionary of tensors", "file-content")
    return {_unwrapped(name): value for name, value in state.items()}


def read_state(path: Path) -> dict[str, Tensor]:
    """Tensors of a file of weights, whatever a training has put beside them; UserError as of its two halves."""
    document, foreign_names = read_weights(path)
    return state_in(document, path, foreign_names)


def _is_safetensors(path: Path) -> bool:
    """By name or content: a file that was fetched may have lost its name."""
    with path.open("rb") as file:
        return path.suffix == ".safetensors" or file.read(_LENGTH_BYTES + 1)[_LENGTH_BYTES:] == b"{"


def _unwrapped(name: str) -> str:
    for wrapper in _WRAPPERS:
        name = name.replace(wrapper, "")
    return name


def _tensors(loaded: object) -> dict[str, Tensor]:
    """Tensors of a dictionary; where it has no weights, those of the dictionaries in it, with their names before."""
    level = [("", loaded)] if isinstance(loaded, dict) else []
    seen: set[int] = set()
    outer: dict[str, Tensor] = {}
    while level:
        found = {f"{place}{name}": value for place, state in level for name, value in state.items()
                 if isinstance(name, str) and isinstance(value, Tensor)}  # fmt: skip
        outer = outer or found
        if any(value.ndim > 1 for value in found.values()):  # a count of steps or a state of a generator has fewer
            return found
        seen |= {id(state) for _, state in level}
        inner = {id(value): (f"{place}{name}.", value) for place, state in level for name, value in state.items()
                 if isinstance(value, dict)}  # fmt: skip
        level = [entry for key, entry in inner.items() if key not in seen]
    return outer


def place_of_encoder(state: dict[str, Tensor], source: str) -> tuple[str, str] | None:
    """Where a MiT is in a state, such as ``module.backbone.``, and its first weight there; see `DIALECTS`.

    None: there is none, or one without a prefix in names that no rule knows.

    Raises:
        UserError: several encoders, of a student and its teacher for example.
    """
    for first in DIALECTS:
        places = [name.removesuffix(first) for name in state if name == first or name.endswith(f".{first}")]
        if len(places) > 1:
            held = ", ".join(place or "(none)" for place in places)
            raise UserError(
                f"{source}: holds several encoders, under {held}: save one of them alone", "weights-ambiguous"
            )
        if places:
            return places[0], first
    return None


def to_mit_names(state: dict[str, Tensor], source: str = "the file") -> dict[str, Tensor]:
    """State of an official MiT, of MMSegmentation, of a Hugging Face SegFormer (transformers 4 or 5), or of this
    project -> names of :class:`MixTransformer`.

    The encoder may be a part of something larger (``backbone.``, ``module.encoder.``): its first weight shows where it
    is, and heads are left out.

    Raises:
        UserError: several encoders, or values that are not finite.
    """
    found = place_of_encoder(state, source)
    if found is None:
        return from_official(state)
    place, first = found
    inside = {name.removeprefix(place): v for name, v in state.items() if name.startswith(place)}
    inside = {name: v for name, v in inside.items() if not name.startswith(_HEADS)}
    require_finite(inside, source, place)
    return DIALECTS[first](inside)


def require_finite(state: dict[str, Tensor], source: str, place: str = "") -> None:
    """UserError names the first tensor, below a place, with values that are not finite."""
    broken = next((name for name, value in state.items() if not bool(value.isfinite().all())), None)
    if broken is not None:
        problem = f"{place}{broken} has values that are not finite"
        raise UserError(f"{source}: {problem}; take an earlier checkpoint", "not-finite")


def widened(weight: Tensor, channels: int) -> Tensor:
    """(C, 3, k, k) -> (C, channels, k, k): the same kernels for every three channels, sum of the response kept."""
    repeats = channels // weight.shape[1]
    return weight.repeat(1, repeats, 1, 1) / repeats


def with_norms_per_modality(encoder: MixTransformer, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same state where every norm is given to all modalities, as far as ``encoder`` has one for each."""
    spread = dict(state)
    for place, norm in encoder.named_modules():
        if isinstance(norm, ModalityNorm) and f"{place}.weight" in state:
            for part in ("weight", "bias"):
                value = spread.pop(f"{place}.{part}")
                spread |= {f"{place}.{modality}.{part}": value for modality in norm}
    return spread


def load_mit(encoder: MixTransformer, state: dict[str, Tensor], source: str) -> None:
    """Load strictly; UserError lists the keys that are missing, unknown or of another shape."""
    state = with_norms_per_modality(encoder, to_mit_names(state, source))
    own = encoder.state_dict()
    if _FIRST in state and state[_FIRST].shape[1] == 3 < own[_FIRST].shape[1]:
        state[_FIRST] = widened(state[_FIRST], own[_FIRST].shape[1])
    missing = [name for name in own if name not in state]
    unknown = [name for name in state if name not in own]
    shapes = [f"{n} {tuple(state[n].shape)} not {tuple(own[n].shape)}" for n in own if n in state and
              state[n].shape != own[n].shape]  # fmt: skip
    problems = [
        f"{title} {len(names)} ({', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''})"
        for title, names in (("missing", missing), ("unknown", unknown), ("of another shape", shapes))
        if names
    ]
    if problems:
        raise UserError(
            f"{source} does not fit the encoder: {'; '.join(problems)}; is it another MiT size?",
            "weights-mismatch",
        )
    encoder.load_state_dict(state, strict=True)


def download_mit(variant: str) -> Path:
    """The file of nvidia/mit-<variant> from the Hugging Face hub, from its local cache if it is there."""
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise UserError(
            "imagenet needs huggingface_hub; pip install it, or give a local file", "package-missing"
        ) from None
    for name in ("model.safetensors", "pytorch_model.bin"):
        try:
            return Path(hf_hub_download(f"nvidia/mit-{variant}", name))
        except OSError as error:  # no network, no such file: all of the hub's errors are OSErrors
            reason = str(error).splitlines()[0]
    raise UserError(
        f"imagenet: nvidia/mit-{variant} cannot be fetched ({reason}); give a local file",
        "weights-unavailable",
    )


def load_encoder_weights(encoder: Any, name: str, source: str) -> None:
    """Fill an encoder with weights of another training.

    Args:
        encoder: made by ``make_encoder(name)``.
        name: mit_b0 ... mit_b5 or timm/<name>.
        source: ``"imagenet"`` (Hugging Face hub: nvidia/mit-b*, or what timm offers), or a local file.

    Raises:
        UserError: no such file, no network, or weights of another model.
    """
    if name.startswith("timm/"):
        encoder.load_pretrained(source)
        return
    try:
        if source == "imagenet":
            variant = name.removeprefix("mit_")
            load_mit(encoder, read_state(download_mit(variant)), f"nvidia/mit-{variant}")
        else:
            load_mit(encoder, read_state(Path(source)), source)
    except UserError as error:
        raise UserError(f"pretrained={error}", error.code) from None
