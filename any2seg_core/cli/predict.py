"""`any2seg predict`: sensor files or a recording in, label images out; no ROS."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.table import Table

from any2seg_core.base.command_options import JsonOption, finite
from any2seg_core.base.errors import UserError
from any2seg_core.base.precisions import PRECISION_HELP
from any2seg_core.base.runtimes import DEFAULT, FILLED_ROWS_HELP, RUNTIME_HELP
from any2seg_core.base.screen import Screen, say
from any2seg_core.base.shipped import default_checkpoint
from any2seg_core.base.stream_modes import FILTER, OFF, STREAM_HELP
from any2seg_core.vocabulary.modalities import VEHICLE, SensorSuite

if TYPE_CHECKING:  # it imports what --help does without
    from any2seg_core.prediction.frame import PredictionTally

CheckpointOption = Annotated[
    Path, typer.Option("--checkpoint", "--model", help="Checkpoint (.safetensors), or a folder of any2seg export.")
]
ColumnsOption = Annotated[
    str, typer.Option("--point-columns", "--lidar-columns", help="Of a .bin: x,y,z,intensity,ring; default: by values.")
]
_RATE_HZ = 10.0  # of a video of single pictures


@dataclass(frozen=True)
class _Request:
    """The options of one call, by their names."""

    out: Path
    recording: Path | None
    inputs: dict[str, str]
    calib: Path | None
    overlay: Path | None
    color: Path | None
    confidence: Path | None
    video: Path | None
    rate: float
    every: int
    overwrite: bool
    topic: tuple[str, ...]
    checkpoint: Path
    device: str
    precision: str
    runtime: str
    filled_rows: bool
    stream: str
    params: Path | None
    as_json: bool
    depth_scale: float
    event_time_unit: str
    point_columns: str
    intensity_max: float

    @property
    def written(self) -> tuple[Path | None, ...]:
        """All places that are written to."""
        return self.out, self.overlay, self.color, self.confidence, self.video

    @property
    def read(self) -> tuple[Path | None, ...]:
        """All files that are read."""
        return *map(Path, self.inputs.values()), self.recording, self.calib, self.checkpoint, self.params


def predict(
    out: Annotated[Path, typer.Option("-o", "--out", help="Label image, PNG of class ids; of many frames: a folder.")],
    recording: Annotated[Path | None, typer.Argument(help="Recording: rosbag2 folder, .mcap, .db3, .bag.")] = None,
    rgb: Annotated[str, typer.Option(help="Camera: image, folder, pattern 'a/*.png', or a video.")] = "",
    depth: Annotated[str, typer.Option(help="Depth: .npy in metres or 16-bit PNG; folder, pattern.")] = "",
    event: Annotated[str, typer.Option(help="Events: .raw, .dat, .h5, .aedat4, .npz, .npy; folder, pattern.")] = "",
    lidar: Annotated[str, typer.Option(help="LiDAR: .pcd, .ply, .npy, .npz, .bin; folder, pattern.")] = "",
    sensor: Annotated[list[str] | None, typer.Option(help="Of other suites: thermal=FILES, as --rgb.")] = None,
    depth_scale: Annotated[
        float, typer.Option(help="Units per metre of whole depth numbers: 1000 (mm, as without), KITTI's 256.")
    ] = 0.0,
    event_time_unit: Annotated[str, typer.Option(help="Of t where the file says none: ns, us, ms, s.")] = "",
    point_columns: ColumnsOption = "",
    intensity_max: Annotated[
        float, typer.Option(min=0, callback=finite, help="LiDAR intensity that means 1; 0: by its values.")
    ] = 0.0,
    calib: Annotated[Path | None, typer.Option(help="Calibration YAML; needed for all but --rgb alone.")] = None,
    overlay: Annotated[Path | None, typer.Option(help="Also write the labels over the picture.")] = None,
    color: Annotated[Path | None, typer.Option(help="Also write the labels in palette colours.")] = None,
    confidence: Annotated[Path | None, typer.Option(help="Also write the confidence, 0..255.")] = None,
    video: Annotated[Path | None, typer.Option(help="Also write a video: .webm, or .mp4 (slower).")] = None,
    rate: Annotated[
        float, typer.Option(min=0, callback=finite, help="Its pictures per second; 0: as the source, else 10.")
    ] = 0.0,
    every: Annotated[int, typer.Option(min=1, help="Every n-th frame only.")] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files of an earlier run.")] = False,
    topic: Annotated[list[str] | None, typer.Option(help="Of a recording: rgb=/camera/image_raw, depth=none.")] = None,
    checkpoint: CheckpointOption = default_checkpoint(),
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")] = "cpu",
    precision: Annotated[str, typer.Option(help=PRECISION_HELP)] = "float32",
    runtime: Annotated[str, typer.Option(help=RUNTIME_HELP)] = DEFAULT,
    filled_rows: Annotated[bool, typer.Option("--filled-rows", help=FILLED_ROWS_HELP)] = False,
    stream: Annotated[str, typer.Option(help=f"Of a recording: {STREAM_HELP}")] = OFF,
    params: Annotated[Path | None, typer.Option(help="ROS 2 parameter file: inputs and health as the node's.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Segment sensor files, any non-empty subset of the checkpoint's sensors: one moment, many, or a recording.

    Files of several sensors are one frame where their names are equal. Many frames go into a folder: labels/, overlay/,
    legend.png and legend.json, and frames.jsonl with a line per frame. A sensor that is ill (a black image, a cloud of
    no points) is named and left out, as the node does it.

    Example: any2seg predict --rgb a.png --lidar b.bin --calib c.yaml -o out.png
    Example: any2seg predict --rgb pictures --lidar clouds --calib c.yaml -o out --video out.webm
    """
    given = {"rgb": rgb, "depth": depth, "event": event, "lidar": lidar}
    inputs = _named_inputs({name: text for name, text in given.items() if text}, sensor or ())
    request = _Request(
        out, recording, inputs, calib, overlay, color, confidence, video, rate, every, overwrite, tuple(topic or ()),
        checkpoint, device, precision, runtime, filled_rows, stream, params, as_json, depth_scale,
        event_time_unit, point_columns, intensity_max,
    )  # fmt: skip
    _check_inputs(request)
    from any2seg_core.prediction.sources import is_one_file

    _check_outputs(request.written, request.read)
    if recording is None and all(map(is_one_file, inputs.values())):
        _predict_one(request)
    else:
        _predict_many(request)


