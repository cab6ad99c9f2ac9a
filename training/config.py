"""Training configuration: declared here once <- YAML <- key=value on the command line. Unknown keys are errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from any2seg_core.data.kinds import Kind
from any2seg_core.faults.planes import DegradationConfig
from any2seg_core.losses.functional_entropy import FisherConfig
from any2seg_core.losses.gaussian_mixture import GaussianMixtureConfig
from any2seg_core.losses.subsets import MonotoneConfig, SelfDistillationConfig, SubsetSupervisionConfig
from any2seg_core.models import FUSIONS, FusionName, HeadName, LinearFusionConfig, MFFConfig, MFFEarlyConfig
from any2seg_core.models.config import require_effect
from any2seg_core.runtime.checkpoint import StoredWeights
from any2seg_core.vocabulary.contract import require_scalable
from any2seg_core.vocabulary.modalities import SensorSuite, sensor_suite
from any2seg_core.vocabulary.subsets import AUTO_SUBSETS, SUBSETS_HELP, parse_suite, settled_subset
from any2seg_training.data_config import DataConfig, M3LConfig
from any2seg_training.distil_config import DistilConfig, require_teachable
from any2seg_training.settings import load_settings


class _Needs(NamedTuple):
    """Settings that do nothing unless another one says so; ``otherwise`` is the rest of the error message."""

    settings: tuple[str, ...]
    are_used: Callable[[TrainConfig], object]
    otherwise: str


# Not here: agmm without agmm.weight, and compile_fusion without MFF, which switch off what a recipe has set.
_NEEDS = (
    _Needs(
        ("data.unlabelled", "unlabelled_batch_size", "m3l"),
        lambda config: config.method != "supervised",
        "method=supervised: choose m3l, mean_teacher or distil",
    ),
    _Needs(("m3l",), lambda config: config.method != "distil", "method=distil: it has settings of its own"),
    _Needs(("data.labels",), lambda config: config.method == "distil", "another method: choose method=distil"),
    _Needs(("freeze_norm",), lambda config: config.init, "new weights: set init"),
    _Needs(("distil",), lambda config: config.method == "distil", "another method: choose method=distil"),
    _Needs(
        ("m3l.masking", "m3l.labels"),
        lambda config: config.method != "mean_teacher",
        "method=mean_teacher: it masks nothing",
    ),
    _Needs(
        ("teacher", "lscd_temperature", "lscd_level"),
        lambda config: config.lambda_cr or config.lambda_se,
        "lambda_cr=0 and lambda_se=0: set one of them",
    ),
    _Needs(
        ("fisher",),
        lambda config: config.lambda_p or config.lambda_f,
        "lambda_p=0 and lambda_f=0: set one of them",
    ),
    _Needs(("ohem_threshold",), lambda config: config.loss == "ohem", "loss=ce: choose ohem"),
    _Needs(
        ("class_weight_limit",),
        lambda config: config.class_weight_power,
        "class_weight_power=0: all classes weigh the same",
    ),
    _Needs(
        ("dropout_warmup_steps",),
        lambda config: config.modality_dropout != 1.0,
        "modality_dropout=1: nothing is dropped",
    ),
    _Needs(
        ("subset_supervision", "self_distillation", "monotone"),
        lambda config: config.subset_supervision.count,
        "subset_supervision.count=0: give a count",
    ),
    _Needs(
        ("self_distillation",),
        lambda config: config.self_distillation.weight,
        "self_distillation.weight=0: set it",
    ),
    _Needs(("monotone",), lambda config: config.monotone.weight, "monotone.weight=0: set it"),
    _Needs(
        ("degradation",),
        lambda config: config.degradation.probability,
        "degradation.probability=0: no sample has a fault",
    ),
    _Needs(("jitter_strength",), lambda config: config.jitter_probability, "jitter_probability=0: nothing is jittered"),
)


class TrainConfig(BaseModel):
    """All that decides a training run. Sizes in pixels, times in the unit of the name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # Data
    data: DataConfig = Field(description="a path stands for data.root")
    dataset: Kind = Field("auto", description="auto: look into the folder")
    out: Path = Field(description="folder for checkpoints, training state and log")
    suite: str | None = Field(
        None, description="the sensors that there can be, where a data set lets one choose: name or YAML file"
    )
    modalities: str | tuple[str, ...] | None = Field(
        None, description="which to train on: camera+lidar, RL, all; default: all of the data set"
    )
    cases: tuple[str, ...] | None = Field(None, description="keep only these conditions or failures")
    cache: Literal["none", "ram", "disk"] = Field("ram", description="ram: all decoded; disk: computed planes")
    skip_corrupt: bool = Field(False, description="leave frames with an unreadable file out, log and count them")
    source: Literal["raw", "projected"] | None = Field(None, description="see DeliverDataset and MusesDataset")
    parity: Literal["hkust"] | None = Field(None, description="MUSES: the published loader's defects, to compare")
    workers: int = Field(1, ge=0, description="processes that augment; 0 = in the training process")

    # Model
    encoder: str = Field("mit_b0", description="mit_b0 ... mit_b5 or timm/<name>")
    pretrained: str | None = Field(None, description="encoder weights: a file, or imagenet (needs a network)")
    fusion: FusionName = "mff"
    mff: MFFConfig = Field(MFFConfig(), description="switches of MFF, also early or gated, e.g. mff={select: false}")
    mff_early: MFFEarlyConfig = Field(
        MFFEarlyConfig(), description="of early MFF, e.g. mff_early={scale: {lidar: 0.5}}: its image at half the sides"
    )
    linear: LinearFusionConfig = Field(LinearFusionConfig(), description="of Linear Fusion, e.g. linear={alpha: 0.6}")
    head: HeadName = Field("mlp", description="mlp_relu for weights of MMSegmentation")
    content_masks: bool = Field(False, description="fuse at each location only what says something there")
    head_width: int = Field(256, gt=0)
    layer_norm_eps: float = Field(1e-5, gt=0, le=1e-2, description="of the encoder's norms; 1e-6 in released MiTs")
    align_corners: bool = Field(False, description="how logits are enlarged; true in M3L's released code")
    drop_path: float = Field(0.1, ge=0, lt=1)
    init: Path | None = Field(None, description="checkpoint whose weights to start from")
    freeze_norm: bool = Field(False, description="BatchNorm keeps the statistics that init has")
    height: int = Field(256, gt=0, multiple_of=32, description="input size of the finished model")
    width: int = Field(256, gt=0, multiple_of=32)

    # Augmentation
    fit: bool = Field(False, description="frames get height x width first, as the finished model is fed")
    crop_height: int = Field(192, gt=0, multiple_of=32)
    crop_width: int = Field(192, gt=0, multiple_of=32)
    scale: tuple[float, float] = (0.5, 2.0)
    flip_probability: float = Field(0.5, ge=0, le=1)
    jitter_probability: float = Field(0.2, ge=0, le=1)
    jitter_strength: float = Field(0.4, ge=0, lt=1)
    blur_probability: float = Field(0.2, ge=0, le=1)

    # Planted faults, per sample, before the augmentation
    degradation: DegradationConfig = Field(
        DegradationConfig(), description="faults of single sensors: degradation.probability=0.3"
    )

    # Modality dropout, per sample
    modality_dropout: Literal["uniform_subsets"] | float | dict[str, float] = Field(
        0.4, description="'uniform_subsets', probability of the full set, or weights by subset"
    )
    dropout_warmup_steps: int = Field(0, ge=0, description="dropout grows linearly over these steps")

    # Subsets of each sample from one encoding
    subset_supervision: SubsetSupervisionConfig = Field(
        SubsetSupervisionConfig(), description="loss on N subsets of what a sample shows: subset_supervision.count=2"
    )
    self_distillation: SelfDistillationConfig = Field(
        SelfDistillationConfig(), description="what a sample shows teaches its subsets: self_distillation.weight=1"
    )
    monotone: MonotoneConfig = Field(
        MonotoneConfig(), description="hinge on pixels that a further sensor makes worse: monotone.weight=1"
    )

    # Few labels
    method: Literal["supervised", "mean_teacher", "m3l", "distil"] = "supervised"
    m3l: M3LConfig = Field(M3LConfig(), description="of m3l; mean_teacher takes lambda_u, warmup_steps and decay")
    distil: DistilConfig = Field(DistilConfig(), description="frozen teachers: distil.teachers=camera.safetensors")
    unlabelled_batch_size: int | None = Field(None, gt=0, description="per process; default: batch_size")

    # Loss
    loss: Literal["ce", "ohem"] = "ce"
    ohem_threshold: float = Field(0.7, gt=0, lt=1)
    class_weight_power: float = Field(0.0, ge=0, le=1, description="weights ~ frequency ** -power, mean 1 over pixels")
    class_weight_limit: float = Field(10.0, ge=1, description="largest ratio of a class weight to the smallest")
    teacher: Path | None = Field(None, description="folder of embeddings, see training/cache_teacher.py")
    lambda_cr: float = Field(0.0, ge=0, description="weight of L_cr, modality correlation; paper 1")
    lambda_se: float = Field(0.0, ge=0, description="weight of L_se, class geometry; paper 1")
    lscd_temperature: float = Field(1.0, gt=0, description="of both; cosines over 1 are almost flat, 0.1 is peaked")
    lscd_level: int = Field(4, ge=1, le=4, description="feature level whose f_ma is taught, 4 = coarsest")
    lambda_p: float = Field(0.0, ge=0, description="weight of R_p, functional entropy of predictions; paper 0.3")
    lambda_f: float = Field(0.0, ge=0, description="weight of R_f, functional entropy of features; paper 0.02")
    fisher: FisherConfig = Field(FisherConfig(), description="estimator of R_p and R_f, e.g. fisher={wrt: input}")
    agmm: GaussianMixtureConfig = Field(GaussianMixtureConfig(), description="AGMM for sparse labels: agmm.weight=1")

    # Optimisation
    batch_size: int = Field(8, gt=0, description="per process, encoded at once")
    accumulate: int = Field(1, gt=0, description="batches whose gradients are averaged into one step")
    steps: int = Field(20_000, gt=0)
    max_minutes: float | None = Field(None, gt=0, description="stop and evaluate after this time; the schedule follows")
    max_processor_minutes: float | None = Field(
        None, gt=0, description="the same in time on processors, which others on the machine do not take away"
    )
    lr: float = Field(6e-4, gt=0)
    weight_decay: float = Field(0.01, ge=0, description="on tensors of two or more dimensions")
    warmup_steps: int = Field(300, ge=0)
    poly_power: float = Field(0.9, gt=0)
    clip_norm: float = Field(1.0, gt=0)
    ema_decay: float = Field(0.999, ge=0, lt=1, description="0 = no moving average")

    # Machine
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int | None = Field(None, gt=0, description="CPU threads of the training process")
    bf16: bool = Field(False, description="forward in bfloat16, losses and weights in float32")
    fp16: bool = Field(False, description="forward in float16 with a scaled loss, for GPUs without bfloat16")
    sync_batch_norm: bool = Field(False, description="BatchNorm over all processes; N processes equal one")
    compile_fusion: bool = Field(
        False, description="compile MFF, if it is the fusion: a third of a step on a CPU; needs C++"
    )

    # Bookkeeping
    seed: int = Field(3407, ge=0)
    resume: bool = Field(False, description="go on from <out>/last.pt")
    tensorboard: bool = Field(False, description="also log to <out>/tensorboard; needs the extra tensorboard")
    weights: StoredWeights = Field(
        "float32", description="how final.safetensors stores them; float16 takes half the space and is read as float32"
    )
    log_every: int = Field(20, gt=0)
    save_every: int = Field(500, gt=0, description="steps between training states")
    eval_every: int = Field(2000, gt=0)
    eval_subsets: str = Field(AUTO_SUBSETS, description=f"of all evaluations: {SUBSETS_HELP}")
    eval_frames: int = Field(60, gt=0, description="val frames, evenly spread, for the evaluations on the way")
    final_frames: int | None = Field(None, gt=0, description="of the last evaluation; default: all")

    @property
    def chosen_suite(self) -> SensorSuite | None:
        """The sensors of ``suite``; None: those of the data set."""
        return None if self.suite is None else sensor_suite(self.suite)

    def data_options(self, kind: str) -> dict[str, Any]:
        """Options of a data set of that kind (`FrameDataset.options`), as far as they are set."""
        given = {name: getattr(self, name) for name in ("source", "parity") if getattr(self, name)}
        return given | self.data.options(kind)

    @field_validator("suite")
    @classmethod
    def _readable_suite(cls, suite: str | None) -> str | None:
        if suite is not None:
            sensor_suite(suite)
        return suite

    @field_validator("modalities")
    @classmethod
    def _known_modalities(
        cls, sensors: str | tuple[str, ...] | None, info: ValidationInfo
    ) -> str | tuple[str, ...] | None:
        """Names where no data set is needed to say so; letters are those of the data set, which reads them."""
        if sensors is None:
            return None
        if not sensors:
            raise ValueError("name at least one modality")
        suite = info.data.get("suite")
        return settled_subset(sensors) if suite is None else parse_suite(sensors, sensor_suite(suite))

    @model_validator(mode="after")
    def _consistent(self) -> TrainConfig:
        if self.bf16 and self.fp16:
            raise ValueError("bf16 and fp16 exclude each other: choose bf16 where the GPU has it")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"scale must be 0 < smallest <= largest, got {self.scale}")
        return self

    @model_validator(mode="after")
    def _every_setting_has_an_effect(self) -> TrainConfig:
        for needs in _NEEDS:
            for name in () if needs.are_used(self) else needs.settings:
                *groups, own = name.split(".")
                group = reduce(getattr, groups, self)
                if getattr(group, own) != type(group).model_fields[own].default:
                    raise ValueError(f"{name} has no effect with {needs.otherwise}")
        return self

    @model_validator(mode="after")
    def _subsets_have_what_they_need(self) -> TrainConfig:
        subsets = self.subset_supervision
        if not subsets.count:
            return self
        if not FUSIONS[self.fusion].encodes_alone:
            raise ValueError(
                f"subset_supervision decodes subsets of one encoding; fusion={self.fusion} encodes the sensors of a "
                "subset together: choose mff or mean_predictions"
            )
        if self.method == "m3l":
            raise ValueError("subset_supervision is m3l from one encoding: choose method=mean_teacher with it")
        if self.data.sparse is not None and not subsets.enlarge:
            raise ValueError("subset_supervision.enlarge=false leaves one sparse label in 16: set it true")
        if self.monotone.weight and subsets.count < 2:
            raise ValueError("monotone compares two subsets of a sample: set subset_supervision.count=2 or more")
        return self

    @model_validator(mode="after")
    def _teachers_can_teach(self) -> TrainConfig:
        if self.method == "distil":
            require_teachable(self.distil, self.fusion)
        return self

    @model_validator(mode="after")
    def _terms_have_what_they_need(self) -> TrainConfig:
        if self.lambda_cr or self.lambda_se:
            if self.teacher is None:
                raise ValueError("lambda_cr and lambda_se need teacher=<folder>; training/cache_teacher.py writes one")
            if self.fusion not in ("mff", "mff_early", "mff_gated"):
                raise ValueError(f"lambda_cr and lambda_se teach the fused features, which fusion={self.fusion} lacks")
        if self.lambda_cr and self.fusion == "mff_early" and self.lscd_level > 2:
            raise ValueError(
                f"lambda_cr compares features of each modality, which fusion=mff_early has at levels 1 and 2: "
                f"lscd_level={self.lscd_level}"
            )
        if self.lambda_p and self.fisher.wrt == "input" and min(self.mff_early.scale.values(), default=1.0) < 1.0:
            raise ValueError("fisher.wrt=input needs images of one size: choose logits, or leave mff_early.scale out")
        if (self.lambda_p or self.lambda_f) and self.fusion in ("early_concat", "linear"):
            raise ValueError(f"lambda_p and lambda_f need features of each modality, which fusion={self.fusion} lacks")
        if self.agmm.weight and self.fusion == "mean_predictions":
            raise ValueError("agmm compares features of the fused model, which fusion=mean_predictions lacks")
        if self.agmm.weight and self.fusion == "linear" and self.agmm.features == "fused":
            raise ValueError("agmm.features=fused needs fused levels, which fusion=linear lacks: choose hidden")
        if self.agmm.weight and self.linear.ensemble == "fixed":
            raise ValueError(
                "agmm teaches through the ensemble, which linear.ensemble=fixed detaches: choose trainable"
            )
        require_effect(self.fusion, self.encoder, self.mff, self.mff_early, self.linear, self.content_masks)
        return self

    @model_validator(mode="after")
    def _scalable(self) -> TrainConfig:
        for height, width in ((self.height, self.width), (self.crop_height, self.crop_width)):
            require_scalable(height, width, self.mff_early.scale)
        return self


def load_config(arguments: Sequence[str]) -> TrainConfig:
    """Training configuration from ``[config.yaml] [key=value ...]``; see `load_settings`."""
    return load_settings(TrainConfig, arguments)
