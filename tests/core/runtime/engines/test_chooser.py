"""Which engine `auto` takes, what it remembers, and what of a damaged memory: engines and times are the test's own."""

from __future__ import annotations

import json
import logging

import pytest
from fake_engines import KEY, chooser
from raised import user_error

from any2seg_core.base.errors import UserError
from any2seg_core.runtime.engines.chooser import report
from any2seg_core.runtime.engines.memory import EngineMemory, forget_engines, machine_key

MISSING = {"openvino": UserError("pip install 'any2seg[openvino]'", "package-missing")}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ANY2SEG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize(
    ("seconds", "shares", "expected"),
    [
        ({"cpu": 1.0, "a": 0.5, "b": 0.7}, {}, "a"),
        ({"cpu": 1.0, "a": 0.96, "b": 2.0}, {}, "cpu"),  # 5 % is the least that counts
        ({"cpu": 1.0, "a": 0.94}, {}, "a"),
        ({"cpu": 1.0, "a": 0.5, "b": 0.7}, {"a": 0.0011}, "b"),
        ({"cpu": 1.0, "a": 0.5}, {"a": 0.001}, "a"),
        ({"cpu": 1.0, "a": 0.1}, {"a": 1.0}, "cpu"),
        ({"eager": 1.0}, {}, "eager"),
    ],
)
def test_value_auto_takes_the_fastest_that_passes_and_gains(monkeypatch, seconds, shares, expected):
    document = report(chooser(monkeypatch, seconds, shares, MISSING))
    assert document["engine"] == expected
    first = next(iter(seconds))
    for name, each in document["measured"].items():
        assert each["ratio"] == pytest.approx(seconds[name] / seconds[first])
        assert each["ms"] == pytest.approx(1e3 * seconds[name])
    passed = {name for name in seconds if shares.get(name, 0.0) <= 0.001}
    assert set(document["measured"]) == passed
    assert set(document["missing"]) == {"openvino", *seconds} - passed
    assert "pip install" in document["missing"]["openvino"]


def test_value_the_choice_is_remembered_and_nothing_is_measured_again(monkeypatch):
    assert chooser(monkeypatch, {"cpu": 1.0, "a": 0.5}, {}, MISSING).fastest().name == "a"
    made = []
    again = chooser(monkeypatch, {"cpu": 1.0, "a": 5.0}, {"a": 1.0}, MISSING, made=made)
    assert again.fastest().name == "a" and made == ["cpu", "a"]
    other = chooser(monkeypatch, {"cpu": 1.0, "a": 5.0}, {}, MISSING, key={**KEY, "threads": 2})
    assert other.fastest().name == "cpu"
    assert forget_engines() and not forget_engines()
    assert chooser(monkeypatch, {"cpu": 1.0, "a": 5.0}).fastest().name == "cpu"


@pytest.mark.parametrize(
    "damage",
    [
        "", "{", "[]", "null", '{"key": {}}', '{"key": 3, "chosen": "a"}', '{"chosen": ["a"]}', '"\ud800"',
        json.dumps({"key": KEY, "chosen": "a", "measured": {"a": {"version": "1", "ms": -1, "ratio": 1, "share": 0}}}),
        json.dumps({"key": {**KEY, "model": "other"}, "chosen": "b"}),
        json.dumps({"key": KEY, "chosen": "b", "more": 1}), "[" * 5000,
    ],
)  # fmt: skip
def test_value_a_damaged_or_foreign_memory_is_measured_anew(monkeypatch, cache, damage):
    engines = {"cpu": 1.0, "a": 0.5, "b": 0.9}
    assert chooser(monkeypatch, engines).fastest().name == "a"
    (path,) = cache.rglob("*.json")
    path.write_bytes(damage.encode("utf-8", "surrogatepass"))
    assert chooser(monkeypatch, engines | {"b": 0.1}).fastest().name == "b"
    assert json.loads(path.read_text())["chosen"] == "b"


