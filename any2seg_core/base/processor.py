"""What this machine's processor can do."""

from __future__ import annotations

import platform
import re
from functools import lru_cache
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_TELLING = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "bf16", "sve")
_BFLOAT16 = {"amx_bf16", "avx512_bf16", "bf16"}  # the last one as ARM calls it


@lru_cache(maxsize=1)
def has_bfloat16() -> bool:
    """Whether the processor has instructions for products in bfloat16; True where the system does not say."""
    lines = _values("flags|Features")
    return not lines or any(_BFLOAT16 & set(line.split()) for line in lines)


def processor_name() -> str:
    """As the system calls it, such as "AMD EPYC 7B13"."""
    names = _values("model name|Hardware")
    return names[0].strip() if names else platform.processor() or platform.machine()


def instruction_sets() -> tuple[str, ...]:
    """Those that decide how fast a network is, as Linux calls them; empty where the system does not say."""
    known = set(" ".join(_values("flags|Features")).split())
    return tuple(name for name in _TELLING if name in known)


def _values(keys: str) -> list[str]:
    """Of all lines of /proc/cpuinfo with one of these keys."""
    try:
        text = _CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return re.findall(rf"^(?:{keys})\s*:(.*)$", text, re.M)
