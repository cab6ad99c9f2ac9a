"""Does the node stay as it is, however long it runs? `make soak`, or python tests/soak/soak_run.py --help.

Offline, many frames go through the node's callbacks; live, the node runs over DDS while its sensors die and come back.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE)]

import live  # noqa: E402
import numpy as np  # noqa: E402
import offline  # noqa: E402
import typer  # noqa: E402
from soak_report import write_report  # noqa: E402
from trend import Trend  # noqa: E402

PERCENTILES = (50.0, 99.0, 99.9, 100.0)


def trend_table(title: str, unit: str, trends: list[Trend]) -> str:
    """Rows of measured values with their slopes."""
    lines = [
        f"| {title} | first | last | slope per {unit} | standard error | bound | verdict |",
        "|---|" + 5 * "---:|" + "---|",
    ]
    for each in trends:
        numbers = f"{each.first:.1f} | {each.last:.1f} | {each.slope:+.3f} | {each.error:.3f} | {each.bound:g}"
        lines.append(f"| {each.name} | {numbers} | {'flat' if each.is_flat else 'GROWS'} |")
    return "\n".join(lines)


def storm_table(storm: live.Storm) -> str:
    """Latencies, gaps and what became of the promise."""
    lines = ["| live, ms | " + " | ".join(f"p{percent:g}" for percent in PERCENTILES[:-1]) + " | longest |"]
    lines.append("|---|" + len(PERCENTILES) * "---:|")
    rows = {"latency": storm.latency_ms, "of it the model": storm.inference_ms, "label to label": storm.gap_ms}
    for name, values in rows.items():
        found = np.nanpercentile(values, PERCENTILES) if np.isfinite(values).any() else [float("nan")] * 4
        lines.append(f"| {name} | {' | '.join(f'{value:.1f}' for value in found)} |")
    lines.append(
        f"{len(storm.gap_ms) + 1} labels, {storm.kills} kills, {len(storm.broken)} labels later than promised, "
        f"{storm.tracebacks} tracebacks"
    )
    for index in storm.broken[:10]:
        lines.append(
            f"at {storm.at_s[index]:.1f} s: {storm.gap_ms[index]:.0f} ms without a label, promised "
            f"{storm.bound_ms[index]:.0f}; before {storm.used[index - 1]}, then {storm.used[index]}"
        )
        lines += [f"  diagnostics: {text}" for text in storm.told_during(index)]
    return "\n".join(lines)


def main(
    frames: Annotated[int, typer.Option(help="Frames offline; 0: none.")] = 200_000,
    minutes: Annotated[float, typer.Option(help="Minutes live; 0: none.")] = 30.0,
    seed: Annotated[int, typer.Option(help="Which sensors die when.")] = 0,
    checkpoint: Annotated[Path, typer.Option(help="Model of the live node.")] = live.CHECKPOINT,
    folder: Annotated[Path, typer.Option(help="Where report.html goes.")] = Path("runs/soak"),
    out: Annotated[Path | None, typer.Option("--json", help="Also write all that was measured as JSON.")] = None,
) -> None:
    """Exit code 1 when something grows, a label came later than promised or the node logged a traceback."""
    document, is_good = {"frames": frames, "minutes": minutes, "seed": seed}, True
    curve, storm = [], None
    if frames:
        curve = offline.run(frames, lambda text: print(text, flush=True))
        trends = offline.trends(curve)
        print(trend_table("offline", "100,000 frames", trends), flush=True)
        document["offline"] = {"curve": curve, "trends": [asdict(each) for each in trends]}
        is_good &= all(each.is_flat for each in trends)
    if minutes:
        storm = live.run(60.0 * minutes, seed, checkpoint, lambda text: print(text, flush=True))
        trends = storm.trends()
        print(trend_table("live", "hour", trends))
        print(storm_table(storm), flush=True)
        document["live"] = {**asdict(storm), "trends": [asdict(each) for each in trends]}
        is_good &= all(each.is_flat for each in trends) and not storm.broken and not storm.tracebacks
    print(f"report: {write_report(folder, curve, storm)}")
    if out is not None:
        out.write_text(json.dumps(document) + "\n")
    raise typer.Exit(int(not is_good))


if __name__ == "__main__":
    typer.run(main)