def _check_inputs(request: _Request) -> None:
    """UserError for none, for files beside a recording, and where a sensor needs the calibration."""
    inputs = request.inputs
    if request.recording is not None:
        if inputs:
            first = next(iter(inputs))
            raise UserError(f"--{first} beside {request.recording}: give files or a recording", "value-conflict")
        return
    if not inputs:
        known = "--rgb, --depth, --event, --lidar, --sensor"
        raise UserError(f"no sensor file: give at least one of {known}, or a recording", "sensor-none")
    if request.stream != OFF:
        raise UserError(
            f"--stream {request.stream}: files have no time: of a recording alone, leave it out", "value-conflict"
        )
    if request.topic:
        raise UserError("--topic: says something of a recording alone: leave it out", "value-conflict")
    if set(inputs) <= set(VEHICLE.members):
        _check_calibration(request, VEHICLE)


def _check_calibration(request: _Request, suite: SensorSuite) -> None:
    """UserError for a sensor that is not in the suite, or needs the calibration that is not given."""
    others = [name for name in suite.canonical(request.inputs) if name != suite.camera]
    if request.calib is None and others:
        options = ", ".join(f"--{name}" if name in VEHICLE.members else f"--sensor {name}" for name in others)
        raise UserError(f"{options}: needs a calibration: give --calib FILE.yaml", "calibration-missing")


def _named_inputs(given: dict[str, str], texts: Iterable[str]) -> dict[str, str]:
    """With what --sensor says; UserError for a sensor that is given twice."""
    found = dict(given)
    for text in texts:
        name, _, files = text.partition("=")
        if not name or not files:
            raise UserError(f"--sensor {text}: write it as --sensor NAME=FILES", "value-format")
        if name in found:
            raise UserError(f"--sensor {text}: {name} is given twice: give it once", "value-twice")
        found[name] = files
    return found


def _check_outputs(wanted: Iterable[Path | None], inputs: Iterable[Path | None]) -> None:
    """Before anything is computed or written: a bad name among the outputs must not leave the others behind."""
    taken = [path.resolve() for path in inputs if path is not None]
    for path in (path.resolve() for path in wanted if path is not None):
        if path in taken:
            raise UserError(
                f"{path} is given twice or is an input: it would be overwritten, choose another name", "output-is-input"
            )
        taken.append(path)


