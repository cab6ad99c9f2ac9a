from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import torch
from any2seg_core.base.allocator import keep_freed_memory
from any2seg_core.models import Any2Seg
if sys.argv[1] == "keep":
    assert keep_freed_memory()
model = Any2Seg().eval()
images = {name: torch.zeros(1, 3, 256, 256) for name in model.modalities}
def faults(runs):
    with torch.inference_mode():
        for _ in range(runs):
            model(images)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
before = faults(3)
print(faults(5) - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc only")
def test_value_forward_passes_no_longer_fault_their_pages_in():
    """The kernel's own count of page faults, with and without; a process each, as the setting cannot be undone."""
    faults = {}
    for mode in ("default", "keep"):
        command = [sys.executable, "-c", PROGRAM, mode]
        faults[mode] = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert faults["keep"] < 0.5 * faults["default"]


def test_value_what_lives_is_not_looked_at_again_and_what_dies_before_the_call_is_freed():
    """In a process of its own: freezing holds for all of it."""
    program = """
import gc, weakref
from any2seg_core.base.allocator import collect_and_freeze
class Node: pass
def ring():
    node = Node()
    node.self = node
    return node
gc.disable()
dead, kept = weakref.ref(ring()), ring()
collect_and_freeze()
assert dead() is None
assert gc.get_freeze_count() > 1000 and not any(each is kept for each in gc.get_objects())
late = weakref.ref(ring())
known = weakref.ref(kept)
del kept
gc.collect()
assert late() is None and known() is not None
collect_and_freeze()
assert known() is None
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
