"""Limits: defaults, the variable that raises them, and what they allow."""

import os
import subprocess
import sys

from raised import user_error

from any2seg_core.base.limits import VARIABLE, Limits, limits, limits_of, parse_limits, require_room


def test_value_small_inputs_get_the_floor_and_large_ones_their_ratio():
    allowed = Limits(result_mib=3, ratio=10, recording_mib=5, recording_ratio=7)
    assert allowed.result_bytes(0) == allowed.result_bytes(100) == 3 * 2**20
    assert allowed.result_bytes(2**20) == 10 * 2**20
    assert allowed.recording_bytes(1) == 5 * 2**20 and allowed.recording_bytes(2**20) == 7 * 2**20


def test_value_no_default_lets_less_than_a_megabyte_take_300():
    assert Limits().result_bytes(10**6) * 3 < 306e6  # what is decoded, a copy of it, and its bytes


def test_value_variable_raises_limits_of_a_program():
    code = "from any2seg_core.base.limits import limits; print(limits().result_mib, limits().text_nodes)"
    environment = {**os.environ, VARIABLE: "result_mib=400, text_nodes=7"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["400", "7"]


def test_exception_variable_names_the_pair_at_fault():
    for text in ("result_mib", "result_mib=", "result_mib=-1", "what=3", "ratio=1e9", "ratio=²", "ratio=99999999999"):
        with user_error("value-format", VARIABLE, text):
            parse_limits(text)
    with user_error("value-range", "ratio=0"):
        parse_limits("ratio=0")
    assert parse_limits("") == Limits()


def test_value_other_limits_hold_for_a_while_only():
    before = limits()
    with user_error("limit-exceeded", "a picture", "5 bytes", "2 MiB", "ANY2SEG_LIMITS=result_mib"), limits_of(
        result_mib=1
    ):
        require_room(2 * 2**20, 5, "a picture")
    require_room(2 * 2**20, 5, "a picture")
    assert limits() == before
