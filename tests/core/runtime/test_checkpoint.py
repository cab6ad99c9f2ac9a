from __future__ import annotations

import copy
import json

import pytest
import torch
from raised import user_error
from safetensors import SafetensorError
from safetensors.torch import save_file

from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.runtime.checkpoint import load_checkpoint, require_sound, save_checkpoint
from any2seg_core.runtime.checkpoint_metadata import read_metadata
from any2seg_core.vocabulary.contract import InputContract


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
    with user_error("checkpoint-missing", "nothing.safetensors"):
        load_checkpoint(tmp_path / "nothing.safetensors")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a pickle in a zip", b"\xff" * 64])
def test_exception_not_safetensors(tmp_path, content):
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    with user_error("checkpoint-foreign", "model.pt"):
        load_checkpoint(path)


def test_exception_a_pointer_of_git_lfs(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with user_error("checkpoint-foreign", "model.safetensors", "git lfs pull"):
        load_checkpoint(path)


def test_exception_truncated(saved):
    _, path = saved
    path.write_bytes(path.read_bytes()[:-1000])
    with user_error("checkpoint-foreign", "model.safetensors"):
        load_checkpoint(path)


def test_exception_foreign_safetensors(tmp_path):
    path = tmp_path / "llm.safetensors"
    save_file({"w": torch.zeros(2)}, path)
    with user_error("checkpoint-foreign", "llm.safetensors"):
        load_checkpoint(path)


def test_exception_contradicting_class_count(saved):
    _, path = saved
    rewrite(path, model=ModelConfig(head_width=32, num_classes=19).model_dump(mode="json"))
    with user_error(
        "checkpoint-damaged", "model.safetensors", "19 classes", "('rgb', 'depth', 'event', 'lidar')", "contract 25"
    ):
        load_checkpoint(path)


def test_value_weights_in_half_the_bytes_are_read_as_float32(saved, tmp_path):
    model, path = saved
    half = tmp_path / "half.safetensors"
    save_checkpoint(half, model, InputContract(), {"seed": 3}, weights="float16")
    assert half.stat().st_size < 0.52 * path.stat().st_size
    loaded, _, provenance = load_checkpoint(half)
    assert provenance == {"seed": 3}
    for name, value in loaded.state_dict().items():
        before = model.state_dict()[name]
        assert value.dtype == before.dtype
        assert torch.equal(value, before.half().float() if before.is_floating_point() else before)


def test_exception_weights_too_large_for_half_the_bytes(saved, tmp_path):
    large = copy.deepcopy(saved[0])
    large.state_dict()["head.norm.running_var"][3] = 7e4
    with user_error("value-range", "head.norm.running_var", "7e+04"):
        save_checkpoint(tmp_path / "half.safetensors", large, InputContract(), {}, weights="float16")
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_exception_contradicting_scale(saved):
    _, path = saved
    rewrite(path, contract=InputContract(scale={"lidar": 0.5}).model_dump(mode="json"))
    with user_error("checkpoint-damaged", "scale {}", "{'lidar': 0.5}"):
        load_checkpoint(path)


def test_exception_wrong_width(saved):
    _, path = saved
    rewrite(path, model=ModelConfig(head_width=64).model_dump(mode="json"))
    with user_error("checkpoint-damaged", "model.safetensors"):
        load_checkpoint(path)


def test_exception_other_encoding_version(saved):
    _, path = saved
    contract = InputContract(encodings=InputContract().encodings | {"depth": "hha-0"})
    rewrite(path, contract=contract.model_dump(mode="json"))
    with user_error(
        "checkpoint-version",
        "model.safetensors",
        "hha-0",
        "{'rgb': 'rgb8', 'depth': 'hha-1', 'event': 'counts-recency-1', 'lidar': 'range-intensity-height-1'}",
    ):
        load_checkpoint(path)


def test_exception_newer_format(saved):
    _, path = saved
    rewrite(path, format=99)
    with user_error("checkpoint-version", "model.safetensors", "format 99", "reads 1"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", ("checkpoint-damaged", "JSON")),
        ("[1]", ("checkpoint-damaged", "JSON")),
        ('{"format": 1}', ("checkpoint-damaged", "model, contract, provenance")),
        ('{"format": 1, "model": {}, "contract": {}}', ("checkpoint-damaged", "provenance")),
        ('{"format": 1, "model": {"depth": 3}, "contract": {}, "provenance": {}}', ("checkpoint-damaged", "depth")),
        (
            '{"format": 1, "model": {"encoder": "resnet"}, "contract": {}, "provenance": {}}',
            ("encoder-unknown", "'resnet'"),
        ),
    ],
)
def test_exception_damaged_metadata(tmp_path, text, told):
    path = tmp_path / "m.safetensors"
    save_file({"w": torch.zeros(2)}, path, metadata={"any2seg": text})
    with user_error(*told, "m.safetensors") as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value)


def test_exception_a_name_that_the_file_system_refuses(tmp_path):
    with user_error("checkpoint-foreign"):
        load_checkpoint(tmp_path / ("n" * 300))