def _predict_one(request: _Request) -> None:
    from any2seg_core.files.samples import FileOptions, read_samples
    from any2seg_core.prediction.outputs import write_image
    from any2seg_core.prediction.sources import check_view
    from any2seg_core.runtime.file_set import reasons_of, segment_arrays
    from any2seg_core.runtime.legend import write_labels
    from any2seg_core.runtime.overlay import overlay

    _check_pictures(request)
    predictor, calibration, parameters, options = _loaded(request, FileOptions)
    suite = predictor.contract.suite
    _check_calibration(request, suite)
    paths = {name: Path(text) for name, text in request.inputs.items()}
    samples = read_samples(paths, calibration, options, suite)
    if request.calib is not None and calibration is not None and suite.camera in samples:
        check_view(samples[suite.camera], request.inputs[suite.camera], calibration, request.calib)
    result, frame = segment_arrays(predictor, samples, calibration, parameters)
    for why in reasons_of(frame):
        say(f"any2seg: {why}: left out", err=True)
    if result.invalid_share:
        share = f"{result.invalid_share:.2%} of the pixels"
        typer.echo(f"any2seg: {share} have no finite logits: unlabelled, with confidence 0", err=True)

    space = predictor.label_space
    write_labels(request.out, result.labels, space)
    if request.overlay is not None:
        write_image(request.overlay, overlay(result.labels, frame.planes, space, 0.5, suite))
    if request.color is not None:
        write_image(request.color, space.colourise(result.labels))
    assert result.confidence is not None  # a predictor leaves it out only when told to
    if request.confidence is not None:
        write_image(request.confidence, np.round(result.confidence * 255).astype(np.uint8))
    _say_note(float(result.confidence.mean()), request.checkpoint)
    _print_prediction(result, frame, predictor, request.out, request.as_json)


def _check_pictures(request: _Request) -> None:
    """Of one frame: PNG files."""
    if request.video is not None:
        raise UserError(f"--video {request.video}: of one frame: give a folder or a recording", "value-conflict")
    for path in (request.out, request.overlay, request.color, request.confidence):
        if path is None:
            continue
        if path.suffix.lower() != ".png":
            raise UserError(
                f"{path}: label images are written as PNG (JPEG would change ids): name it {path.stem}.png", "file-name"
            )
        if path.is_dir():
            raise UserError(f"{path} is a folder: give the name of the file to write", "output-unwritable")


def _predict_many(request: _Request) -> None:
    from any2seg_core.bags.opened import BagOptions, open_bag
    from any2seg_core.base.progress import Progress
    from any2seg_core.data.bag_settings import read_settings
    from any2seg_core.files.samples import FileOptions
    from any2seg_core.prediction.outputs import PredictionFolder, PredictionOutputs
    from any2seg_core.prediction.run import predicted_files, predicted_sets, rate_of_bag, write_predictions
    from any2seg_core.prediction.sources import FileFrames

    for path in (request.out, request.overlay, request.color, request.confidence):
        if path is not None and path.suffix.lower() in (".png", ".jpg", ".jpeg"):
            raise UserError(f"{path}: of many frames: give the name of a folder", "file-name")
    predictor, calibration, parameters, options = _loaded(request, FileOptions)
    classes, suite = len(predictor.label_space), predictor.contract.suite
    _check_calibration(request, suite)

    def folder(rate_hz: float | None, sensors: tuple[str, ...]) -> PredictionFolder:
        rate = request.rate or rate_hz or _RATE_HZ
        outputs = PredictionOutputs(
            request.out, request.overlay, request.color, request.confidence, request.video, rate
        )
        return PredictionFolder(outputs, predictor.label_space, suite, sensors, request.overwrite)

    with Progress("predict") as progress:
        if request.recording is not None:
            known = predictor.contract.modalities
            topics = read_settings(request.recording).topics_for(suite, request.topic)
            choice = BagOptions(
                topics, None, request.calib, request.params, known, True, suite, with_poses=request.stream == FILTER
            )
            with open_bag(request.recording, choice) as opened:
                notes: list[str] = [*opened.bag.warnings, *opened.notes]
                target = folder(rate_of_bag(opened, request.every), opened.modalities)
                frames = predicted_sets(predictor, opened, request.every)
                tally, broken = write_predictions(frames, target, classes, lambda done: progress.show(done, None))
        else:
            source = FileFrames(request.inputs, calibration, request.calib, options, request.every, suite)
            notes, total = source.notes, source.total
            target = folder(source.rate_hz, tuple(request.inputs))
            frames = predicted_files(predictor, source, calibration, parameters)
            tally, broken = write_predictions(frames, target, classes, lambda done: progress.show(done, total))
    for note in notes:
        say(f"any2seg: {note}", err=True)
    _print_tally(request, tally, predictor)
    if broken is not None:
        raise broken
    if tally.unreadable:
        raise UserError(f"{tally.unreadable} files could not be read, the others were used", "file-unreadable")


