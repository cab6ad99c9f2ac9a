"""ImageNet weights for the encoder: from a file, or from a hub where there is a network. Nothing is shipped.

NVIDIA's MiT weights are under a non-commercial licence (see the SegFormer repository); the user decides to load them.
"""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from any2seg_core.errors import UserError
from any2seg_core.models.key_maps import from_hugging_face, from_official
from any2seg_core.models.linear import ModalityNorm
from any2seg_core.models.mit import MixTransformer
from any2seg_core.weight_files import innermost_state, load_torch

_FIRST = "stages.0.embed.proj.weight"
_SHOWN = 4


def read_state(path: Path) -> dict[str, Tensor]:
    """Tensors of a ``.safetensors`` or ``.pth`` file; of the latter only tensors and containers are unpickled.

    Raises:
        UserError: missing, damaged, or not a state of tensors.
    """
    if not path.is_file():
        raise UserError(f"pretrained={path}: no such file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = load_torch(path)
    except UserError as error:
        raise UserError(f"pretrained={error}") from None
    except (SafetensorError, OSError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"pretrained={path}: not a file of weights ({reason})") from None
    state = innermost_state(state, ("state_dict", "model"))
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"pretrained={path}: holds no dictionary of tensors")
    return state


def to_mit_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """State of an official MiT, of a Hugging Face SegFormer, or of this project -> names of :class:`MixTransformer`.

    Heads are left out; ``backbone.`` and ``encoder.`` of whole segmentation models are taken off.
    """
    if any("patch_embeddings" in name for name in state):
        encoder = {name: v for name, v in state.items() if not name.startswith(("decode_head.", "classifier."))}
        return from_hugging_face(encoder)
    for prefix in ("backbone.", "encoder."):
        if any(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): v for name, v in state.items() if name.startswith(prefix)}
    return from_official(state)


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
    state = with_norms_per_modality(encoder, to_mit_names(state))
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
        raise UserError(f"pretrained={source} does not fit the encoder: {'; '.join(problems)}; is it another MiT size?")
    encoder.load_state_dict(state, strict=True)


def download_mit(variant: str) -> Path:
    """The file of nvidia/mit-<variant> from the Hugging Face hub, from its local cache if it is there."""
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise UserError("pretrained=imagenet needs huggingface_hub; pip install it, or give a local file") from None
    for name in ("model.safetensors", "pytorch_model.bin"):
        try:
            return Path(hf_hub_download(f"nvidia/mit-{variant}", name))
        except OSError as error:  # no network, no such file: all of the hub's errors are OSErrors
            reason = str(error).splitlines()[0]
    raise UserError(f"pretrained=imagenet: nvidia/mit-{variant} cannot be fetched ({reason}); give a local file")


def load_encoder_weights(encoder: nn.Module, name: str, source: str) -> None:
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
    elif source == "imagenet":
        variant = name.removeprefix("mit_")
        load_mit(encoder, read_state(download_mit(variant)), f"nvidia/mit-{variant}")
    else:
        load_mit(encoder, read_state(Path(source)), source)
