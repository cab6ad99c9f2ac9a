"""LanguageBind (Zhu et al., ICLR 2024), the teacher of the Any2Seg paper; its package and weights are the user's."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from any2seg_core.errors import UserError
from any2seg_core.teachers.base import Teacher
from any2seg_core.teachers.captions import Caption

_MEAN, _STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # of CLIP
_SIZE = 224


def clip_input(plane: np.ndarray) -> torch.Tensor:
    """(H, W, 3) uint8 -> (3, 224, 224) float32: short side resized (bicubic), centre cut out, CLIP's normalisation."""
    height, width = plane.shape[:2]
    scale = _SIZE / min(height, width)
    size = (max(_SIZE, round(width * scale)), max(_SIZE, round(height * scale)))
    image = np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BICUBIC), np.float32) / 255.0
    top, left = (image.shape[0] - _SIZE) // 2, (image.shape[1] - _SIZE) // 2
    image = image[top : top + _SIZE, left : left + _SIZE]
    return torch.from_numpy((image - np.float32(_MEAN)) / np.float32(_STD)).permute(2, 0, 1)  # (C, H, W)


def relative_depth(plane: np.ndarray) -> np.ndarray:
    """Depth plane, channel 0 = inverse depth -> (H, W, 3) uint8 that grows with depth, as LanguageBind wants it."""
    return cv2.merge([255 - plane[:, :, 0]] * 3)


class LanguageBindTeacher(Teacher):
    """Text and image towers of LanguageBind, and its depth tower for depth.

    There is no tower for events or LiDAR: their planes go through the image tower, as pictures.

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
                "pip install 'languagebind[all]' 'transformers<5'. The cache it writes is read without it"
            ) from None
        try:
            self._tokenizer = LanguageBindImageTokenizer.from_pretrained(image)
            self._towers = {
                "image": LanguageBindImage.from_pretrained(image).to(device).eval(),
                "depth": LanguageBindDepth.from_pretrained(depth).to(device).eval(),
            }
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"teacher=languagebind: no weights at {image} and {depth} ({reason})") from None
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
    def embed_modalities(self, planes: dict[str, np.ndarray], caption: Caption) -> np.ndarray:
        rows = []
        for name, plane in planes.items():
            tower = self._towers["depth" if name == "depth" else "image"]
            pixels = clip_input(relative_depth(plane) if name == "depth" else plane)[None].to(self._device)
            rows.append(F.normalize(tower.get_image_features(pixels).float(), dim=1))  # (1, D)
        return torch.cat(rows).cpu().numpy()
