"""A measured document that nobody measured."""

from __future__ import annotations

import pytest

from any2seg_core.bench.document import BenchDocument, Conditions, Machine, Part, Row, Share


@pytest.fixture
def document() -> BenchDocument:
    rows = (
        Row(case="R", median=2.0, least=1.5, wall=2.5, spread=0.33, turns=5, line="alone", x=1,
            shares={"RD": Share(median=0.5, least=0.4, largest=0.6)}),
        Row(case="RD", median=4.0, least=3.0, turns=5, line="alone", x=2),
    )  # fmt: skip
    memory = Row(case="peak memory", unit="MB", clock="", median=500, least=499)
    return BenchDocument(
        date="2026-11-30T05:00:00+00:00", command="any2seg bench", commit="abc", versions={"numpy": "2"},
        machine=Machine(processor="Example 1", instruction_sets=("avx2",), cores=2, memory_gb=8),
        conditions=Conditions(model="m", device="cpu", precision="float32", engine="cpu", input_size=(64, 96),
                              threads=1, quick=True, load_before=0.1, load_after=0.2),
        parts=(Part(name="sensors", title="by sensors", x_title="sensors", rows=rows),
               Part(name="bag", title="a bag", rows=(memory,), notes=("no | recording",))),
        notes=("a doubt",),
    )  # fmt: skip
