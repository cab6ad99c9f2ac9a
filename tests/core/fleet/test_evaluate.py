"""An evaluation of a fleet against `bag evaluate` of each recording, cut and whole, ended and begun again."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from fleet_files import columns_noted, engine_of, frames_of, index, request_of, write_fleet
from raised import user_error
from store_tables import IDS

from any2seg_core.evaluation.recording.evaluate import evaluate_bag
from any2seg_core.faults.grammar import read_plan
from any2seg_core.fleet.evaluate import evaluate_fleet
from any2seg_core.fleet.indexing import index as index_fleet
from any2seg_core.fleet.sources import find_sources
from any2seg_core.fleet.store import FleetStore
from any2seg_core.fleet.tasks import part_path

PLAN = read_plan(["camera@0.5:0.9,lidar@0.7:"], [])


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    return write_fleet(tmp_path_factory.mktemp("fleet"), [1.3, 0.8])


def evaluated(request, **options):
    return evaluate_fleet(request, engine=options.pop("engine", None) or engine_of(request), **options)


@pytest.fixture(scope="module")
def whole(fleet):
    """A finished evaluation with faults."""
    result = evaluated(request_of(fleet, name="whole", faults=PLAN))
    return result, frames_of(fleet, "whole")


def percent(share):
    return None if share is None else 100 * share


def test_value_rows_are_the_lines_of_bag_evaluate(fleet, whole, tmp_path):
    result, table = whole
    assert (result.finished, result.failed, result.rows) == (2, 0, len(table))
    for number in range(2):
        request = request_of(fleet, faults=PLAN).of_recording(fleet.path.parent / f"drive_{number}")
        evaluate_bag(replace(request, out=tmp_path / str(number)))
        _, *lines = map(json.loads, (tmp_path / str(number) / "frames.jsonl").read_text().splitlines())
        rows = [row for row in table.to_pylist() if row["recording_id"] == IDS[number]]
        assert [row["stamp_ns"] for row in rows] == [line["stamp_ns"] for line in lines]
        for row, line in zip(rows, lines, strict=True):
            assert row["used"] == line["used"]
            assert {text.split(": ")[0] for text in row["missing"]} == set(line["missing"])
            everything = line["subsets"]["RDEL"]
            for name, key in (("confidence", "confidence"), ("flicker", "flicker"), ("miou", "miou_present")):
                assert percent(row[name]) == pytest.approx(everything[key], abs=6e-4)
            for letters in ("R", "DL", "RDEL"):
                agreement = line["subsets"][letters]["agreement"]
                assert percent((row["agreement"] or {}).get(letters)) == pytest.approx(agreement, abs=6e-4)
            told = {name: score for name, score in row["reliability"].items() if score is not None}
            assert told == pytest.approx({name: each["score"] for name, each in line["reliability"].items()}, abs=6e-4)
            if row["used"]:
                assert np.linalg.norm(np.float64(row["embedding"])) == pytest.approx(1.0, abs=2e-3)
            else:
                assert row["embedding"] is None


def test_value_a_cut_recording_has_the_same_bytes(fleet, whole):
    request = request_of(fleet, name="cut", faults=PLAN, cut_s=0.3)
    engine = engine_of(request)
    assert evaluated(request, engine=engine).finished == 2
    assert len(engine.done) == 5 + 1 + 3 + 1  # parts of 0.3 s, and their joining
    for each in IDS[:2]:
        parts = [fleet.evaluation_folder(name) / "parts" / f"{each}.parquet" for name in ("whole", "cut")]
        assert parts[0].read_bytes() == parts[1].read_bytes()
    assert not (fleet.evaluation_folder("cut") / "cut").exists()


@pytest.mark.parametrize(("cut_s", "tasks"), [(0.0, 1), (0.3, 4)])
def test_value_what_is_finished_is_not_done_again(fleet, whole, cut_s, tasks):
    """As after kill -9: the run ends in the middle, and leaves what a writer had begun."""
    name = f"ended_{tasks}"
    request = request_of(fleet, name=name, faults=PLAN, cut_s=cut_s)
    done = 0

    def end_after(task):
        nonlocal done
        done += 1
        if done > tasks:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluated(request, engine=engine_of(request, end_after))
    folder = fleet.evaluation_folder(name)
    assert json.loads((folder / "evaluation.json").read_text())["state"] == "running"
    (folder / "parts").mkdir(exist_ok=True)
    left = folder / "parts" / f".{IDS[1]}.99.partial.parquet"
    left.write_bytes(b"PAR1")
    engine, shown = engine_of(request), []
    result = evaluated(request, engine=engine, show=lambda title, done, total: shown.append((done, total)))
    assert len(engine.done) == {1: 1, 4: 6}[tasks]
    (first, total), (last, _) = shown[0], shown[-1]
    assert (first, last) == (0.0, pytest.approx(total)) and {each for _, each in shown} == {total}
    assert result.kept + result.finished == 2
    assert frames_of(fleet, name).equals(whole[1])
    assert not left.exists()
    assert json.loads((folder / "evaluation.json").read_text())["state"] == "finished"
    assert evaluated(request).document() | {"lost": 0} == result.document() | {"finished": 0, "kept": 2}


def test_value_a_recording_that_fails_costs_itself(fleet, tmp_path):
    """Broken ones are left out; a missing file is a row of failures, and is tried again."""
    store = FleetStore.create(tmp_path / "fleet")
    bags = [fleet.path.parent / f"drive_{number}" for number in range(2)]
    index(store, bags)
    table = store.recordings().to_pylist()
    table[0] |= {"url": str(tmp_path / "gone")}
    why = {"state": "broken", "code": "bag-format", "reason": "/x: cut off"}
    table.append(table[1] | {"recording_id": IDS[7], "url": "/x"} | why)
    store.write_index(store.recordings().from_pylist(table, store.recordings().schema), store.topics())
    request = request_of(store, checkpoint=fleet.path.parent / "model.safetensors", subsets="all")
    told = []
    result = evaluated(request, tell=told.append)
    assert (result.finished, result.failed, result.broken) == (1, 1, 1)
    assert [line.split(":")[0] for line in told] == ["left out", "failed"]
    [failure] = pq.read_table(store.evaluation_folder("model") / "failures.parquet").to_pylist()
    assert (failure["recording_id"], failure["code"]) == (IDS[0], "bag-missing")
    (tmp_path / "gone").symlink_to(bags[0])
    assert evaluated(request).finished == 1
    assert pq.read_table(store.evaluation_folder("model") / "failures.parquet").num_rows == 0


def test_value_frames_of_another_recording_in_its_place_are_not_counted(fleet, tmp_path):
    bags = [tmp_path / "bags" / name for name in ("a", "b")]
    for bag, number in zip(bags, (0, 1), strict=True):
        shutil.copytree(fleet.path.parent / f"drive_{number}", bag)
    index_fleet(tmp_path / "fleet", [str(tmp_path / "bags")])
    bags[0].rename(tmp_path / "bags" / "c")
    bags[1].rename(bags[0])
    (tmp_path / "bags" / "c").rename(bags[1])
    store, told = FleetStore.open(tmp_path / "fleet"), []
    request = request_of(store, checkpoint=fleet.path.parent / "model.safetensors", subsets="all")
    with user_error("recording-changed", "2 recordings", bags[0]):
        evaluated(request, tell=told.append)
    assert len(told) == 2 and not store.finished("model")
    index_fleet(store.path, [str(tmp_path / "bags")])
    (bags[0] / "notes.yaml").write_text("a: 1\n")  # its time changes, its content does not
    assert evaluated(request).finished == 2


def test_value_a_recording_at_a_url_is_judged_from_a_copy(fleet, tmp_path):
    fsspec = pytest.importorskip("fsspec", reason="pip install 'any2seg[remote]'")
    (file,) = (fleet.path.parent / "drive_1").glob("*.mcap")
    memory = fsspec.filesystem("memory")
    for path in file.parent.iterdir():
        memory.pipe_file(f"/drives/{path.name}", path.read_bytes())
    (source,) = find_sources(["memory://drives"])
    store = FleetStore.create(tmp_path / "fleet")
    row = fleet.recordings().to_pylist()[1] | {"url": source.url} | columns_noted(source)
    store.write_index(fleet.recordings().from_pylist([row], fleet.recordings().schema), fleet.topics())
    request = request_of(store, checkpoint=fleet.path.parent / "model.safetensors", subsets="all")
    near = request_of(fleet, name="near", subsets="all")
    assert evaluated(request).finished == 1
    evaluated(near)
    expected = frames_of(fleet, "near").to_pylist()
    assert frames_of(store).to_pylist() == [each for each in expected if each["recording_id"] == IDS[1]]
    memory.rm("/drives", recursive=True)
    with user_error("bag-missing", source.url):
        evaluated(replace(request, name="again"))


def test_value_a_damaged_part_is_made_again(fleet, whole):
    """As after a power cut: the join fails once, the run after that is as any other."""
    request = request_of(fleet, name="damaged", faults=PLAN, cut_s=0.7)

    def spoil(task):
        if task.is_join and task.recording_id == IDS[0] and not told:
            part_path(fleet.evaluation_folder("damaged"), replace(task, number=1)).write_bytes(b"PAR1")

    told = []
    result = evaluated(request, engine=engine_of(request, spoil), tell=told.append)
    assert (result.finished, result.failed, len(told)) == (1, 1, 1)
    assert evaluated(request).finished == 1
    assert frames_of(fleet, "damaged").equals(whole[1])
