"""Everything that fixes the parameters of a model, and what its parameters mean."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from any2seg_core.vocabulary.contract import SensorScales
from any2seg_core.vocabulary.modalities import VEHICLE

_LEAST_TEMPERATURE = 1e-3  # below it the softmax of cosines is a choice of one, and float32 has no room

FusionName = Literal["mff", "mff_early", "mff_gated", "mean_predictions", "early_concat", "linear"]
HeadName = Literal["mlp", "mlp_relu"]


class MFFConfig(BaseModel):
    """Switches of MFF: the ablation of the paper's Table 6, two points that it leaves open, and one that it lacks.

    Attributes:
        reweight: f_mb is the mean of w_m * f_m; otherwise the mean of f_m.
        select: f_ms takes each location from the modality most like f_mb; otherwise f_ms is the mean of f_m.
        select_temperature: 0: the one modality that is most like f_mb, as in the paper. Above: f_ms is a mean of all of
            them, whose weights at a location are a softmax of the cosines divided by this temperature. Where three
            sensors vote, the paper's choice makes a further sensor hurt (docs/methods.md).
        residual: f_ma = f_mb + f_ms; otherwise f_ms alone (select) or f_mb alone.
        weight: w_m is one number per sample ("global", as the paper's notation has it) or one per location ("spatial").
        unit_scale: weights pass a softmax over the present modalities and the residual sum is halved. Then f_ma is a
            mean of features however many there are, and f itself for one modality, where the paper's sum gives 2f.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    reweight: bool = True
    select: bool = True
    select_temperature: float = Field(0.0, ge=0, le=100, allow_inf_nan=False)
    residual: bool = True
    weight: Literal["global", "spatial"] = "global"
    unit_scale: bool = False

    @model_validator(mode="after")
    def _selection_has_a_temperature(self) -> MFFConfig:
        if self.select_temperature and not self.select:
            raise ValueError("select_temperature has no effect with select=false: leave one of them out")
        if 0 < self.select_temperature < _LEAST_TEMPERATURE:
            raise ValueError(f"select_temperature={self.select_temperature}: give 0 or at least {_LEAST_TEMPERATURE}")
        return self


class MFFEarlyConfig(BaseModel):
    """Switches of early MFF.

    Attributes:
        scale: per modality, of its image's sides against the model's input: 1, as for those that are not named, or 0.5.
            At half the sides its part of the encoder costs a quarter.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    scale: SensorScales = {}


class LinearFusionConfig(BaseModel):
    """Switches of Linear Fusion.

    Attributes:
        alpha: what a stream keeps of its own tokens where it is mixed with others; the paper's Table 6 chose 0.8.
        ensemble: "trainable": weights are a softmax over one trained number per modality, and the loss of the ensemble
            reaches branches and weights (Eq. 6, 7). "fixed": equal weights on branches that are detached, which is what
            the released code computes; there the ensemble's own loss teaches nothing.
        absent: what stands for a modality that a sample does not have. "leave_out": nothing, it has no stream. "token":
            one learned vector in place of each of its tokens after the first patch embedding (section 3.3). "zero":
            an image of zeros after normalisation, as the paper's baselines have it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    alpha: float = Field(0.8, ge=0, le=1)
    ensemble: Literal["trainable", "fixed"] = "trainable"
    absent: Literal["leave_out", "token", "zero"] = "leave_out"


_INSIDE_OF_A_MIT = {"linear": "mixes tokens inside the blocks", "mff_early": "meets between the stages"}


def require_effect(
    fusion: FusionName,
    encoder: str,
    mff: MFFConfig,
    mff_early: MFFEarlyConfig,
    linear: LinearFusionConfig,
    content_masks: bool,
) -> None:
    """ValueError where switches are set for another fusion than the model's, or where the encoder cannot fuse so."""
    if content_masks and fusion in ("early_concat", "linear"):
        raise ValueError(f"content_masks needs features of each modality, which fusion={fusion} lacks: leave it out")
    for name, unset, used_by in (
        ("mff", mff == MFFConfig(), ("mff", "mff_early", "mff_gated")),
        ("mff_early", mff_early == MFFEarlyConfig(), ("mff_early",)),
        ("linear", linear == LinearFusionConfig(), ("linear",)),
    ):
        if fusion not in used_by and not unset:
            raise ValueError(f"settings of {name} have no effect with fusion={fusion}: leave them out")
    if fusion in _INSIDE_OF_A_MIT and not encoder.startswith("mit_"):
        raise ValueError(
            f"fusion={fusion} {_INSIDE_OF_A_MIT[fusion]} of a MiT: {encoder} is none, choose mit_b0 ... mit_b5"
        )


class ModelConfig(BaseModel):
    """Everything that fixes the parameters of a model; stored in its checkpoint.

    Attributes:
        encoder: mit_b0 ... mit_b5 or timm/<name>, shared by all modalities.
        head: ``mlp``: SegFormer's. ``mlp_relu``: MMSegmentation's, which rectifies each level's projection.
        head_width: channels of the fused feature in the head.
        num_classes: K.
        modalities: names, in the order of their suite; any non-empty subset of them can be given.
        fusion: where modalities meet. ``mff``: at the features of all four levels. ``mff_early``: at those of the first
            two, and the rest of the encoder runs once on what is fused. ``mff_gated``: as ``mff``, with a reliability
            of each modality per location from a few trained numbers. ``mean_predictions``: each is segmented alone
            and p = mean_m p_m over the logits (functional entropy, ICCV 2025). ``early_concat``: at the input, all
            modalities as the channels of one image, absent ones zero (the baseline without any sharing). ``linear``:
            inside every block, then at the predictions (M3L, WACV 2024).
        mff: switches of MFF, also where it is early or gated.
        mff_early: switches of early MFF.
        linear: switches of Linear Fusion.
        content_masks: at each location only those modalities are fused that say something there: whose image holds a
            pixel that is not empty, such as a LiDAR point or an event, in this cell of the level or beside it. Where
            none does, all that are present. Not in the papers.
        layer_norm_eps: added to the variance in every LayerNorm of a MiT, and in those that close the levels of a timm
            model. Other programs' MiTs have 1e-6.
        align_corners: how logits are enlarged to the images: False, pixels are squares, as SegFormer does; True, the
            corners' centres stay in place, as M3L does. The head's own enlarging does not depend on it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    encoder: str = "mit_b0"
    head: HeadName = "mlp"
    head_width: int = Field(256, gt=0, le=4096)
    num_classes: int = Field(25, gt=1, lt=65535)
    modalities: tuple[str, ...] = Field(VEHICLE.members, min_length=1)
    fusion: FusionName = "mff"
    mff: MFFConfig = MFFConfig()
    mff_early: MFFEarlyConfig = MFFEarlyConfig()
    linear: LinearFusionConfig = LinearFusionConfig()
    content_masks: bool = False
    layer_norm_eps: float = Field(1e-5, gt=0, le=1e-2)
    align_corners: bool = False

    @field_validator("modalities")
    @classmethod
    def _each_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) < len(names):
            raise ValueError(f"modalities are {names}: give each name once")
        return names

    @model_validator(mode="after")
    def _no_switch_without_effect(self) -> ModelConfig:
        require_effect(self.fusion, self.encoder, self.mff, self.mff_early, self.linear, self.content_masks)
        if unknown := [name for name in self.mff_early.scale if name not in self.modalities]:
            raise ValueError(
                f"mff_early.scale names {', '.join(unknown)}, which is none of {', '.join(self.modalities)}"
            )
        return self
