from __future__ import annotations

import json

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from any2seg_core.checkpoint import load_checkpoint, read_metadata, save_checkpoint
from any2seg_core.contract import InputContract
from any2seg_core.errors import UserError
from any2seg_core.models import Any2Seg, ModelConfig


@pytest.fixture
def saved(tmp_path):
    model = Any2Seg(ModelConfig(head_width=32))
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, model, InputContract(height=64, width=96), {"seed": 7})
    return model, path


def rewrite(path, **changes):
    """The same file with parts of its document replaced."""
    document = read_metadata(path) | changes
    model, *_ = load_checkpoint(path)
    save_file(model.state_dict(), path, metadata={"any2seg": json.dumps(document)})


def test_value_load_of_save_is_the_same(saved):
    model, path = saved
    loaded, contract, provenance = load_checkpoint(path)
    assert contract == InputContract(height=64, width=96)
    assert provenance == {"seed": 7}
    assert not loaded.training
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in loaded.state_dict().items())


def test_value_saving_leaves_no_partial_file(saved):
    _, path = saved
    assert [p.name for p in path.parent.iterdir()] == ["model.safetensors"]


def test_value_a_failed_save_keeps_the_old_file_and_leaves_nothing_behind(saved):
    model, path = saved
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save_checkpoint(path, model, InputContract(), {"not json": object()})
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["model.safetensors"]


def test_exception_missing_file(tmp_path):
    with pytest.raises(UserError, match="no checkpoint at .*nothing.safetensors: train one"):
        load_checkpoint(tmp_path / "nothing.safetensors")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a pickle in a zip", b"\xff" * 64])
def test_exception_not_safetensors(tmp_path, content):
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    with pytest.raises(UserError, match="model.pt is not a readable .safetensors"):
        load_checkpoint(path)


def test_exception_truncated(saved):
    _, path = saved
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(UserError, match="not a readable"):
        load_checkpoint(path)


def test_exception_foreign_safetensors(tmp_path):
    path = tmp_path / "llm.safetensors"
    save_file({"w": torch.zeros(2)}, path)
    with pytest.raises(UserError, match="llm.safetensors has no Any2Seg metadata"):
        load_checkpoint(path)


def test_exception_contradicting_class_count(saved):
    _, path = saved
    rewrite(path, model=ModelConfig(head_width=32, num_classes=19).model_dump(mode="json"))
    with pytest.raises(UserError, match="19 classes.*25"):
        load_checkpoint(path)


def test_exception_wrong_width(saved):
    _, path = saved
    rewrite(path, model=ModelConfig(head_width=64).model_dump(mode="json"))
    with pytest.raises(UserError, match="weights do not fit"):
        load_checkpoint(path)


def test_exception_other_encoding_version(saved):
    _, path = saved
    contract = InputContract(encodings=InputContract().encodings | {"depth": "hha-0"})
    rewrite(path, contract=contract.model_dump(mode="json"))
    with pytest.raises(UserError, match="hha-0.*re-train"):
        load_checkpoint(path)


def test_exception_newer_format(saved):
    _, path = saved
    rewrite(path, format=99)
    with pytest.raises(UserError, match="format 99, this version reads 1"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "no JSON object"),
        ("[1]", "no JSON object"),
        ('{"format": 1}', "no model, contract, provenance"),
        ('{"format": 1, "model": {}, "contract": {}}', "no provenance"),
        ('{"format": 1, "model": {"depth": 3}, "contract": {}, "provenance": {}}', "depth"),
        ('{"format": 1, "model": {"encoder": "resnet"}, "contract": {}, "provenance": {}}', "unknown encoder 'resnet'"),
    ],
)
def test_exception_damaged_metadata(tmp_path, text, words):
    path = tmp_path / "m.safetensors"
    save_file({"w": torch.zeros(2)}, path, metadata={"any2seg": text})
    with pytest.raises(UserError, match=f"m.safetensors.*{words}") as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value)


def test_exception_a_name_that_the_file_system_refuses(tmp_path):
    with pytest.raises(UserError, match="File name too long"):
        load_checkpoint(tmp_path / ("n" * 300))


def test_exception_a_full_disk_keeps_the_old_checkpoint(saved, monkeypatch):
    model, path = saved
    before = path.read_bytes()

    def fail(_tensors, partial, **_) -> None:
        partial.write_bytes(b"half")
        raise SafetensorError("I/O error: No space left on device")

    monkeypatch.setattr("any2seg_core.checkpoint.save_file", fail)
    with pytest.raises(UserError, match="cannot write .*model.safetensors.*No space left"):
        save_checkpoint(path, model, InputContract(), {})
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["model.safetensors"]
