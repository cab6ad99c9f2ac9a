"""The network: encoder, fusion, head."""

from any2seg_core.models.any2seg import FUSIONS, Any2Seg
from any2seg_core.models.config import FusionName, HeadName, LinearFusionConfig, MFFConfig, MFFEarlyConfig, ModelConfig
from any2seg_core.models.outputs import Encoded, Fused, Prediction

__all__ = [
    "FUSIONS",
    "Any2Seg",
    "Encoded",
    "Fused",
    "FusionName",
    "HeadName",
    "LinearFusionConfig",
    "MFFConfig",
    "MFFEarlyConfig",
    "ModelConfig",
    "Prediction",
]
