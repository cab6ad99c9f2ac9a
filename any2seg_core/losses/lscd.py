"""Language-guided semantic correlation distillation (LSCD) of Any2Seg (Zheng et al., ECCV 2024), section 3.2.

Both terms compare small matrices of cosines, so features and teacher embeddings need not have the same width. The
paper writes KL(student matrix, teacher matrix) and leaves the rest open; here rows of cosines, over a temperature, pass
a softmax, and the divergence is KL(teacher || student), the teacher being a constant, as ``torch.nn.KLDivLoss``
reads its two arguments. It is averaged over distributions (rows), never over their entries. Cosines lie in -1..1:
temperature 1 makes an almost flat target, 0.1 a peaked one. Where several processes share a batch, ``total`` sums
over them, and both terms are means over all of it.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from any2seg_core.losses.pooling import masked_average_pooling
from any2seg_core.losses.whole_batch import Total, alone, whole_mean

_NEVER = -1e30  # a score whose softmax is exactly 0, and finite, so that 0 * log 0 is 0 and not NaN


def row_divergence(student: Tensor, teacher: Tensor, mask: Tensor, temperature: float) -> Tensor:
    """KL(softmax(teacher / T) || softmax(student / T)) of each row, over the entries of the mask.

    Args:
        student, teacher: (..., N) float32 scores; no gradient flows to the teacher.
        mask: (..., N) bool, which entries take part; a row without any gives 0.
        temperature: T > 0.

    Returns:
        (...,) float32, >= 0.
    """
    log_student = F.log_softmax((student / temperature).masked_fill(~mask, _NEVER), dim=-1)
    log_teacher = F.log_softmax((teacher.detach() / temperature).masked_fill(~mask, _NEVER), dim=-1)
    return (log_teacher.exp() * (log_teacher - log_student)).masked_fill(~mask, 0.0).sum(dim=-1)


def _mean_over(values: Tensor, chosen: Tensor, total: Total) -> Tensor:
    """Mean of the chosen values (B,) over the batch of all processes."""
    return whole_mean((values * chosen).sum(), chosen.sum(), total)


class ModalityCorrelationLoss(nn.Module):
    """L_cr, Eq. 1-3: how near each modality is to the fused feature, taught by how near its image is to the scene text.

    A sample with fewer than two present modalities has nothing to compare and is left out.

    Shapes:
        features (B, M, C, h, w), fused f_ma (B, C, h, w), present (B, M) bool, teacher's modality embeddings
        E_m (B, M, D) and scene embeddings E_S (B, D) -> scalar float32.
    """

    def __init__(self, temperature: float = 1.0, total: Total = alone) -> None:
        super().__init__()
        self.temperature = temperature
        self.total = total

    def forward(self, features: Tensor, fused: Tensor, present: Tensor, modality: Tensor, scene: Tensor) -> Tensor:
        student = F.cosine_similarity(features.float().flatten(2), fused.float().flatten(1)[:, None], dim=2)  # (B, M)
        teacher = F.cosine_similarity(modality.float(), scene.float()[:, None], dim=2)  # (B, M)
        divergence = row_divergence(student, teacher, present, self.temperature)  # (B,)
        return _mean_over(divergence, present.sum(dim=1) >= 2, self.total)


class ClassGeometryLoss(nn.Module):
    """L_se, Eq. 4-5: the cosines between class prototypes of an image, taught by those between class-name embeddings.

    Only the classes present in the labels of an image take part, as rows and as columns; an image with fewer than two
    is left out. Every row has one vote within its image and every image one in the batch.

    Shapes:
        fused f_ma (B, C, h, w), labels (B, H, W) with 254 unlabelled and 255 ignored, class-name embeddings E_C (K, D)
        -> scalar float32.
    """

    def __init__(self, temperature: float = 1.0, total: Total = alone) -> None:
        super().__init__()
        self.temperature = temperature
        self.total = total

    def forward(self, fused: Tensor, labels: Tensor, class_names: Tensor) -> Tensor:
        prototypes, present = masked_average_pooling(fused, labels, len(class_names))  # (B, K, C), (B, K)
        unit = F.normalize(prototypes, dim=2)
        student = unit @ unit.transpose(1, 2)  # (B, K, K)
        names = F.normalize(class_names.float(), dim=1)
        teacher = (names @ names.T).expand_as(student)  # (B, K, K)
        pairs = present[:, :, None] & present[:, None, :]
        rows = row_divergence(student, teacher, pairs, self.temperature)  # (B, K)
        count = present.sum(dim=1)  # (B,), K' of the paper
        return _mean_over(rows.sum(dim=1) / count.clamp_min(1), count >= 2, self.total)
