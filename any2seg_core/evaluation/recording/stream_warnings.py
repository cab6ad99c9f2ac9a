"""What the messages of a recording were, after all of them have passed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from any2seg_core.bags.extrinsics import left_out_notes
from any2seg_core.bags.pauses import Pause
from any2seg_core.bags.sets import SetStream


def stream_warnings(stream: SetStream, pauses: Iterable[Pause], start_ns: int, told: Sequence[str]) -> list[str]:
    """One line each: pauses, messages that could not be used, changes of cameras, transforms that were left out.

    Args:
        start_ns: log time of the first message. told: lines that stand elsewhere and need not be said again.
    """
    lines = [f"{pause.text(start_ns)}: nothing is missed there" for pause in pauses]
    lines += [
        f"{name}: {stream.bad[name]} messages could not be used, the last because: {why}"
        for name, why in stream.reasons.items()
    ]
    lines += stream.notes(start_ns)
    text = " ".join(told)
    untold = Counter({line: count for line, count in stream.left_out.items() if line not in text})
    return [*lines, *left_out_notes(untold)]
