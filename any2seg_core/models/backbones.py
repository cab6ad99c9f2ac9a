"""Encoders by name: ``mit_b0`` ... ``mit_b5``, or any timm backbone with features at strides 4, 8, 16 and 32."""

from __future__ import annotations

import pickle
from functools import partial
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from any2seg_core.base.errors import UserError
from any2seg_core.base.finite import unusable_tensor
from any2seg_core.models.mit import MixTransformer, to_map, to_tokens
from any2seg_core.models.weight_files import reason_of

STRIDES = (4, 8, 16, 32)


def import_timm() -> ModuleType:
    """The module timm; UserError says how to get it."""
    try:
        import timm
    except (ImportError, RuntimeError) as error:  # a torchvision that does not fit torch raises RuntimeError
        reason = str(error).splitlines()[0]
        raise UserError(
            f"encoder timm/...: timm cannot be imported ({reason}); pip install 'any2seg[timm]', with a torchvision "
            "made for the installed torch, or use mit_b0 ... mit_b5",
            "package-missing",
        ) from None
    return timm


class TimmBackbone(nn.Module):
    """Four levels of a timm model, each closed with a LayerNorm over channels as MiT's are.

    Args:
        name: as timm knows it, e.g. ``convnext_tiny``.
        drop_path: stochastic depth rate.
        in_channels: of the images.
        eps: of the closing norms.

    Shapes:
        images (B, 3, H, W) float32 -> four features (B, C_j, H / 2^(j+1), W / 2^(j+1)), j = 1..4.

    Raises:
        UserError: timm is missing, does not know the name, or the model has no four levels at strides 4, 8, 16, 32.
    """

    def __init__(self, name: str, drop_path: float = 0.0, in_channels: int = 3, eps: float = 1e-5) -> None:
        super().__init__()
        timm = import_timm()
        if not timm.is_model(name):
            near = ", ".join(timm.list_models(f"*{name[:6]}*")[:6]) or "see timm.list_models()"
            raise UserError(
                f"encoder timm/{name}: timm {timm.__version__} has no such model; near are {near}", "encoder-unknown"
            )
        options: dict = {"features_only": True, "in_chans": in_channels}
        if drop_path > 0.0:
            options["drop_path_rate"] = drop_path
        try:
            levels = timm.create_model(name, **options).feature_info.reduction()
            if not set(STRIDES) <= set(levels):
                raise UserError(
                    f"encoder timm/{name}: has features at strides {levels}, needed are 4, 8, 16 and 32",
                    "encoder-unsuitable",
                )
            chosen = tuple(max(i for i, stride in enumerate(levels) if stride == wanted) for wanted in STRIDES)
            self.body = timm.create_model(name, out_indices=chosen, **options)
        except (TypeError, RuntimeError, AttributeError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"encoder timm/{name} cannot be built with {options} ({reason}); choose another", "encoder-unsuitable"
            ) from None
        self._name, self._options = name, options | {"out_indices": chosen}
        self.widths: tuple[int, ...] = tuple(self.body.feature_info.channels())
        self._probe(name, in_channels)
        self.norms = nn.ModuleList(nn.LayerNorm(width, eps) for width in self.widths)

    def forward(self, images: Tensor) -> list[Tensor]:
        levels = self.body(images)
        # Norm over channels on tokens; the map that comes back is channels last in memory, like MiT's.
        tokens = [norm(to_tokens(level)) for norm, level in zip(self.norms, levels, strict=True)]  # 4 x (B, N, C)
        return [to_map(token, *level.shape[-2:]) for token, level in zip(tokens, levels, strict=True)]

    def load_pretrained(self, source: str) -> None:
        """Weights that timm offers (``source="imagenet"``, needs a network) or of a local file that timm can read.

        The whole classifier is loaded first, strictly, so that a file of another model is an error.

        Raises:
            UserError: no network, no such file, or weights of another model.
        """
        timm = import_timm()
        origin = {"pretrained_cfg_overlay": {"file": source}} if source != "imagenet" else {}
        if origin and not Path(source).is_file():
            raise UserError(f"pretrained={source}: no such file", "file-missing")
        try:
            timm.create_model(self._name, pretrained=True, in_chans=self._options["in_chans"], **origin)
            body = timm.create_model(self._name, pretrained=True, **origin, **self._options)
        except (RuntimeError, OSError, ValueError, EOFError, pickle.UnpicklingError) as error:
            reason = reason_of(error)
            raise UserError(
                f"pretrained={source} does not give timm/{self._name} its weights ({reason})", "weights-mismatch"
            ) from None
        if problem := unusable_tensor(body.state_dict()):
            raise UserError(f"pretrained={source}: tensor {problem}; take other weights", "not-finite")
        self.body.load_state_dict(body.state_dict(), strict=True)

    @torch.no_grad()
    def _probe(self, name: str, in_channels: int) -> None:
        """One small odd-shaped image tells whether sizes may vary and channels come first."""
        self.body.eval()
        try:
            shapes = [tuple(level.shape) for level in self.body(torch.zeros(1, in_channels, 64, 96))]
        except (AssertionError, RuntimeError, ValueError) as error:
            raise UserError(
                f"encoder timm/{name} does not take images of any size ({error}); choose another", "encoder-unsuitable"
            ) from None
        finally:
            self.body.train()
        expected = [(1, c, 64 // s, 96 // s) for c, s in zip(self.widths, STRIDES, strict=True)]
        if shapes != expected:
            raise UserError(
                f"encoder timm/{name}: gives features {shapes} for 64x96, expected {expected}", "encoder-unsuitable"
            )


def make_encoder(name: str, drop_path: float = 0.0, in_channels: int = 3, eps: float = 1e-5) -> nn.Module:
    """A new encoder with random weights and the attribute ``widths``; UserError for a name that is not known.

    Args:
        eps: of every LayerNorm of a MiT, and of those that close the levels of a timm model.
    """
    kind, _, variant = name.partition("_")
    if kind == "mit":
        return MixTransformer(variant, drop_path, in_channels, partial(nn.LayerNorm, eps=eps))
    if name.startswith("timm/"):
        return TimmBackbone(name.removeprefix("timm/"), drop_path, in_channels, eps)
    raise UserError(
        f"unknown encoder {name!r}: known are mit_b0 ... mit_b5 and timm/<name of a timm model>", "encoder-unknown"
    )