def test_exception_a_full_disk_keeps_the_old_checkpoint(saved, monkeypatch):
    model, path = saved
    before = path.read_bytes()

    def fail(_tensors, partial, **_) -> None:
        partial.write_bytes(b"half")
        raise SafetensorError("I/O error: No space left on device")

    monkeypatch.setattr("any2seg_core.runtime.checkpoint.save_file", fail)
    with user_error("output-unwritable", "model.safetensors", "I/O"):
        save_checkpoint(path, model, InputContract(), {})
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["model.safetensors"]


def poisoned(saved, name, value):
    """The saved file with one number of one tensor replaced."""
    model, path = saved
    state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    state[name].view(-1)[-1] = value
    document = read_metadata(path)
    save_file(state, path, metadata={"any2seg": json.dumps(document)})
    return path


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("encoder.stages.0.blocks.1.attn.q.bias", float("nan"), "1 of 32 numbers"),
        ("head.classifier.weight", float("inf"), "1 of 800 numbers"),
        ("head.norm.running_mean", float("-inf"), "1 of 32 numbers"),
        ("head.norm.running_var", float("inf"), "1 of 32 numbers"),
        ("head.norm.running_var", -1.0, "-1"),
        ("head.norm.num_batches_tracked", -3, "-3"),
    ],
)
def test_exception_weights_that_cannot_give_finite_numbers(saved, name, value, said):
    path = poisoned(saved, name, value)
    for load in (load_checkpoint, require_sound):
        with user_error("not-finite", name, said) as caught:
            load(path)
        assert "\n" not in str(caught.value)


def test_exception_finite_weights_that_overflow(saved):
    model, path = saved
    metadata = {"any2seg": json.dumps(read_metadata(path))}
    for name in ("encoder.stages.0.embed.proj.weight", "head.classifier.weight"):
        tensor = model.state_dict()[name]
        save_file(model.state_dict() | {name: torch.full_like(tensor, 3e38)}, path, metadata=metadata)
        with user_error("not-finite", name):
            load_checkpoint(path)


def test_exception_weights_of_another_type(saved):
    model, path = saved
    metadata = {"any2seg": json.dumps(read_metadata(path))}
    name = "head.classifier.weight"
    save_file(model.state_dict() | {name: model.state_dict()[name].to(torch.int8)}, path, metadata=metadata)
    with user_error("checkpoint-damaged", name):
        load_checkpoint(path)
    huge = torch.full((25, 32, 1, 1), 1e300, dtype=torch.float64)
    save_file(model.state_dict() | {name: huge}, path, metadata=metadata)
    with user_error("not-finite", name):
        load_checkpoint(path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_value_weights_of_other_floating_types_are_read(saved, dtype):
    model, path = saved
    state = {key: each.to(dtype) if each.is_floating_point() else each for key, each in model.state_dict().items()}
    save_file(state, path, metadata={"any2seg": json.dumps(read_metadata(path))})
    loaded, *_ = load_checkpoint(path)
    name = "head.classifier.weight"
    assert torch.equal(loaded.state_dict()[name], state[name].float())


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("std", [0.2, 0.0, 0.2], ("contract.normalisation.depth.std.1", "0.000001", "got 0")),
        ("std", [-0.2, 0.2, 0.2], ("normalisation.depth.std.0", "got -0.2")),
        ("std", [0.2, 0.2, float("nan")], ("normalisation.depth.std.2", "got nan")),
        ("std", [0.2, float("inf"), 0.2], ("normalisation.depth.std.1", "got inf")),
        ("std", [1e-42, 0.2, 0.2], ("normalisation.depth.std.0",)),
        ("mean", [0.2, float("nan"), 0.2], ("normalisation.depth.mean.1",)),
        ("mean", [1e300, 0.2, 0.2], ("normalisation.depth.mean.0",)),
    ],
)
def test_exception_a_normalisation_that_divides_by_nothing(saved, field, value, told):
    _, path = saved
    contract = InputContract(height=64, width=96).model_dump(mode="json")
    contract["normalisation"]["depth"][field] = value
    rewrite(path, contract=contract)
    for load in (load_checkpoint, require_sound):
        with user_error("checkpoint-damaged", *told):
            load(path)


@pytest.mark.parametrize(
    ("part", "field", "value"),
    [
        ("contract", "height", 0), ("contract", "width", -32), ("contract", "width", 32 * 10**6),
        ("contract", "height", 10**30), ("contract", "event_window_ns", 0), ("contract", "event_window_ns", 10**18),
        ("model", "head_width", 10**9), ("model", "num_classes", 0), ("model", "num_classes", 10**12),
    ],
)  # fmt: skip
def test_exception_sizes_that_no_machine_could_serve(saved, part, field, value):
    _, path = saved
    rewrite(path, **{part: read_metadata(path)[part] | {field: value}})
    with user_error("checkpoint-damaged", part, field, value):
        load_checkpoint(path)


def test_exception_a_picture_of_too_many_pixels(saved):
    _, path = saved
    rewrite(path, contract=read_metadata(path)["contract"] | {"height": 8192, "width": 4096})
    with user_error("limit-exceeded", "4096x8192"):
        load_checkpoint(path)
