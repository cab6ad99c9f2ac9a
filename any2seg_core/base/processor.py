"""What this machine's processor can do."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_BFLOAT16 = {"amx_bf16", "avx512_bf16", "bf16"}  # the last one as ARM calls it


@lru_cache(maxsize=1)
def has_bfloat16() -> bool:
    """Whether the processor has instructions for products in bfloat16; True where the system does not say."""
    try:
        text = _CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True
    lines = re.findall(r"^(?:flags|Features)\s*:(.*)$", text, re.M)
    return not lines or any(_BFLOAT16 & set(line.split()) for line in lines)
