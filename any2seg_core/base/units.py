"""Units. Times inside the core are integer nanoseconds."""

from datetime import datetime, timezone

NS_PER_S = 1_000_000_000


def duration_text(duration_ns: int) -> str:
    """A duration for people, in the unit that suits it: "1.2 s", "8.0 h", "30.0 days"."""
    seconds = duration_ns / NS_PER_S
    if seconds < 3600:
        return f"{seconds:.1f} s"
    return f"{seconds / 3600:.1f} h" if seconds < 86400 else f"{seconds / 86400:.1f} days"


def utc_text(time_ns: int) -> str:
    """A moment for people: "2026-03-02 07:30:00 UTC"; of a number that is no date its nanoseconds."""
    try:
        return datetime.fromtimestamp(time_ns / NS_PER_S, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return f"{time_ns} ns"


def share_of(value: object) -> float:
    """``10%`` or 0.1 -> 0.1; ValueError for what is no number."""
    if isinstance(value, str) and value.strip().endswith("%"):
        return float(value.strip()[:-1]) / 100
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"expected a share such as 0.1 or 10%, got {value!r}")
    return float(value)
