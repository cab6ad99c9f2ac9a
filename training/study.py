"""Train variants of the model with equal budgets and seeds, and put what each reaches into one table.

    python training/study.py data=data/drive out=runs/study steps=1500 "seeds=[0, 1, 2]"
    python training/study.py data=data/drive out=runs/study "variants=[mean, mean_dropout]" "train={workers: 0}"

Variants are training/configs/study/<name>.yaml on top of base.yaml. Each run is training/train.py in its own process.
An interrupted study goes on where it stopped: finished runs are read, the run under way resumes. Written to <out>:
study.md and study.json (table, commands, seeds), and <variant>-<seed>/ with the run itself.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from any2seg_core.atomic import replacing
from any2seg_core.checkpoint import read_metadata
from any2seg_core.errors import UserError
from any2seg_core.evaluation.robustness import monotonicity
from training.build import shown_command
from training.config import load_config, load_settings

SCRIPTS = Path(__file__).parent
CONFIGS = SCRIPTS / "configs" / "study"
BASE = "base.yaml"
VARIANTS = (
    "mean_dropout", "rgb_only", "early_concat", "mean", "mean_dropout_rp", "mean_dropout_rp_rf", "mff", "mff_lscd",
    "mff_dropout_lscd_r",
)  # fmt: skip
"""The control comes first: the paper's own tables say that most of its gain is dropout."""
COLUMNS = ("RDEL", "mean of 15", "R", "D", "E", "L", "steps lowered of 28")


class StudyConfig(BaseModel):
    """What is compared, and with how much training."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    data: Path
    out: Path
    variants: tuple[str, ...] = VARIANTS
    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=1)
    steps: int = Field(1500, gt=0, description="of every variant")
    teacher: Path | None = Field(None, description="embeddings for LSCD; default: made with the text teacher in <out>")
    train: dict[str, Any] = Field({}, description="settings of training/train.py for all runs alike")


def run_study(config: StudyConfig) -> dict[str, Any]:
    """Train what is missing, in order of the seeds, and write the table after every run.

    Raises:
        UserError: an unknown variant or setting, before anything is trained; a run that failed.
    """
    unknown = [name for name in config.variants if not (CONFIGS / f"{name}.yaml").is_file() or f"{name}.yaml" == BASE]
    if unknown:
        raise UserError(f"unknown variant {unknown[0]!r}: known are {', '.join(VARIANTS)}")
    plan = [(name, seed) for seed in config.seeds for name in config.variants]
    for name, seed in plan:
        load_config(arguments(config, name, seed))
    document = {"steps": config.steps, "seeds": list(config.seeds), "runs": []}
    for number, (name, seed) in enumerate(plan, start=1):
        print(f"study: run {number} of {len(plan)}: {name}, seed {seed}", flush=True)
        document["runs"].append(train_one(config, name, seed))
        write_table(config.out, document)
    return document


def arguments(config: StudyConfig, name: str, seed: int) -> list[str]:
    """Command line of training/train.py for one run."""
    given = {key: json.dumps(value) for key, value in config.train.items()}
    given |= {"data": config.data, "out": config.out / f"{name}-{seed}", "steps": config.steps, "seed": seed}
    chosen = [str(CONFIGS / BASE), str(CONFIGS / f"{name}.yaml")]
    if needs_teacher(name):
        given["teacher"] = config.teacher or config.out / "teacher"
    return [*chosen, *(f"{key}={value}" for key, value in given.items())]


def needs_teacher(name: str) -> bool:
    """Whether a variant has a term of LSCD."""
    return "lambda_cr" in (CONFIGS / f"{name}.yaml").read_text(encoding="utf-8")


def train_one(config: StudyConfig, name: str, seed: int) -> dict[str, Any]:
    """One run: read if it is finished, resumed if it was interrupted, else from the start."""
    folder = config.out / f"{name}-{seed}"
    command = [str(SCRIPTS / "train.py"), *arguments(config, name, seed)]
    finished = folder / "final.safetensors"
    if not finished.is_file():
        if needs_teacher(name) and config.teacher is None:
            make = ["cache_teacher.py", "teacher=text", f"data={config.data}", f"out={config.out / 'teacher'}"]
            run_script([str(SCRIPTS / make[0]), *make[1:]])
        run_script(command + (["resume=true"] if (folder / "last.pt").is_file() else []))
    provenance = read_metadata(finished)["provenance"]
    if provenance["steps"] != config.steps:
        raise UserError(f"{finished} had {provenance['steps']} steps, not {config.steps}: choose another out")
    shown = shown_command(arguments(config, name, seed))
    facts = {"minutes": provenance["minutes"], "results": provenance["results"]}
    return {"variant": name, "seed": seed, "command": shown} | facts


def run_script(command: Sequence[str]) -> None:
    """A script of this folder in a process of its own; UserError if it fails."""
    code = subprocess.call([sys.executable, *command])
    if code != 0:
        raise UserError(f"exit code {code} of: {shlex.join(['python', *command])}; the same study goes on from there")


def figures(results: dict[str, Any]) -> dict[str, float]:
    """COLUMNS of one run, as far as it has the sensors; mIoU in percent over the classes present."""
    table = {letters: row["miou_present"] for letters, row in results["subsets"].items()}
    own = {letters: table[letters] for letters in COLUMNS if letters in table}
    if len(table) == 15:
        own["mean of 15"] = results["subset_mean"]["miou_present"]
        own["steps lowered of 28"] = float(monotonicity(table)["lowered"])
    return own


def write_table(out: Path, document: dict[str, Any]) -> None:
    """study.json and study.md: mean and standard deviation over the seeds so far, and every command."""
    rows = []
    for name in dict.fromkeys(run["variant"] for run in document["runs"]):
        runs = [run for run in document["runs"] if run["variant"] == name]
        measured = [figures(run["results"]) for run in runs]
        cells = [spread([figure[column] for figure in measured if column in figure]) for column in COLUMNS]
        rows.append([name, str(len(runs)), *cells, f"{np.mean([run['minutes'] for run in runs]):.0f}"])
    headings = ["variant", "seeds", *COLUMNS, "minutes"]
    lines = [
        "# Study on the simulated drive", "",
        "mIoU in percent over the classes present in the truth of all val frames, protocol drop; "
        f"{document['steps']} steps each; mean and standard deviation over the seeds.", "",
        f"| {' | '.join(headings)} |", "| --- |" + " ---: |" * (len(headings) - 1),
        *(f"| {' | '.join(row)} |" for row in rows), "", "## Commands", "",
        *(f"    {run['command']}" for run in document["runs"]),
    ]  # fmt: skip
    for name, text in (("study.json", json.dumps(document, indent=1)), ("study.md", "\n".join(lines))):
        with replacing(out / name) as partial:
            partial.write_text(text + "\n", encoding="utf-8")


def spread(values: Sequence[float]) -> str:
    """``mean ± standard deviation`` over seeds; the value alone for one, empty for none."""
    if not values:
        return ""
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}"


def main(given: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    try:
        config = load_settings(StudyConfig, sys.argv[1:] if given is None else given)
        run_study(config)
    except UserError as error:
        print(f"study: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("study: stopped; the same command goes on from the last state saved", file=sys.stderr)
        return 130
    print((config.out / "study.md").read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
