"""What an evaluation of a fleet refuses, in one line, and leaves as it was."""

from __future__ import annotations

import errno
import json

import pyarrow.parquet as pq
import pytest
from fleet_files import engine_of, index, request_of, write_fleet
from raised import user_error
from untrained import write_checkpoint

from any2seg_core.base.atomic import only_one
from any2seg_core.faults.grammar import read_plan
from any2seg_core.fleet.evaluate import evaluate_fleet
from any2seg_core.fleet.store import FleetStore


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    """One recording, evaluated once."""
    store = write_fleet(tmp_path_factory.mktemp("refusals"), [0.5])
    request = request_of(store, subsets="all")
    evaluate_fleet(request, engine=engine_of(request))
    return store


def tree_of(store):
    return {path: path.read_bytes() for path in store.path.rglob("*") if path.is_file()} | {
        path: None for path in store.path.rglob("*") if path.is_dir()
    }


@pytest.mark.parametrize(("changes", "code", "said"), [
    ({"subsets": "all,X"}, "sensor-unknown", ("--subsets all,X", "X")),
    ({"subsets": "R,all"}, "value-conflict", ("evaluation model", "RDEL", "--name")),
    ({"every": 2, "subsets": "all"}, "value-conflict", ("every", "1", "2", "--name")),
    ({"faults": read_plan(["camera@0:1"]), "subsets": "all"}, "value-conflict", ("faults", "--name")),
    ({"name": "../x"}, "value-format", ("../x",)),
    ({"engine": "ray", "address": "127.0.0.1:9", "subsets": "all"}, "cluster-unreachable", ("127.0.0.1:9",)),
    ({"engine": "slurm", "subsets": "all"}, "value-unknown", ("--engine slurm", "local", "ray")),
    ({"address": "auto", "subsets": "all"}, "value-conflict", ("--address auto", "--engine ray")),
])  # fmt: skip
def test_exception_bad_options_leave_the_store_as_it_was(fleet, changes, code, said):
    if changes.get("engine") == "ray":
        pytest.importorskip("ray", reason="pip install 'any2seg[ray]'")
    before = tree_of(fleet)
    with user_error(code, *said):
        evaluate_fleet(request_of(fleet, **{"name": "model", **changes} if code == "value-conflict" else changes))
    assert tree_of(fleet) == before


def test_exception_another_checkpoint_under_the_same_name(fleet, tmp_path):
    before = tree_of(fleet)
    other = write_checkpoint(tmp_path / "other.safetensors", seed=1)
    with user_error("value-conflict", "model", "another checkpoint", "other.safetensors", "--name"):
        evaluate_fleet(request_of(fleet, name="model", checkpoint=other, subsets="all"))
    file = fleet.evaluation_folder("model") / "evaluation.json"
    document = json.loads(file.read_text())
    file.write_text(json.dumps(document | {"classes": document["classes"][:-1]}))
    with user_error("value-conflict", "24 classes", "25", "--name"):
        evaluate_fleet(request_of(fleet, name="model", checkpoint=other, subsets="all"))
    file.write_bytes(before[file])
    assert tree_of(fleet) == before


def test_exception_no_store(tmp_path):
    request = request_of(FleetStore(tmp_path / "none"))
    with user_error("store-missing", str(tmp_path / "none"), "any2seg fleet index"):
        evaluate_fleet(request)
    assert not (tmp_path / "none").exists()


def test_exception_two_runs_of_one_name(fleet):
    before = tree_of(fleet)
    request = request_of(fleet, subsets="all")
    with only_one(fleet.evaluation_folder("model") / ".lock", "evaluation model"), user_error("output-busy", "model"):
        evaluate_fleet(request, engine=engine_of(request))
    assert tree_of(fleet) == before


def test_exception_not_one_recording_could_be_judged(tmp_path):
    """A file that is not there any more is a failure of its own; of a fleet with no other it is the end."""
    store = write_fleet(tmp_path, [0.5])
    before = tree_of(store)
    (tmp_path / "drive_0").rename(tmp_path / "elsewhere")
    told = []
    request = request_of(store)
    with user_error("bag-missing", "1 recordings", str(tmp_path / "drive_0")):
        evaluate_fleet(request, told.append, engine=engine_of(request))
    assert len(told) == 1 and "drive_0" in told[0]
    assert tree_of(store) == before


def test_exception_a_full_disk_ends_the_run_and_keeps_what_is_finished(fleet, tmp_path, monkeypatch):
    bags = [fleet.path.parent / "drive_0"]
    for number in range(1, 3):
        bags.append(tmp_path / f"again_{number}")
        bags[-1].symlink_to(bags[0])
    store = index(FleetStore.create(tmp_path / "fleet"), bags)
    request = request_of(store, checkpoint=fleet.path.parent / "model.safetensors", subsets="all")
    write, written = pq.write_table, []

    def write_once(table, path, **options):
        if "parts" in str(path):
            written.append(path)
            if len(written) > 1:
                path.write_bytes(b"PAR1")  # as far as it went
                raise OSError(errno.ENOSPC, "No space left on device")
        write(table, path, **options)

    monkeypatch.setattr(pq, "write_table", write_once)
    with user_error("output-unwritable", "No space left on device"):
        evaluate_fleet(request, engine=engine_of(request))
    parts = store.evaluation_folder("model") / "parts"
    assert len(list(parts.iterdir())) == 1 and len(written) == 2
    monkeypatch.undo()
    result = evaluate_fleet(request, engine=engine_of(request))
    assert (result.kept, result.finished, result.failed) == (1, 2, 0)


def test_exception_whatever_a_recording_does_to_the_program_is_its_own_failure(fleet, monkeypatch):
    request = request_of(fleet, name="odd", subsets="all")
    engine = engine_of(request)
    monkeypatch.setattr("any2seg_core.evaluation.recording.run.open_bag", lambda *_: 1 / 0)
    before = tree_of(fleet)
    with user_error("recording-failed", "drive_0", "ZeroDivisionError"):
        evaluate_fleet(request, engine=engine)
    assert tree_of(fleet) == before
