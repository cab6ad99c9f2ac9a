"""Functions in machine code: numba comes with the first call, and what they name is compiled with them."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

FIRST = """
import numpy as np
from any2seg_core.base.compiled import compiled

@compiled()
def doubled(x):
    return 2 * x

@compiled(error_model="numpy")
def inverse(x):
    return 1.0 / doubled(x)
"""
SECOND = """
from first import doubled, inverse
from any2seg_core.base.compiled import compiled

@compiled()
def both(x):
    return doubled(x) + inverse(x)
"""
PROGRAM = """
import sys
import first, second
assert "numba" not in sys.modules
{calls}
from numba.core.dispatcher import Dispatcher
assert isinstance(first.doubled, Dispatcher) and isinstance(second.both, Dispatcher), (first.doubled, second.both)
assert second.doubled is first.doubled and second.inverse is first.inverse
print(first.doubled(3), first.inverse(0.0), second.both(2.0), len(first.doubled.signatures))
"""


@pytest.mark.parametrize(
    "calls",
    [
        "second.both(2.0); first.doubled(1)",
        "first.doubled(1); first.inverse(1.0); second.both(2.0)",
        "early = first.inverse; first.doubled(1); early(2.0); second.both(1.0)",
        "first.doubled.signatures; second.both(1.0)",
    ],
)
def test_value_functions_of_two_modules_in_any_order(tmp_path, calls):
    (tmp_path / "first.py").write_text(FIRST)
    (tmp_path / "second.py").write_text(SECOND)
    program = f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n" + PROGRAM.format(calls=calls)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[:3] == ["6", "inf", "4.25"]


def test_value_many_threads_call_first_at_once():
    program = """
import numpy as np
from concurrent.futures import ThreadPoolExecutor
from any2seg_core.kernels.fusion import inner_products, weigh_and_select
tokens, there = np.ones((1, 2, 3, 4), np.float32), np.ones((1, 2), bool)
weights, products = np.full((1, 2), 0.5, np.float32), inner_products(tokens, there).local
with ThreadPoolExecutor(8) as pool:
    found = list(pool.map(lambda _: weigh_and_select(tokens, there, weights, products, 0.5, 0.5), range(8)))
print(sum(float(each.sum()) for each in found))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert done.stdout == f"{8 * np.ones((3, 4)).sum()}\n", done.stderr