def _loaded(request: _Request, options: Any) -> tuple[Any, Any, dict[str, Any], Any]:
    """Predictor, calibration, parameters, and how files are read."""
    from any2seg_core.runtime.predictor import Predictor
    from any2seg_core.sensors.calibration import load_calibration
    from any2seg_core.sync.parameters import load_params_file

    calibration = load_calibration(request.calib) if request.calib is not None else None
    predictor = Predictor.load(
        request.checkpoint,
        request.device,
        request.stream,
        precision=request.precision,
        runtime=request.runtime,
        filled_rows=request.filled_rows,
    )
    parameters = load_params_file(request.params) if request.params is not None else {}
    intensity_max = request.intensity_max or float(parameters.get("intensity_max", 0.0))
    read = options(request.depth_scale, request.event_time_unit, request.point_columns, intensity_max)
    return predictor, calibration, parameters, read


def _say_note(mean_confidence: float, checkpoint: Path) -> None:
    from any2seg_core.runtime.checkpoint_metadata import read_metadata
    from any2seg_core.runtime.prediction_notes import prediction_note

    note = prediction_note(mean_confidence, read_metadata(checkpoint)["provenance"])
    if note:
        say(f"any2seg: {note}", err=True)


def _print_prediction(result: Any, frame: Any, predictor: Any, out: Path, as_json: bool) -> None:
    space = predictor.label_space
    counts = np.bincount(result.labels.ravel(), minlength=256)[: len(space)]
    share = _shares(counts, result.labels.size, space)
    if as_json:
        document = {
            "out": str(out),
            "used": result.used,
            "left_out": {
                name: {"reason": reason, "why": frame.errors[name]} for name, reason in frame.reasons.items()
            },
            "empty": {name: frame.errors[name] for name, reason in frame.reasons.items() if reason == "empty"},
            "invalid_share": round(result.invalid_share, 6),
            "height": result.labels.shape[0],
            "width": result.labels.shape[1],
            "mean_confidence": round(float(result.confidence.mean()), 4),
            "engine": predictor.engine.facts,
            "share": {name: round(value, 5) for name, value in share.items()},
        }
        say(json.dumps(document))
        return
    say(f"{out}: {', '.join(result.used)} fused, mean confidence {result.confidence.mean():.2f}")
    _print_shares(share)


def _print_tally(request: _Request, tally: PredictionTally, predictor: Any) -> None:
    space = predictor.label_space
    confidence = tally.confidence / tally.labelled
    _say_note(confidence, request.checkpoint)
    share = _shares(tally.pixels, tally.all_pixels, space)
    if request.as_json:
        document = {
            "out": str(request.out),
            "video": None if request.video is None else str(request.video),
            "frames": tally.frames,
            "labelled": tally.labelled,
            "without_labels": tally.without_labels,
            "used": tally.used,
            "left_out": tally.reasons,
            "unreadable": tally.unreadable,
            "mean_confidence": round(confidence, 4),
            "engine": predictor.engine.facts,
            "share": {name: round(value, 5) for name, value in share.items()},
        }
        say(json.dumps(document))
        return
    for why, count in tally.reasons.items():
        say(f"any2seg: {why}: left out" + (f" ({count} frames)" if count > 1 else ""), err=True)
    fused = "; ".join(f"{used.replace(',', ', ')} fused in {count}" for used, count in tally.used.items())
    made = f"labels of {tally.labelled} of {tally.frames} frames"
    say(f"{request.out}: {made}, {fused}; mean confidence {confidence:.2f}")
    if request.video is not None:
        say(f"{request.video}: {tally.frames} pictures")
    _print_shares(share)


def _shares(counts: np.ndarray, pixels: int, space: Any) -> dict[str, float]:
    """Class -> share of the pixels, the largest first."""
    return {space.classes[k]: float(counts[k] / pixels) for k in np.argsort(-counts) if counts[k]}


def _print_shares(share: dict[str, float]) -> None:
    table = Table()
    table.add_column("class")
    table.add_column("pixels", justify="right")
    for name, value in share.items():
        table.add_row(name, f"{100 * value:.1f} %")
    Screen().print(table)
