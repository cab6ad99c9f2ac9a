"""A few seconds of each fuzzer with a fixed seed; `make fuzz` runs the whole of it."""

import random
import struct
from pathlib import Path

import fuzz_run
import fuzz_worker
import pytest

from any2seg_core.base.errors import UserError

COUNTS = {"messages": 1500, "files": 300, "yaml": 300, "bags": 40, "checkpoints": 6}


@pytest.mark.parametrize("kind", COUNTS)
def test_property_damaged_inputs_end_in_a_result_or_a_user_error(kind):
    outcome = fuzz_run.run_kind(kind, COUNTS[kind], seed=1, say=lambda text: None)
    assert outcome.broken == [] and outcome.inputs == COUNTS[kind] and outcome.read > 0, fuzz_run.table([outcome])


def test_value_an_input_is_made_again_from_its_seed_and_index():
    first, again, other = (fuzz_worker.rng_of(3, "messages", index).random() for index in (5, 5, 6))
    assert first == again != other


class _Reads:
    def __init__(self, act) -> None:
        self._act = act

    def one(self, _rng) -> bool:
        return self._act()


def test_value_the_judge_tells_what_rule_was_broken():
    def fails() -> bool:
        raise struct.error("unpack")

    def tells() -> bool:
        raise UserError("two\nlines", "file-format")

    rng = random.Random(0)
    assert fuzz_worker.judge(_Reads(lambda: True), rng) == ("read", "")
    assert fuzz_worker.judge(_Reads(lambda: False), rng) == ("refused", "")
    verdict, text = fuzz_worker.judge(_Reads(fails), rng)
    assert verdict == "traceback" and text.startswith("error: unpack at ") and "test_fuzz.py" in text
    assert fuzz_worker.judge(_Reads(tells), rng)[0] == "several lines"
    assert fuzz_worker.judge(_Reads(lambda: bool(bytearray(b"x") * 320_000_000)), rng)[0] == "memory"


def test_value_a_process_that_dies_names_its_input_and_the_rest_goes_on(monkeypatch, tmp_path):
    dying = tmp_path / "dying.py"
    dying.write_text(
        "import os\nclass Dies:\n"
        "    def __init__(self, folder): pass\n"
        "    def one(self, rng):\n"
        "        if rng.random() < 0.2: os.abort()\n"
        "        return True\n"
    )
    script = (tmp_path / "fuzz_worker.py").write_text(
        Path(fuzz_worker.__file__).read_text()
        .replace('"messages": "messages:Messages"', '"messages": "dying:Dies"')
        .replace("range(_WARM_UP.get(name, 8))", "range(0)")
        .replace("HERE = Path(__file__).resolve().parent", f"HERE = Path({str(Path(fuzz_worker.__file__).parent)!r})")
        .replace("sys.path[:0] = [str(HERE)", f"sys.path[:0] = [{str(tmp_path)!r}, str(HERE)")
    )
    assert script
    monkeypatch.setattr(fuzz_run, "HERE", tmp_path)
    expected = [index for index in range(12) if fuzz_worker.rng_of(4, "messages", index).random() < 0.2]
    outcome = fuzz_run.run_kind("messages", 12, seed=4, say=lambda text: None)
    assert [(each["index"], each["rule"]) for each in outcome.broken] == [(index, "died") for index in expected]
    assert expected and "--kind messages --seed 4 --index" in fuzz_run.table([outcome])