@pytest.mark.parametrize("place", ["a file", "no folder", "below a file"])
def test_value_a_cache_that_cannot_be_written_is_no_error(monkeypatch, tmp_path, place):
    (tmp_path / "taken").write_text("")
    if place == "no folder":
        monkeypatch.setenv("ANY2SEG_CACHE", "")
        monkeypatch.setenv("XDG_CACHE_HOME", "")
        monkeypatch.setattr("os.path.expanduser", lambda path: path)
    else:
        monkeypatch.setenv("ANY2SEG_CACHE", str(tmp_path / "taken" / ("" if place == "a file" else "x")))
    document = report(chooser(monkeypatch, {"cpu": 1.0, "a": 0.5}, {"a": 0.0005}))
    assert document["engine"] == "a" and document["measured"]["a"]["share"] == 0.0005
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_value_an_engine_chosen_before_that_is_gone_is_passed_over(monkeypatch, caplog):
    assert chooser(monkeypatch, {"cpu": 1.0, "a": 0.5}).fastest().name == "a"
    gone = {"a": UserError("no more", "package-missing")}
    with caplog.at_level(logging.WARNING):
        assert chooser(monkeypatch, {"cpu": 1.0}, {}, gone).fastest().name == "cpu"
    assert "no more" in caplog.text and "cpu runs" in caplog.text


def test_value_what_takes_minutes_is_measured_only_after_it_was_named(monkeypatch):
    engines = {"cpu": 1.0, "compile": 0.5}
    document = report(chooser(monkeypatch, engines, slow=("compile",)))
    assert document["engine"] == "cpu" and "runtime compile" in document["missing"]["compile"]
    assert chooser(monkeypatch, engines, slow=("compile",)).named("compile").name == "compile"
    assert chooser(monkeypatch, engines, slow=("compile",)).fastest().name == "compile"


def test_exception_an_engine_of_other_labels_is_named_with_its_share(monkeypatch):
    with user_error("runtime-unsuitable", "runtime a", "1.25%", "0.1%", "noise"):
        chooser(monkeypatch, {"cpu": 1.0, "a": 0.5}, {"a": 0.0125}).named("a")
    with user_error("package-missing", "pip install"):
        chooser(monkeypatch, {"cpu": 1.0}, {}, MISSING).named("openvino")


def test_value_a_proof_is_remembered(monkeypatch):
    assert chooser(monkeypatch, {"cpu": 1.0, "a": 0.5}).named("a").name == "a"
    assert chooser(monkeypatch, {"cpu": 1.0, "a": 0.5}, {"a": 1.0}).named("a").name == "a"
    with user_error("runtime-unsuitable", "runtime a"):
        chooser(monkeypatch, {"cpu": 1.0, "a": 0.5}, {"a": 1.0}, key={**KEY, "model": "other"}).named("a")


def test_value_the_key_changes_with_all_that_a_time_depends_on(monkeypatch):
    first = machine_key("m", (64, 96), "float32", "cpu")
    keys = [
        machine_key("n", (64, 96), "float32", "cpu"), machine_key("m", (96, 64), "float32", "cpu"),
        machine_key("m", (64, 96), "bfloat16", "cpu"), machine_key("m", (64, 96), "float32", "GPU"),
    ]  # fmt: skip
    changes = {"thread_count": 7, "processor_name": "x", "instruction_sets": ("sse",), "installed": {"openvino": "9"}}
    for name, value in changes.items():
        with monkeypatch.context() as patch:
            patch.setattr(f"any2seg_core.runtime.engines.memory.{name}", lambda *_, value=value: value)
            keys.append(machine_key("m", (64, 96), "float32", "cpu"))
    assert first not in keys and machine_key("m", (64, 96), "float32", "cpu") == first
    assert {"any2seg", "torch", "numpy"} <= set(first["versions"])
    EngineMemory(keys[0]).write(EngineMemory(keys[0]).read().model_copy(update={"chosen": "a"}))
    assert EngineMemory(keys[0]).read().chosen == "a" and EngineMemory(first).read().chosen == ""
