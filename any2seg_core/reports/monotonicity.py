"""What a further sensor costs or brings, as rows of a table."""

from __future__ import annotations

from typing import Any

from any2seg_core.evaluation.monotonicity import TOLERATED_DROP

MONOTONICITY_NOTE = (
    "Error of the steps: the middle 95 % of 1000 draws of the frames with replacement (neighbours together in long "
    "recordings); its middle may lie above the figure, as noise makes some steps fall that do not."
)


def monotonicity_rows(steps: dict[str, Any] | None) -> list[tuple[str, str]]:
    """Rows (figure, value) of `monotonicity`; none where there is no step."""
    if not steps:
        return []
    violations = f"{steps['violations']} of {steps['steps']}"
    if "violations_std" in steps:
        span = f"{steps['violations_low']:.0f} to {steps['violations_high']:.0f}"
        violations += f", error {steps['violations_std']:.1f} ({span})"
    rows = [
        (f"steps at which one more sensor lowers mIoU by more than {TOLERATED_DROP:g} point", violations),
        ("steps at which one more sensor lowers mIoU", f"{steps['lowered']} of {steps['steps']}"),
        ("mean drop where it does, points", _number(steps["mean_drop"])),
        ("mean change of all steps, points", _number(steps["mean_change"])),
    ]
    for drop in steps["worst"]:
        span = f" ({drop['low']:.2f} to {drop['high']:.2f})" if "low" in drop else ""
        rows.append((f"drop: {drop['from']} + {drop['adding']}, points", _number(drop["change"]) + span))
    for sensor, change in steps["by_sensor"].items():
        rows.append((f"adding {sensor}, mean change in points", _number(change)))
    return rows


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
