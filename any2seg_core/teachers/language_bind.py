"""LanguageBind (Zhu et al., ICLR 2024), the teacher of the Any2Seg paper; its package and weights are the user's."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from any2seg_core.base.errors import UserError
from any2seg_core.teachers.base import Teacher
from any2seg_core.teachers.captions import Caption
from any2seg_core.vocabulary.modalities import SensorSuite
from any2seg_core.vocabulary.sensor import DEPTH, THERMAL8, THERMAL16, Sensor

_MEAN, _STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # of CLIP
_SIZE = 224
_PACKAGE = "languagebind"
IMAGE_TOWER, DEPTH_TOWER, THERMAL_TOWER = "Image", "Depth", "Thermal"
_OLD_LORA = {r"^(vision_model\.encoder\.base_model\..*_proj)\.(weight|bias)$": r"\1.base_layer.\2"}
"""Weights of attention as peft named them when LanguageBind was released -> as it names them since version 0.6."""


def clip_input(plane: np.ndarray) -> torch.Tensor:
    """(H, W, 3) uint8 -> (3, 224, 224) float32 as the package's own torchvision transform makes it of an image file.

    Short side resized (bicubic, antialiased), centre cut out, CLIP's normalisation.
    """
    short = min(plane.shape[:2])
    size = tuple(int(_SIZE * side / short) for side in plane.shape[:2])
    image = torch.from_numpy(plane).permute(2, 0, 1)[None].float() / 255.0  # (B, C, H, W)
    image = F.interpolate(image, size, mode="bicubic", align_corners=False, antialias=True)[0]
    top, left = (round((side - _SIZE) / 2.0) for side in size)
    image = image[:, top : top + _SIZE, left : left + _SIZE]
    return (image - torch.tensor(_MEAN)[:, None, None]) / torch.tensor(_STD)[:, None, None]


def relative_depth(plane: np.ndarray) -> np.ndarray:
    """Depth plane, channel 0 = inverse depth -> (H, W, 3) uint8 that grows with depth, as LanguageBind wants it."""
    return cv2.merge([255 - plane[:, :, 0]] * 3)


def tower_of(sensor: Sensor) -> str:
    """Which tower sees a sensor; there is none for events or clouds, whose planes go through the image tower."""
    if sensor.kind == DEPTH:
        return DEPTH_TOWER
    return THERMAL_TOWER if sensor.format in (THERMAL8, THERMAL16) else IMAGE_TOWER


def _from_package(tower: str, part: str) -> Any:
    """One class of the package, such as ``LanguageBindDepth`` or ``LanguageBindImageTokenizer``, and no other part.

    The package's own `__init__` imports the towers for video and sound too, and with them torchvision, torchaudio,
    decord and pytorchvideo, which have to fit the installed torch and which nothing here needs.
    """
    if _PACKAGE not in sys.modules:
        spec = find_spec(_PACKAGE)
        if spec is None or spec.submodule_search_locations is None:
            raise ImportError(f"No module named {_PACKAGE!r}")
        package = ModuleType(_PACKAGE)
        package.__path__ = list(spec.submodule_search_locations)
        sys.modules[_PACKAGE] = package
    name = tower.lower()
    module = importlib.import_module(f"{_PACKAGE}.{name}.{part}_{name}")
    suffix = "" if part == "modeling" else part.removesuffix("ation").title() + "er"
    return getattr(module, f"LanguageBind{tower}{suffix}")


def _require_package() -> None:
    """UserError where the towers cannot be imported, or would be wrong."""
    reason = ""
    try:
        import transformers

        if int(transformers.__version__.split(".")[0]) >= 5:  # there, positions that are no weights are left to chance
            reason = f"transformers {transformers.__version__} loads its towers wrongly"
        else:
            _from_package(IMAGE_TOWER, "modeling")
    except (ImportError, AttributeError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
    if reason:
        raise UserError(
            f"teacher=languagebind: the package cannot be used ({reason}); it needs an environment of its own: "
            "pip install languagebind 'transformers>=4.52,<5'. The cache it writes is read without it",
            "package-missing",
        )


def _load_tower(tower: str, source: str) -> Any:
    """One tower, whole; UserError where some of its weights are missing."""
    kind = _from_package(tower, "modeling")
    model, told = kind.from_pretrained(source, key_mapping=_OLD_LORA, output_loading_info=True)
    missing = sorted(key for key in told["missing_keys"] if not key.endswith("position_ids"))
    if missing:
        raise UserError(
            f"teacher=languagebind: {source} lacks {len(missing)} weights of {kind.__name__}, the first is "
            f"{missing[0]}; give the folder of that tower, whole",
            "weights-mismatch",
        )
    for part in (model.config.text_config, model.config.vision_config):
        part._attn_implementation = "eager"  # later 4.x versions of transformers leave it unset in nested parts
    return model.eval().requires_grad_(False)


class LanguageBindTeacher(Teacher):
    """Text and image towers of LanguageBind, its depth tower for depth and its thermal tower for thermal images.

    Args:
        towers: which of them are needed, as `tower_of` says; the image tower, which has the texts, always is.
        folder: holds ``LanguageBind_Image`` and the like, as they are on the Hugging Face hub; None: from there.
        device: where it runs.

    Raises:
        UserError: the package is missing or does not fit the installed transformers, or weights cannot be loaded or are
            not those of the tower.
    """

    def __init__(
        self,
        towers: Sequence[str] = (IMAGE_TOWER, DEPTH_TOWER),
        folder: Path | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        _require_package()
        names = dict.fromkeys((IMAGE_TOWER, *towers))
        self._towers: dict[str, Any] = {}
        for tower in names:
            source = f"LanguageBind/LanguageBind_{tower}" if folder is None else str(folder / f"LanguageBind_{tower}")
            if folder is not None and not Path(source).is_dir():
                raise UserError(
                    f"teacher=languagebind: no folder {source}; encoder=FOLDER holds LanguageBind_Image and the others "
                    "as they are on the hub",
                    "weights-unavailable",
                )
            try:
                if tower == IMAGE_TOWER:
                    self._tokenizer = _from_package(tower, "tokenization").from_pretrained(source)
                self._towers[tower] = _load_tower(tower, source).to(device)
            except (ImportError, OSError, ValueError, TypeError, RuntimeError) as error:
                if isinstance(error, UserError):
                    raise
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                raise UserError(
                    f"teacher=languagebind: no weights of the {tower} tower at {source} ({reason}); give the folder of "
                    "LanguageBind_Image and the others as encoder=FOLDER",
                    "weights-unavailable",
                ) from None
        self._device = device
        self.name = f"languagebind:{'hub' if folder is None else folder.name}:{','.join(names)}"

    @torch.inference_mode()
    def embed_texts(self, sentences: Sequence[str]) -> np.ndarray:
        tokens = self._tokenizer(
            list(sentences), max_length=77, padding="max_length", truncation=True, return_tensors="pt"
        ).to(self._device)
        tower = self._towers[IMAGE_TOWER]
        features = tower.get_text_features(tokens["input_ids"], tokens["attention_mask"])  # (N, D)
        return F.normalize(features.float(), dim=1).cpu().numpy()

    @torch.inference_mode()
    def embed_modalities(self, planes: dict[str, np.ndarray], caption: Caption, suite: SensorSuite) -> np.ndarray:
        rows = []
        for name, plane in planes.items():
            tower = tower_of(suite.sensor(name))
            pixels = clip_input(relative_depth(plane) if tower == DEPTH_TOWER else plane)[None].to(self._device)
            rows.append(F.normalize(self._towers[tower].get_image_features(pixels).float(), dim=1))  # (1, D)
        return torch.cat(rows).cpu().numpy()
