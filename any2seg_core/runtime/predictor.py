"""Predictor: whatever is alive of the sensors in, a label image out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from any2seg_core.base.errors import UserError
from any2seg_core.base.runtimes import DEFAULT
from any2seg_core.base.shipped import default_checkpoint
from any2seg_core.base.stream_modes import ANCHOR, FILTER, OFF
from any2seg_core.base.torch_package import require_torch
from any2seg_core.kernels.running import WORKLOAD
from any2seg_core.runtime.array_io import unlabelled_share
from any2seg_core.runtime.camera_motion import CameraView, view_of
from any2seg_core.runtime.checkpoint_metadata import read_metadata
from any2seg_core.runtime.engines.engine import Engine
from any2seg_core.runtime.novelty import novelty
from any2seg_core.runtime.stream_memory import StreamMemory, stream_memory
from any2seg_core.sensors.emptiness import is_empty, why_empty
from any2seg_core.sensors.images import image_codes, three_channels
from any2seg_core.sensors.returns import require_shares
from any2seg_core.sensors.rig import SensorRig, is_plane, same_view
from any2seg_core.vocabulary.contract import InputContract
from any2seg_core.vocabulary.labels import LabelSpace
from any2seg_core.vocabulary.sensor import POINTS

if TYPE_CHECKING:  # an exported model needs no PyTorch
    import torch

    from any2seg_core.models import Any2Seg
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
        novelty: per fused sensor how unlike the training frames it is, see `novelty`: above 1 it is more so than 99 of
            100 of them. Empty for checkpoints without such statistics, and for models that encode sensors together.
        pooled: per fused sensor (C,) float32, `Engine.pooled`; empty where nobody asked for it, and as `novelty`.

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
    novelty: dict[str, float] = field(default_factory=dict)
    pooled: dict[str, np.ndarray] = field(default_factory=dict)


def _engine_of(
    model: Any2Seg, contract: InputContract, device: str | torch.device, precision: str, runtime: str
) -> Engine:
    from any2seg_core.runtime.engines.choice import engine_of

    return engine_of(model, (contract.height, contract.width), device, precision, runtime)


def _is_plane_of_any_depth(array: np.ndarray) -> bool:
    return is_plane(array) or (array.dtype == np.float32 and array.ndim == 3 and array.shape[2] == 3)


def _grid(samples: dict[str, np.ndarray], rig: SensorRig) -> tuple[int, int] | None:
    """(H, W) of all planes: that of the camera image, else that of the intrinsics (None)."""
    image = samples.get(rig.suite.camera)
    if image is None or image.ndim < 2 or not same_view(image.shape, rig.calibration.camera):
        return None
    height, width = image.shape[:2]
    return height, width


class Predictor:
    """A loaded model behind a NumPy door. Stateless, unless it is made with a ``stream``.

    Args:
        model, contract: of a checkpoint; `load` reads one. An engine in place of the model runs where it is.
        device: where the model shall run.
        stream: "anchor" or "filter": calls are the sets of one stream, told apart by ``stamp_ns``. With "anchor" the
            fused features of a call are the anchor of MFF in the next one (f_ma^{t-1}); with "filter" its logits are
            averaged with those before, see `LogitFilter`. Both are forgotten after a jump back in time, a gap of more
            than half a second, or a change of size. UserError where model or engine have no anchor.
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
        stream: str = OFF,
        precision: str = "float32",
        runtime: str = DEFAULT,
        filled_rows: bool = False,
    ) -> None:
        self.engine = model if isinstance(model, Engine) else _engine_of(model, contract, device, precision, runtime)
        if filled_rows:
            self.engine.encode_filled_rows(contract)
        self.device, self.precision, self.runtime = self.engine.device, self.engine.precision, self.engine.name
        self.stream, self._memory = stream, stream_memory(stream, self.engine)
        self.contract = contract
        self.label_space: LabelSpace = contract.label_space

    @classmethod
    def load(
        cls,
        path: str | Path | None = None,
        device: str | torch.device = "cpu",
        stream: str = OFF,
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

    def new_memory(self) -> StreamMemory | None:
        """For a stream of sets of its own, where this predictor has several; None where it has a stream of "off"."""
        return stream_memory(self.stream, self.engine)

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
        memory: StreamMemory | None = None,
        camera: CameraView | None = None,
    ) -> Segmentation:
        """Segment one set of samples.

        Args:
            samples: per sensor either a plane, (H, W, 3) uint8 (float32 in 0..255 where a data set is finer, without
                a rig) on the camera grid, or a raw array, see `SensorRig.planes`: depth (H, W) float32 metres, points
                (N, 4) float32 x y z intensity, events structured array (EVENT_DTYPE), images as `image_codes` has them.
                Where `size` is given, a plane of points or events may be its pixels that the model reads, see `Picks`.
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
            memory: of `new_memory`, for this stream of sets; default: the predictor's own.
            camera: of the set, and where it is: what "filter" remembers moves with it. Without it nothing moves.

        Raises:
            UserError: no sample, an unknown modality, a raw sample without a rig or for a checkpoint that was trained
                on planes of other code, planes of different sizes or with numbers that are not finite, points whose
                intensity is not 0..1, or not one plane with a pixel that is not 0.
        """
        self._check(samples, rig, size)
        everything = self.contract.modalities  # also while a sensor is away, so that the output stays the same one
        options = with_confidence, compared, features, memory or self._memory, camera, False
        return self._segment(samples, (everything,), rig, stamp_ns, size, None, *options)[everything]

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
        memory: StreamMemory | None = None,
        camera: CameraView | None = None,
        with_pooled: bool = False,
    ) -> dict[tuple[str, ...], Segmentation]:
        """Segment one set of samples from several subsets of them; every sensor is encoded once.

        But for models of fusion early_concat and linear, which encode the sensors of each subset together.

        Args:
            subsets: non-empty subsets of the modalities, each in canonical order; those of them that are among the
                samples count. Each is an output of its own, which a stream continues.
            change: applied to the model's input, per modality (1, 3, h, w) float32 of the engine's kind (tensors, or
                arrays of an exported model), before it is encoded; then `features` have no effect.
            samples, rig, stamp_ns, size, compared, features, memory, camera: as in a call; no memory: of no stream.
            with_pooled: each Segmentation has its `pooled`.

        Returns:
            Subset -> its Segmentation, bit for bit that of a plain call with its samples alone and the size. Empty
            planes are left out of every subset; a subset that holds no other has no entry, as nothing of it was seen.
        """
        self._check(samples, rig, size)
        options = True, compared, features, memory, camera, with_pooled
        return self._segment(samples, subsets, rig, stamp_ns, size, change, *options)

    def _segment(
        self,
        samples: dict[str, np.ndarray],
        subsets: Sequence[tuple[str, ...]],
        rig: SensorRig | None,
        stamp_ns: int,
        size: tuple[int, int] | None,
        change: Callable[[dict[str, Any]], dict[str, Any]] | None,
        with_confidence: bool,
        compared: str | None,
        features: FeatureMemory | None,
        memory: StreamMemory | None,
        camera: CameraView | None,
        with_pooled: bool,
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
        outputs: dict[tuple[str, ...], list[tuple[str, ...]]] = {}  # what is there of it -> subsets
        for subset in dict.fromkeys(subsets):
            outputs.setdefault(tuple(name for name in subset if name in used), []).append(subset)
        outputs.pop((), None)
        order = sorted(outputs, key=lambda part: part != (compared,))  # what others are compared with, first
        compares = self.engine.encodes_alone and any(compared in part and len(part) > 1 for part in order)
        if compares and compared is not None and (compared,) not in outputs:
            order.insert(0, (compared,))
        found: dict[tuple[str, ...], Segmentation] = {}
        alone: np.ndarray | None = None
        with self.engine.computing():
            encoded = self._encoded({name: planes[name] for name in used}, change, features)
            statistics = self.contract.feature_statistics
            pooled = self.engine.pooled(encoded) if statistics or with_pooled else {}
            unlike = novelty(pooled, statistics) if statistics else {}
            for part, asked, logits in self._decoded(encoded, order, outputs, memory, stamp_ns):
                if compares and part == (compared,):
                    alone = self.engine.winners(logits)
                agreement = None
                if asked and alone is not None and compared in part and len(part) > 1:
                    agreement = float((alone == self.engine.winners(logits)).mean())
                seen, temperature = {name: planes[name] for name in part}, self.contract.temperature(part)
                for alike, mean in self._averaged(asked, logits, memory, stamp_ns, seen, camera, temperature):
                    labels, confidence = self.engine.labels(mean, size, with_confidence, temperature)
                    own = {name: unlike[name] for name in part if name in unlike}
                    pool = {name: pooled[name][0] for name in part if with_pooled and name in pooled}
                    made = Segmentation(labels, confidence, part, unlabelled_share(labels), empty, agreement, own, pool)
                    found.update(dict.fromkeys(alike, made))
        return {subset: found[subset] for subset in subsets if subset in found}

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

    def _decoded(
        self,
        encoded: Any,
        order: Sequence[tuple[str, ...]],
        outputs: Mapping[tuple[str, ...], list[tuple[str, ...]]],
        memory: StreamMemory | None,
        stamp_ns: int,
    ) -> Iterator[tuple[tuple[str, ...], list[tuple[str, ...]], Any]]:
        """(sensors, those of their outputs that get it, logits), in order; with anchors each output has its own."""
        if memory is None or memory.mode != ANCHOR:
            for part, fused in zip(order, self.engine.fuse_subsets(encoded, order), strict=True):
                yield part, outputs.get(part, []), self.engine.decode(fused)
            return
        anchors = memory.anchors
        for part in order:
            features = encoded.only(part)
            if part not in outputs:
                yield part, [], self.engine.decode(self.engine.fuse(features))
            for output in outputs.get(part, ()):
                fused = self.engine.fuse(features, anchors[output].anchor(features, stamp_ns))
                anchors[output].keep(fused.levels[: len(features.levels)], stamp_ns)
                yield part, [output], self.engine.decode(fused)

    def _averaged(
        self,
        outputs: list[tuple[str, ...]],
        logits: Any,
        memory: StreamMemory | None,
        stamp_ns: int,
        planes: Mapping[str, np.ndarray],
        camera: CameraView | None,
        temperature: float,
    ) -> Iterator[tuple[list[tuple[str, ...]], Any]]:
        """(outputs, their logits): with filters each output has its own."""
        if memory is None or memory.mode != FILTER:
            yield outputs, logits
            return
        filters, new = memory.filters, self.engine.array(logits)[0]
        view = view_of(planes, self.contract.suite, new.shape[1:], camera)
        for output in outputs:
            mean = filters[output].filtered(new, stamp_ns, view, temperature)
            yield [output], self.engine.given({"mean": mean[None]})["mean"]

    def _check(self, samples: dict[str, np.ndarray], rig: SensorRig | None, size: tuple[int, int] | None) -> None:
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
            picked = () if size is None else tuple(name for name in used if self._is_picked(name, samples[name]))
            sizes = {name: samples[name].shape[:2] for name in used if name not in picked}
            if len(set(sizes.values())) > 1:
                raise UserError(
                    f"planes of different sizes {sizes}: all must lie on the same camera grid (H, W)", "size-mismatch"
                )
        for name in self.contract.suite.of_kind(POINTS):
            if name in raw:
                require_shares(name, samples[name])

    def _is_picked(self, name: str, plane: np.ndarray) -> bool:
        """Whether a plane may be the pixels alone that the model reads."""
        return self.contract.suite.sensor(name).is_sparse and plane.shape[:2] == self.contract.size_of(name)
