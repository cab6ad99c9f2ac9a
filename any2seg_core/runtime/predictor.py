"""Predictor: whatever is alive of the sensors in, a label image out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.base.runtimes import DEFAULT
from any2seg_core.base.shipped import default_checkpoint
from any2seg_core.base.torch_package import require_torch
from any2seg_core.kernels.running import WORKLOAD
from any2seg_core.runtime.array_io import unlabelled_share
from any2seg_core.runtime.checkpoint_metadata import read_metadata
from any2seg_core.runtime.engines.engine import Engine
from any2seg_core.sensors.camera import read_only
from any2seg_core.sensors.emptiness import is_empty, why_empty
from any2seg_core.sensors.images import image_codes, three_channels
from any2seg_core.sensors.returns import IntensityScale
from any2seg_core.sensors.rig import SensorRig, is_plane, same_view
from any2seg_core.vocabulary.contract import InputContract
from any2seg_core.vocabulary.labels import LabelSpace
from any2seg_core.vocabulary.sensor import POINTS

if TYPE_CHECKING:  # an exported model needs no PyTorch
    import torch

    from any2seg_core.models import Any2Seg
    from any2seg_core.runtime.anchor_memory import AnchorMemory
    from any2seg_core.runtime.feature_memory import FeatureMemory


@dataclass(frozen=True)
class Segmentation:
    """Result for one set of samples.

    Attributes:
        labels: (H, W) uint8 train ids, 255 = unlabelled (uint16 and 65535 for more than 255 classes).
        confidence: (H, W) float32, 0..1, softmax of the winning class; None where the caller did not want it.
        used: modalities that were fused, canonical order.
        invalid_share: share of pixels, 0..1, whose logits are not finite: they are unlabelled, with confidence 0.
        empty: per modality that was given and has no pixel in its plane, one line that says why; it is not fused.
        agreement: share of the model's own pixels, 0..1, at which the compared sensor alone gives the same label; None
            where nothing was compared.

    Examples:
        >>> import numpy as np
        >>> from any2seg_core import Segmentation, label_space
        >>> segmentation = Segmentation(np.array([[6, 12, 255]], np.uint8), None, ("rgb",))
        >>> label_space("deliver-25").colourise(segmentation.labels).tolist()
        [[[128, 64, 128], [70, 130, 180], [0, 0, 0]]]
    """

    labels: np.ndarray
    confidence: np.ndarray | None
    used: tuple[str, ...]
    invalid_share: float = 0.0
    empty: dict[str, str] = field(default_factory=dict)
    agreement: float | None = None


def _engine_of(
    model: Any2Seg, contract: InputContract, device: str | torch.device, precision: str, runtime: str
) -> Engine:
    from any2seg_core.runtime.engines.choice import engine_of

    return engine_of(model, (contract.height, contract.width), device, precision, runtime)


def _memory_for(engine: Engine) -> AnchorMemory:
    """Of the last set of a stream; UserError where the engine has no anchor."""
    if not engine.takes_anchor:
        raise UserError(
            "stream=True needs a checkpoint of fusion mff with reweight, and no runtime of graphs: this model has no "
            f"anchor under runtime {engine.name}",
            "model-unsuitable",
        )
    from any2seg_core.runtime.anchor_memory import AnchorMemory

    return AnchorMemory()


def _is_plane_of_any_depth(array: np.ndarray) -> bool:
    return is_plane(array) or (array.dtype == np.float32 and array.ndim == 3 and array.shape[2] == 3)


def _require_shares(name: str, points: np.ndarray) -> None:
    """UserError for a cloud (N, 4) whose intensity is not 0..1; a wrong shape or dtype is told by the rig."""
    if points.ndim == 2 and points.shape[1] == 4 and points.dtype.kind == "f":
        full = IntensityScale().full(read_only(np.asarray(points[:, 3], np.float32)))
        if full > 1.0:
            raise UserError(
                f"{name}: intensity goes beyond 1: expected 0..1, divide it by what means 1, as {full:.0f}",
                "value-range",
            )


def _grid(samples: dict[str, np.ndarray], rig: SensorRig) -> tuple[int, int] | None:
    """(H, W) of all planes: that of the camera image, else that of the intrinsics (None)."""
    image = samples.get(rig.suite.camera)
    if image is None or image.ndim < 2 or not same_view(image.shape, rig.calibration.camera):
        return None
    height, width = image.shape[:2]
    return height, width


class Predictor:
    """A loaded model behind a NumPy door. Stateless, unless it is made with ``stream=True``.

    Args:
        model, contract: of a checkpoint; `load` reads one. An engine in place of the model runs where it is.
        device: where the model shall run.
        stream: calls are the sets of one video stream, told apart by ``stamp_ns``: the fused features of a call are the
            anchor of MFF in the next one (f_ma^{t-1}), and forgotten after a jump back in time, a gap of more than half
            a second, or a change of size. ``subsets`` takes no part.
        precision: of the encoder. "bfloat16" is faster where the processor has instructions for it, and float32 where
            it has none; "auto" measures. The attribute says what it came to.
        runtime: engine that runs the model, one of `RUNTIMES`; "auto" takes the fastest that gives the labels of
            PyTorch. The attribute says what it came to.
        filled_rows: of sensors of kind points encode only the rows of the plane that hold something, with slightly
            other labels; UserError where engine or model take whole images only.

    Examples:
        >>> import numpy as np
        >>> from any2seg_core import Predictor
        >>> predictor = Predictor.load()  # the shipped checkpoint; or the path of another one
        >>> image = np.full((97, 161, 3), 128, np.uint8)
        >>> segmentation = predictor({"rgb": image})
        >>> segmentation.labels.shape, segmentation.used
        ((97, 161), ('rgb',))
    """

    def __init__(
        self,
        model: Any2Seg | Engine,
        contract: InputContract,
        device: str | torch.device = "cpu",
        stream: bool = False,
        precision: str = "float32",
        runtime: str = DEFAULT,
        filled_rows: bool = False,
    ) -> None:
        self.engine = model if isinstance(model, Engine) else _engine_of(model, contract, device, precision, runtime)
        if filled_rows:
            self.engine.encode_filled_rows(contract)
        self.device, self.precision, self.runtime = self.engine.device, self.engine.precision, self.engine.name
        self._memory = _memory_for(self.engine) if stream else None
        self.contract = contract
        self.label_space: LabelSpace = contract.label_space

    @classmethod
    def load(
        cls,
        path: str | Path | None = None,
        device: str | torch.device = "cpu",
        stream: bool = False,
        precision: str = "float32",
        runtime: str = DEFAULT,
        filled_rows: bool = False,
    ) -> Predictor:
        """Read a checkpoint, by default the shipped one, or a folder of `any2seg export`, which needs no PyTorch.

        UserError names a missing, foreign or damaged file, a device that is not there, or a runtime that cannot be had.
        """
        path = default_checkpoint() if path is None else Path(path)
        if path.is_dir():
            from any2seg_core.runtime.export.load import load_exported

            engine, contract = load_exported(path, str(device), precision, runtime)
            return cls(engine, contract, stream=stream, filled_rows=filled_rows)
        try:
            require_torch(f"the checkpoint {path}")
        except UserError:
            read_metadata(path)  # what is wrong with the file is told before what is missing to run it
            raise
        from any2seg_core.runtime.checkpoint import load_checkpoint
        from any2seg_core.runtime.devices import available_device

        present = available_device(device)
        model, contract, _ = load_checkpoint(path)
        return cls(model, contract, present, stream, precision, runtime, filled_rows)

    def warm_up(self) -> None:
        """Run once on dark planes, so that the first real frame is not the slow one."""
        WORKLOAD.expect_more()
        # Larger than the model's input, as pictures of cameras are: both resizes are warm too.
        dark = np.ones((2 * self.contract.height, 2 * self.contract.width, 3), np.uint8)
        self.subsets(dict.fromkeys(self.contract.modalities, dark), (self.contract.modalities,))
        as_large = dark[: self.contract.height, : self.contract.width]  # what is not resized takes another kernel
        self.engine.images(dict.fromkeys(self.contract.modalities, as_large), self.contract)

    def reset(self) -> None:
        """Forget the stream so far; without effect on a stateless predictor."""
        if self._memory is not None:
            self._memory.reset()

    def __call__(
        self,
        samples: dict[str, np.ndarray],
        rig: SensorRig | None = None,
        stamp_ns: int = 0,
        size: tuple[int, int] | None = None,
        with_confidence: bool = True,
        compared: str | None = None,
        features: FeatureMemory | None = None,
    ) -> Segmentation:
        """Segment one set of samples.

        Args:
            samples: per sensor either a plane, (H, W, 3) uint8 (float32 in 0..255 where a data set is finer, without
                a rig) on the camera grid, or a raw array, see `SensorRig.planes`: depth (H, W) float32 metres, points
                (N, 4) float32 x y z intensity, events structured array (EVENT_DTYPE), images as `image_codes` has them.
            rig: geometry, needed as soon as one sample is raw, but for the picture of the camera; of the suite of the
                checkpoint.
            stamp_ns: end of the event window.
            size: (H, W) of the output; default: that of the camera image, without one that of the first plane in
                canonical order, which of raw samples is the camera size of the rig.
            with_confidence: False saves time: 8 of 15 ms after the model for 25 classes at 1024x1024.
            compared: a modality whose label alone is compared with the fused one, from features that are there anyway.
                Without effect where it is the only one or not there, and for models of fusion early_concat and linear,
                which encode the sensors together.
            features: of this predictor and this stream of sets; sensors whose plane is in it are not encoded again.
                The labels are the same, bit for bit. Without effect for models of fusion early_concat and linear.

        Raises:
            UserError: no sample, an unknown modality, a raw sample without a rig or for a checkpoint that was trained
                on planes of other code, planes of different sizes or with numbers that are not finite, points whose
                intensity is not 0..1, or not one plane with a pixel that is not 0.
        """
        given = self._check(samples, rig)
        options = with_confidence, compared, features
        return self._segment(samples, (given,), rig, stamp_ns, size, None, self._memory, *options)[given]

    def subsets(
        self,
        samples: dict[str, np.ndarray],
        subsets: Sequence[tuple[str, ...]],
        rig: SensorRig | None = None,
        stamp_ns: int = 0,
        size: tuple[int, int] | None = None,
        change: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        compared: str | None = None,
        features: FeatureMemory | None = None,
    ) -> dict[tuple[str, ...], Segmentation]:
        """Segment one set of samples from several subsets of them; every sensor is encoded once.

        But for models of fusion early_concat and linear, which encode the sensors of each subset together.

        Args:
            subsets: non-empty subsets of the modalities of `samples`, each in canonical order.
            change: applied to the model's input, per modality (1, 3, h, w) float32 of the engine's kind (tensors, or
                arrays of an exported model), before it is encoded; then `features` have no effect.
            samples, rig, stamp_ns, size, compared, features: as in a call.

        Returns:
            Subset -> its Segmentation, bit for bit that of a plain call with its samples alone and the size. Empty
            planes are left out of every subset; a subset that holds no other has no entry, as nothing of it was seen.
        """
        self._check(samples, rig)
        return self._segment(samples, subsets, rig, stamp_ns, size, change, None, compared=compared, features=features)

    def _segment(
        self,
        samples: dict[str, np.ndarray],
        subsets: Sequence[tuple[str, ...]],
        rig: SensorRig | None,
        stamp_ns: int,
        size: tuple[int, int] | None,
        change: Callable[[dict[str, Any]], dict[str, Any]] | None,
        memory: AnchorMemory | None,
        with_confidence: bool = True,
        compared: str | None = None,
        features: FeatureMemory | None = None,
    ) -> dict[tuple[str, ...], Segmentation]:
        suite = self.contract.suite
        given = suite.canonical(samples)
        planes = self._planes(samples) if rig is None else rig.planes(samples, stamp_ns, _grid(samples, rig))
        if size is None:
            size = planes[given[0]].shape[:2]
        missed = [name for name in given if is_empty(planes[name])]
        empty = {name: why_empty(suite.sensor(name), samples[name], rig, stamp_ns) for name in missed}
        used = tuple(name for name in given if name not in empty)
        if not used:
            raise UserError(f"no sensor shows anything: {'; '.join(empty.values())}", "sensor-empty")
        parts = {subset: tuple(name for name in subset if name in used) for subset in subsets}
        wanted = dict.fromkeys(part for part in parts.values() if part)
        order = sorted(wanted, key=lambda kept: kept != (compared,))  # what others are compared with, first
        compares = self.engine.encodes_alone and any(compared in kept and len(kept) > 1 for kept in order)
        if compares and compared is not None and (compared,) not in wanted:
            order.insert(0, (compared,))
        found: dict[tuple[str, ...], Segmentation] = {}
        alone: np.ndarray | None = None
        with self.engine.computing():
            encoded = self._encoded({name: planes[name] for name in used}, change, features)
            for kept, fused in zip(order, self._fused(encoded, order, memory, stamp_ns), strict=True):
                logits = self.engine.decode(fused)
                if compares and kept == (compared,):
                    alone = self.engine.winners(logits)
                if kept not in wanted:
                    continue
                agreement = None
                if alone is not None and compared in kept and len(kept) > 1:
                    agreement = float((alone == self.engine.winners(logits)).mean())
                labels, confidence = self.engine.labels(logits, size, with_confidence, self.contract.temperature(kept))
                found[kept] = Segmentation(labels, confidence, kept, unlabelled_share(labels), empty, agreement)
        return {subset: found[part] for subset, part in parts.items() if part}

    def _encoded(
        self,
        planes: dict[str, np.ndarray],
        change: Callable[[dict[str, Any]], dict[str, Any]] | None,
        features: FeatureMemory | None,
    ) -> Any:
        if features is None or change is not None or not self.engine.encodes_alone:
            images = self.engine.images(planes, self.contract)
            return self.engine.encode(images if change is None else change(images))

        def encode(new: dict[str, np.ndarray]) -> dict[str, Any]:
            return self.engine.encode_sensors(self.engine.images(new, self.contract))

        return self.engine.together(features.features(planes, encode))

    def _planes(self, samples: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Samples without a geometry are planes; the picture of the camera becomes one as it is."""
        camera = self.contract.suite.camera
        if camera not in samples or _is_plane_of_any_depth(samples[camera]):
            return samples
        return samples | {camera: three_channels(image_codes(samples[camera], self.contract.suite.sensor(camera)))}

    def _fused(
        self, encoded: Any, subsets: list[tuple[str, ...]], memory: AnchorMemory | None, stamp_ns: int
    ) -> Iterator[Any]:
        """Each subset of what was encoded; with a memory the last of them is all of it, and the next anchor."""
        if memory is None:
            yield from self.engine.fuse_subsets(encoded, subsets)
            return
        yield from self.engine.fuse_subsets(encoded, subsets[:-1])
        fused = self.engine.fuse(encoded, memory.anchor(encoded, stamp_ns))
        memory.keep(fused.levels[: len(encoded.levels)], stamp_ns)
        yield fused

    def _check(self, samples: dict[str, np.ndarray], rig: SensorRig | None) -> tuple[str, ...]:
        used = self.contract.suite.canonical(samples)
        unknown = [name for name in used if name not in self.contract.modalities]
        if not used or unknown:
            raise UserError(
                f"samples of {', '.join(used) or 'no modality'}: this checkpoint takes any non-empty subset of "
                f"{', '.join(self.contract.modalities)}",
                "sensor-absent" if used else "sensor-none",
            )
        camera = self.contract.suite.camera
        raw = [name for name in used if name != camera and not _is_plane_of_any_depth(samples[name])]
        for name in used:
            if name not in raw and samples[name].dtype.kind == "f" and not np.isfinite(samples[name]).all():
                raise UserError(f"{name}: its plane holds numbers that are not finite: give 0..255", "not-finite")
        self.contract.require_own_encodings(raw)
        if rig is None:
            if raw:
                shapes = {name: (samples[name].dtype.name, samples[name].shape) for name in raw}
                raise UserError(
                    f"raw samples {shapes} need a calibration: pass rig=SensorRig(...), or uint8 planes",
                    "calibration-missing",
                )
            sizes = {name: samples[name].shape[:2] for name in used}
            if len(set(sizes.values())) > 1:
                raise UserError(
                    f"planes of different sizes {sizes}: all must lie on the same camera grid (H, W)", "size-mismatch"
                )
        for name in self.contract.suite.of_kind(POINTS):
            if name in raw:
                _require_shares(name, samples[name])
        return used
