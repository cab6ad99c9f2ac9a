"""Scene descriptions by an image-to-text model of transformers, from the camera's picture alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from any2seg_core.base.errors import UserError

_PROMPT = "Describe this street scene in one sentence."
_LONGEST = 60  # tokens


class _ImagesAndWords:
    """What older models save in place of a processor: one for images and a tokenizer."""

    chat_template = None

    def __init__(self, images: Any, words: Any) -> None:
        self._images, self.batch_decode = images, words.batch_decode

    def __call__(self, images: Image.Image, return_tensors: str) -> Any:
        return self._images(images=images, return_tensors=return_tensors)


def _processor(folder: Path) -> Any:
    from transformers import AutoImageProcessor, AutoProcessor, AutoTokenizer

    found = AutoProcessor.from_pretrained(folder, local_files_only=True)
    if hasattr(found, "image_processor"):
        return found
    parts = (kind.from_pretrained(folder, local_files_only=True) for kind in (AutoImageProcessor, AutoTokenizer))
    return _ImagesAndWords(*parts)


class Captioner:
    """Describes camera images in one sentence, the same for the same image: the likeliest token each time.

    Any model of transformers' auto class for image-text-to-text (BLIP, GIT, LLaVA, Qwen-VL, ...). One that talks, with
    a chat template, is asked; the others caption without being asked.

    Args:
        folder: model and processor as transformers saves them.
        device: where it runs.

    Attributes:
        name: of the model, as a cache of embeddings tells it.

    Raises:
        UserError: transformers is missing, or the folder holds no such model.
    """

    def __init__(self, folder: Path, device: str | torch.device = "cpu") -> None:
        try:
            from transformers import AutoModelForImageTextToText
        except ImportError as error:
            raise UserError(
                f"captioner={folder}: {error.name} cannot be imported; pip install 'any2seg[teacher]'",
                "package-missing",
            ) from None
        try:
            self._processor = _processor(folder)
            model: Any = AutoModelForImageTextToText.from_pretrained(
                folder, local_files_only=True, use_safetensors=True
            )
        except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(
                f"captioner={folder}: no image-to-text model that transformers can load ({reason})",
                "weights-unavailable",
            ) from None
        self._model: Any = model.to(device).eval()
        self._device = device
        self.name = f"{folder.resolve().name} ({model.config.model_type})"

    @torch.inference_mode()
    def describe(self, image: np.ndarray) -> str:
        """(H, W, 3) uint8 RGB -> one sentence; UserError where the model says nothing."""
        inputs = self._inputs(Image.fromarray(image)).to(self._device)
        tokens = self._model.generate(**inputs, max_new_tokens=_LONGEST, do_sample=False)  # (1, T)
        asked = inputs["input_ids"].shape[1] if "input_ids" in inputs and not self._is_encoder_decoder else 0
        text = " ".join(self._processor.batch_decode(tokens[:, asked:], skip_special_tokens=True)[0].split())
        if not text:
            raise UserError(f"captioner: {self.name} says nothing about an image; choose another model", "file-content")
        return text

    @property
    def _is_encoder_decoder(self) -> bool:
        return bool(getattr(self._model.config, "is_encoder_decoder", False))

    def _inputs(self, image: Image.Image) -> Any:
        if getattr(self._processor, "chat_template", None) is None:
            return self._processor(images=image, return_tensors="pt")
        asked = [{"type": "image", "image": image}, {"type": "text", "text": _PROMPT}]
        return self._processor.apply_chat_template(
            [{"role": "user", "content": asked}],
            add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt",
        )  # fmt: skip
