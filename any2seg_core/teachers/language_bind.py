"""LanguageBind (Zhu et al., ICLR 2024), the teacher of the Any2Seg paper; its package and weights are the user's."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from any2seg_core.base.errors import UserError
from any2seg_core.teachers.base import Teacher
from any2seg_core.teachers.captions import Caption
from any2seg_core.vocabulary.modalities import SensorSuite
from any2seg_core.vocabulary.sensor import DEPTH

_MEAN, _STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # of CLIP
_SIZE = 224


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


class LanguageBindTeacher(Teacher):
    """Text and image towers of LanguageBind, and its depth tower for depth.

    There is no tower for events or clouds: their planes go through the image tower, as pictures.

    Args:
        image, depth: names on the Hugging Face hub, or folders.
        device: where it runs.

    Raises:
        UserError: the package is missing, does not fit the installed transformers, or weights cannot be loaded.
    """

    def __init__(
        self,
        image: str = "LanguageBind/LanguageBind_Image",
        depth: str = "LanguageBind/LanguageBind_Depth",
        device: str | torch.device = "cpu",
    ) -> None:
        try:
            from languagebind import LanguageBindDepth, LanguageBindImage, LanguageBindImageTokenizer
        except (ImportError, AttributeError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"teacher=languagebind: the package cannot be imported ({reason}); it needs an environment of its own: "
                "pip install 'languagebind[all]' 'transformers<5'. The cache it writes is read without it",
                "package-missing",
            ) from None
        wanted = (("image", LanguageBindImage, image), ("depth", LanguageBindDepth, depth))
        try:
            self._tokenizer = LanguageBindImageTokenizer.from_pretrained(image)
            towers = {name: tower.from_pretrained(source) for name, tower, source in wanted}
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"teacher=languagebind: no weights at {image} and {depth} ({reason})", "weights-unavailable"
            ) from None
        for tower in towers.values():
            for part in (tower.config.text_config, tower.config.vision_config):
                part._attn_implementation = "eager"  # later 4.x versions of transformers leave it unset in nested parts
        self._towers = {name: tower.to(device).eval() for name, tower in towers.items()}
        self._device = device
        self.name = f"languagebind:{image},{depth}"

    @torch.inference_mode()
    def embed_texts(self, sentences: Sequence[str]) -> np.ndarray:
        tokens = self._tokenizer(
            list(sentences), max_length=77, padding="max_length", truncation=True, return_tensors="pt"
        ).to(self._device)
        features = self._towers["image"].get_text_features(tokens["input_ids"], tokens["attention_mask"])  # (N, D)
        return F.normalize(features.float(), dim=1).cpu().numpy()

    @torch.inference_mode()
    def embed_modalities(self, planes: dict[str, np.ndarray], caption: Caption, suite: SensorSuite) -> np.ndarray:
        rows = []
        for name, plane in planes.items():
            is_depth = suite.sensor(name).kind == DEPTH
            tower = self._towers["depth" if is_depth else "image"]
            pixels = clip_input(relative_depth(plane) if is_depth else plane)[None].to(self._device)
            rows.append(F.normalize(tower.get_image_features(pixels).float(), dim=1))  # (1, D)
        return torch.cat(rows).cpu().numpy()
