"""Units. Times inside the core are integer nanoseconds."""

NS_PER_S = 1_000_000_000


def duration_text(duration_ns: int) -> str:
    """A duration for people, in the unit that suits it: "1.2 s", "8.0 h", "30.0 days"."""
    seconds = duration_ns / NS_PER_S
    if seconds < 3600:
        return f"{seconds:.1f} s"
    return f"{seconds / 3600:.1f} h" if seconds < 86400 else f"{seconds / 86400:.1f} days"
