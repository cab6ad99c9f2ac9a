"""The network: encoder, fusion, head."""

from any2seg_core.models.any2seg import Any2Seg, Encoded, ModelConfig, Prediction

__all__ = ["Any2Seg", "Encoded", "ModelConfig", "Prediction"]
