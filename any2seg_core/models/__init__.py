"""The network: encoder, fusion, head."""

from any2seg_core.models.any2seg import Any2Seg, Encoded, FusionName, ModelConfig, Prediction
from any2seg_core.models.fusion import MFFConfig
from any2seg_core.models.linear import LinearFusionConfig

__all__ = ["Any2Seg", "Encoded", "FusionName", "LinearFusionConfig", "MFFConfig", "ModelConfig", "Prediction"]
