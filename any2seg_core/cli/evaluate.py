"""``any2seg evaluate``: the command line of :mod:`any2seg_core.evaluation.dataset`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from any2seg_core.base.error_codes import code_of
from any2seg_core.base.errors import UserError
from any2seg_core.base.progress import Progress
from any2seg_core.base.screen import say
from any2seg_core.evaluation.settings import EvaluateSettings


def _help(field: str) -> str:
    return str(EvaluateSettings.model_fields[field].description)


def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help=_help("checkpoint"))],
    data: Annotated[Path, typer.Argument(help=_help("data"))],
    dataset: Annotated[str, typer.Option(help=_help("dataset") + ": auto, deliver, muses, mcubes")] = "auto",
    parity: Annotated[str, typer.Option(help=_help("parity") + " (hkust)")] = "none",
    skip_corrupt: Annotated[bool, typer.Option("--skip-corrupt", help=_help("skip_corrupt"))] = False,
    split: Annotated[str, typer.Option(help=_help("split"))] = "val",
    case: Annotated[list[str] | None, typer.Option(help=_help("cases") + "; may be repeated")] = None,
    frames: Annotated[int | None, typer.Option(min=1, help=_help("frames"))] = None,
    protocol: Annotated[str, typer.Option(help=_help("protocol"))] = "drop",
    noise: Annotated[bool, typer.Option("--noise", help=_help("noise"))] = False,
    specialists: Annotated[Path | None, typer.Option(help=_help("specialists"))] = None,
    eval_size: Annotated[int | None, typer.Option(min=1, help=_help("eval_size"))] = None,
    batch_size: Annotated[int, typer.Option(min=1, help=_help("batch_size"))] = 4,
    device: Annotated[str, typer.Option(help=_help("device"))] = "cpu",
    precision: Annotated[str, typer.Option(help=_help("precision"))] = "float32",
    seed: Annotated[int, typer.Option(min=0, help=_help("seed"))] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder for results.jsonl, report.md and report.html.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Judge a checkpoint: every sensor subset, every condition, robustness and calibration, published numbers beside.

    Example: any2seg evaluate checkpoints/drive_b0.safetensors data/drive --noise --out runs/evaluation

    Retention needs specialists: a JSON file such as {"R": 57.2, "RD": "rgb_depth.safetensors"}.
    """
    from any2seg_core.evaluation.dataset import evaluate_dataset
    from any2seg_core.reports.dataset import text, write_documents

    settings = _settings(
        checkpoint=checkpoint, data=data, split=split, cases=tuple(case) if case else None, frames=frames,
        protocol=protocol, noise=noise, specialists=specialists, eval_size=eval_size, batch_size=batch_size,
        device=device, precision=precision, seed=seed, dataset=dataset, parity=parity, skip_corrupt=skip_corrupt,
    )  # fmt: skip
    with Progress(f"judge {checkpoint.name}") as progress:
        document = evaluate_dataset(settings, progress.stage)
    # Printed first: minutes of work are not lost when the folder cannot be written.
    say(json.dumps(document) if as_json else text(document))
    if out is not None:
        for path in write_documents(out, document):
            say(f"wrote {path}", err=True)


def _settings(**values: Any) -> EvaluateSettings:
    try:
        return EvaluateSettings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(
            f"--{str(first['loc'][0]).replace('_', '-')} {first['input']}: {first['msg']}", code_of(error)
        ) from None
