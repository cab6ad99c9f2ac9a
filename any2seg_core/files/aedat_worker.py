"""AEDAT4 -> columns of events, in a process of its own: on damaged files the decoder aborts instead of raising.

    python -m any2seg_core.files.aedat_worker FILE.aedat4 MOST_BYTES OUT.npz
"""

from __future__ import annotations

import resource
import sys
from typing import Any

import numpy as np

_OWN_BYTES = 1 << 30  # what Python, NumPy and the decoder take by themselves
_BYTES_PER_EVENT = 13


def _columns(path: str, most_bytes: int) -> dict[str, Any]:
    import aedat

    decoder = aedat.Decoder(path)
    streams = {key: stream for key, stream in decoder.id_to_stream().items() if stream.get("type") == "events"}
    if len(streams) != 1:
        raise ValueError(f"it holds {len(streams)} streams of events, not one")
    ((key, stream),) = streams.items()
    parts, count = [], 0
    for packet in decoder:
        if packet.get("stream_id") == key:
            parts.append(packet["events"])
            count += len(parts[-1])
            if count * _BYTES_PER_EVENT > most_bytes:
                raise ValueError(f"it holds more than {most_bytes} bytes of events")
    events = np.concatenate(parts) if parts else np.empty(0, [(name, "u2") for name in ("t", "x", "y", "p")])
    size = np.array([stream["height"], stream["width"]])
    return {name: events[name] for name in ("t", "x", "y", "p")} | {"size": size}


def main() -> None:
    path, most_bytes, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    resource.setrlimit(resource.RLIMIT_AS, (_OWN_BYTES + 4 * most_bytes,) * 2)
    try:
        columns = _columns(path, most_bytes)
    except ImportError:
        raise SystemExit(3) from None
    except BaseException as error:  # a panic of the decoder is no Exception
        sys.stderr.write(f"\n{' '.join(str(error).split())}")
        raise SystemExit(1) from None
    np.savez(out, **columns)


if __name__ == "__main__":
    main()
