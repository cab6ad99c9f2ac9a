"""`any2seg predict`: one set of sensor files in, a label image out; no ROS."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image
from rich.table import Table

from any2seg_core.base.command_options import JsonOption
from any2seg_core.base.errors import UserError
from any2seg_core.base.screen import Screen, say
from any2seg_core.base.shipped import default_checkpoint

CheckpointOption = Annotated[Path, typer.Option(help="Any2Seg checkpoint (.safetensors).")]
ColumnsOption = Annotated[
    str, typer.Option("--point-columns", "--lidar-columns", help="Of a .bin: x,y,z,intensity,ring; default: by values.")
]


def predict(
    out: Annotated[Path, typer.Option("-o", "--out", help="Label image to write: PNG of class ids, 255 = unlabelled.")],
    rgb: Annotated[Path | None, typer.Option(help="Camera image (PNG, JPEG).")] = None,
    depth: Annotated[Path | None, typer.Option(help="Depth: .npy in metres, or 16-bit PNG (--depth-scale).")] = None,
    event: Annotated[
        Path | None, typer.Option(help="Events: .raw, .dat, .h5, .aedat4; .npz, .npy with x, y, t, p.")
    ] = None,
    lidar: Annotated[
        Path | None, typer.Option(help="LiDAR: .pcd, .ply, .npy, .npz; .bin of float32 x y z intensity.")
    ] = None,
    depth_scale: Annotated[
        float, typer.Option(help="Units per metre of whole depth numbers: 1000 (mm, as without), KITTI's 256.")
    ] = 0.0,
    event_time_unit: Annotated[str, typer.Option(help="Of t where the file says none: ns, us, ms, s.")] = "",
    point_columns: ColumnsOption = "",
    intensity_max: Annotated[float, typer.Option(min=0, help="LiDAR intensity that means 1; 0: by its values.")] = 0.0,
    calib: Annotated[Path | None, typer.Option(help="Calibration YAML; needed for all but --rgb alone.")] = None,
    color: Annotated[Path | None, typer.Option(help="Also write the labels in palette colours.")] = None,
    confidence: Annotated[Path | None, typer.Option(help="Also write the confidence, 0..255.")] = None,
    checkpoint: CheckpointOption = default_checkpoint(),
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")] = "cpu",
    precision: Annotated[str, typer.Option(help="Of the encoder: float32 or bfloat16.")] = "float32",
    params: Annotated[Path | None, typer.Option(help="ROS 2 parameter file: inputs and health as the node's.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Segment one set of sensor files, any non-empty subset of the four sensors.

    A sensor that is ill (a black image, a cloud of no points) is named and left out, as the node does it.

    Example: any2seg predict --rgb a.png --lidar b.bin --calib c.yaml -o out.png
    """
    from any2seg_core.files.samples import FileOptions, read_samples
    from any2seg_core.runtime.checkpoint_metadata import read_metadata
    from any2seg_core.runtime.file_set import reasons_of, segment_arrays
    from any2seg_core.runtime.prediction_notes import prediction_note
    from any2seg_core.runtime.predictor import Predictor
    from any2seg_core.sensors.calibration import load_calibration
    from any2seg_core.sync.parameters import load_params_file

    given = _given({"rgb": rgb, "depth": depth, "event": event, "lidar": lidar}, calib)
    _check_outputs((out, color, confidence), (*given.values(), calib, checkpoint))
    calibration = load_calibration(calib) if calib is not None else None
    predictor = Predictor.load(checkpoint, device, precision=precision)
    parameters = load_params_file(params) if params is not None else {}
    intensity_max = intensity_max or float(parameters.get("intensity_max", 0.0))
    options = FileOptions(depth_scale, event_time_unit, point_columns, intensity_max)
    samples = read_samples(given, calibration, options)
    if calib is not None and calibration is not None and rgb is not None:
        _check_image_size(samples["rgb"], rgb, calibration.camera, calib)
    result, frame = segment_arrays(predictor, samples, calibration, parameters)
    for why in reasons_of(frame):
        say(f"any2seg: {why}: left out", err=True)
    if result.invalid_share:
        share = f"{result.invalid_share:.2%} of the pixels"
        typer.echo(f"any2seg: {share} have no finite logits: unlabelled, with confidence 0", err=True)

    _write_image(out, result.labels)
    if color is not None:
        _write_image(color, predictor.label_space.colourise(result.labels))
    assert result.confidence is not None  # a predictor leaves it out only when told to
    if confidence is not None:
        _write_image(confidence, np.round(result.confidence * 255).astype(np.uint8))
    note = prediction_note(float(result.confidence.mean()), read_metadata(checkpoint)["provenance"])
    if note:
        say(f"any2seg: {note}", err=True)
    _print_prediction(result, frame, predictor.label_space, out, as_json)


def _given(paths: dict[str, Path | None], calib: Path | None) -> dict[str, Path]:
    """The files that are there; UserError for none, and where a sensor needs the calibration."""
    given = {name: path for name, path in paths.items() if path is not None}
    if not given:
        raise UserError("no sensor file: give at least one of --rgb, --depth, --event, --lidar", "sensor-none")
    if calib is None and set(given) != {"rgb"}:
        raise UserError(
            f"--{', --'.join(n for n in given if n != 'rgb')}: needs a calibration: give --calib FILE.yaml",
            "calibration-missing",
        )
    return given


def _check_image_size(image: np.ndarray, path: Path, camera: Any, calib: Path) -> None:
    from any2seg_core.sensors.rig import same_view

    height, width = image.shape[:2]
    if not same_view(image.shape, camera):
        raise UserError(
            f"{path} is {width}x{height}, the camera in {calib} is {camera.width}x{camera.height}: "
            "give the image and the calibration of the same camera",
            "calibration-size",
        )


def _check_outputs(wanted: Iterable[Path | None], inputs: Iterable[Path | None]) -> None:
    """Before anything is computed or written: a bad name among the outputs must not leave the others behind."""
    outputs = [path for path in wanted if path is not None]
    for path in outputs:
        if path.suffix.lower() != ".png":
            raise UserError(
                f"{path}: label images are written as PNG (JPEG would change ids): name it {path.stem}.png", "file-name"
            )
        if path.is_dir():
            raise UserError(f"{path} is a folder: give the name of the file to write", "output-unwritable")
    taken = [path.resolve() for path in inputs if path is not None]
    for path in (path.resolve() for path in outputs):
        if path in taken:
            raise UserError(
                f"{path} is given twice or is an input: it would be overwritten, choose another name", "output-is-input"
            )
        taken.append(path)


def _write_image(path: Path, pixels: np.ndarray) -> None:
    from any2seg_core.base.atomic import replacing

    with replacing(path) as partial:
        Image.fromarray(pixels).save(partial)


def _print_prediction(result: Any, frame: Any, space: Any, out: Path, as_json: bool) -> None:
    counts = np.bincount(result.labels.ravel(), minlength=256)[: len(space)]
    share = {space.classes[k]: counts[k] / result.labels.size for k in np.argsort(-counts) if counts[k]}
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
            "share": {name: round(float(value), 5) for name, value in share.items()},
        }
        say(json.dumps(document))
        return
    say(f"{out}: {', '.join(result.used)} fused, mean confidence {result.confidence.mean():.2f}")
    table = Table()
    table.add_column("class")
    table.add_column("pixels", justify="right")
    for name, value in share.items():
        table.add_row(name, f"{100 * value:.1f} %")
    Screen().print(table)
