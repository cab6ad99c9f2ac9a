"""Every part with next to nothing to do: what comes out has the right shape, and is not judged."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from raised import user_error

from any2seg_core.bench import peers, run
from any2seg_core.bench.document import BenchDocument
from any2seg_core.bench.run import run_bench
from any2seg_core.bench.settings import PARTS, SLOW, BenchSettings
from any2seg_core.bench.workshop import Effort, require_usable
from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.runtime.checkpoint import save_checkpoint
from any2seg_core.vocabulary.contract import InputContract

LITTLE = Effort(least=1, most=1, seconds=0.0, scale=0.02)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    save_checkpoint(path, Any2Seg(ModelConfig(head_width=32)), InputContract(height=64, width=64), {})
    return path


def measured(checkpoint, parts, **changes):
    settings = BenchSettings(model=str(checkpoint), only=parts, quick=True, **changes)
    return run_bench(settings, "any2seg bench", effort=LITTLE)


def rows(document, part):
    (found,) = (each.rows for each in document.parts if each.name == part)
    return {row.case: row for row in found}


def test_shape_sensors_by_number(checkpoint):
    document = measured(checkpoint, "sensors")
    found = rows(document, "sensors")
    assert list(found) == ["R", "D", "E", "L", "RD", "RDE", "RDEL"]
    assert [row.x for row in found.values()] == [1, 1, 1, 1, 2, 3, 4]
    assert set(found["R"].shares) == {"RDEL"} and found["RDEL"].shares == {}
    assert all(row.median >= row.least > 0 and row.turns == 1 for row in found.values())
    assert document.conditions.input_size == (64, 64) and document.machine.cores >= 1
    assert BenchDocument.model_validate_json(document.model_dump_json()) == document


def test_shape_size_batch_and_precision(checkpoint):
    document = measured(checkpoint, "size,batch,precision", size=96)
    assert list(rows(document, "size")) == ["RDEL 128x128", "R 128x128", "RDEL 256x256", "R 256x256"]
    assert [row.x for row in rows(document, "batch").values()] == [1, 2]
    assert "float32" in rows(document, "precision")
    assert document.conditions.input_size == (96, 96)


def test_shape_runtimes_that_can_be_had(checkpoint):
    document = measured(checkpoint, "runtime")
    found = rows(document, "runtime")
    assert {"eager", "cpu"} <= set(found) and set(found["cpu"].shares) == {"eager"}
    assert any("tensorrt" in note and "--runtime" in note for note in document.parts[0].notes)


def test_shape_reuse_of_a_stream(checkpoint):
    found = rows(measured(checkpoint, "reuse"), "reuse")
    assert list(found) == ["RDEL, encoded again", "RDEL, reused"]
    assert set(found["RDEL, reused"].shares) == {"encoded again"}


def test_shape_what_sensors_send(checkpoint, monkeypatch):
    monkeypatch.setattr(peers, "_EVT3", "no_such_package")
    document = measured(checkpoint, "events,evt3,lidar,frame")
    assert [part.name for part in document.parts] == ["events", "evt3", "lidar", "frame"]
    assert len(rows(document, "events")) >= 2 and len(rows(document, "lidar")) >= 2
    frame = rows(document, "frame")
    assert len(frame) == 6 and set(frame["lidar alone"].shares) == {"plain NumPy"}
    (evt3,) = (part for part in document.parts if part.name == "evt3")
    assert any("pip install no_such_package" in note for note in evt3.notes)
    assert all(row.least > 0 for part in document.parts for row in part.rows)


def test_shape_peers(checkpoint):
    pytest.importorskip("transformers")
    document = measured(checkpoint, "peers")
    found = rows(document, "peers")
    assert set(found["RDEL"].shares) == {"SegFormer per sensor"}
    assert {row.unit for row in found.values()} == {"ms", "GFLOP/s"}
    (floor,) = (row for case, row in found.items() if "GFLOP at" in case)
    assert floor.median == found["RDEL"].median and len(floor.shares) == 1
    assert any("--cmnext" in note for note in document.parts[0].notes)


def test_value_random_weights_have_no_file(checkpoint):
    document = measured("mit_b0", "start,bag", size=64)
    assert [len(part.rows) for part in document.parts] == [0, 0]
    assert all("give a checkpoint" in part.notes[0] for part in document.parts)


def test_value_parts_that_are_asked_for_come_in_the_order_of_the_report():
    assert BenchSettings(only="lidar,sensors").parts == ("sensors", "lidar")
    assert BenchSettings().parts == tuple(PARTS)
    assert not set(BenchSettings(quick=True).parts) & set(SLOW)


def test_exception_settings():
    with user_error("value-unknown", "wheels"):
        require_usable(BenchSettings(only="sensors,wheels"))
    with user_error("checkpoint-missing", "none.safetensors"):
        require_usable(BenchSettings(model="none.safetensors"))
    with user_error("file-missing", "--recording", "no_bag"):
        require_usable(BenchSettings(recording="no_bag"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_exception_a_device_that_is_not_there():
    with user_error("device-missing", "cuda"):
        require_usable(BenchSettings(device="cuda"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here: its times are not measured")
def test_shape_sensors_on_a_gpu(checkpoint):
    document = measured(checkpoint, "sensors,batch", device="cuda")
    assert {row.clock for part in document.parts for row in part.rows} == {"wall"}
    assert document.machine.accelerator == torch.cuda.get_device_name()


def test_value_a_busy_machine_is_told(checkpoint, monkeypatch):
    monkeypatch.setattr(run, "load", lambda: 7.5)
    document = measured(checkpoint, "events")
    assert any("load 7.5" in note for note in document.notes)
    monkeypatch.setattr(run, "load", lambda: 0.0)
    assert not any("load" in note for note in measured(checkpoint, "events").notes)


def test_value_measurements_are_told_as_they_go(checkpoint):
    told = []
    settings = BenchSettings(model=str(checkpoint), only="events,lidar")
    run_bench(settings, tell=lambda *each: told.append(each), effort=LITTLE)
    assert {(done, total) for _, done, total in told} == {(0, 2), (1, 2)}
    assert all(case.startswith(("events: ", "lidar: ")) for case, _, _ in told)
    assert np.all(np.diff([done for _, done, _ in told]) >= 0)
