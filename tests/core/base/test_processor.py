"""What /proc/cpuinfo says of a processor."""

from __future__ import annotations

import pytest

from any2seg_core.base import processor

X86 = "processor\t: 0\nmodel name\t: x\nflags\t\t: fpu avx2 {}\n"


@pytest.fixture
def cpuinfo(tmp_path, monkeypatch):
    monkeypatch.setattr(processor, "_CPUINFO", tmp_path / "cpuinfo")
    processor.has_bfloat16.cache_clear()
    yield tmp_path / "cpuinfo"
    processor.has_bfloat16.cache_clear()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (X86.format(""), False),
        (X86.format("avx512_bf16"), True),
        (X86.format("amx_bf16 amx_tile"), True),
        (X86.format("avx512_bf16_like"), False),
        ("Features\t: fp asimd bf16\n", True),
        ("Features\t: fp asimd\n", False),
        ("hart\t: 0\nisa\t: rv64\n", True),
    ],
)
def test_value_flags_of_the_processor(cpuinfo, text, expected):
    cpuinfo.write_text(text)
    assert processor.has_bfloat16() is expected


def test_value_a_system_that_does_not_say_is_not_judged(cpuinfo):
    assert processor.has_bfloat16() is True


def test_value_name_and_instruction_sets(cpuinfo):
    cpuinfo.write_text(X86.format("fma avx512_bf16 sse2"))
    assert processor.processor_name() == "x"
    assert processor.instruction_sets() == ("avx2", "fma", "avx512_bf16")


def test_value_of_a_system_that_does_not_say_nothing_is_made_up(cpuinfo):
    assert processor.instruction_sets() == () and processor.processor_name()
