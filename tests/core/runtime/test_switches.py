"""Other switches for a checkpoint that is there: the same weights, another fusion."""

from __future__ import annotations

import pytest
import torch
from raised import user_error

from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.runtime.checkpoint import load_checkpoint, save_checkpoint
from any2seg_core.runtime.switches import parse_switches, switch_checkpoint, switched
from any2seg_core.vocabulary.contract import InputContract

NAMES = ("rgb", "lidar")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    contract = InputContract(modalities=NAMES, height=64, width=96, temperatures={"R": 1.5})
    path = tmp_path_factory.mktemp("switches") / "model.safetensors"
    save_checkpoint(path, Any2Seg(ModelConfig(head_width=16, modalities=NAMES)), contract, {"seed": 7})
    return path


def test_value_the_weights_stay_and_the_fusion_changes(checkpoint, tmp_path):
    out = tmp_path / "other.safetensors"
    words = ["content_masks=true", "mff.select_temperature=0.3", "mff.unit_scale=no"]
    facts = switch_checkpoint(checkpoint, parse_switches(words), out)
    assert facts["temperatures_left_out"]
    assert facts["switches"]["content_masks"] == {"before": False, "after": True}
    assert facts["switches"]["mff.select_temperature"] == {"before": 0.0, "after": 0.3}
    assert facts["switches"]["mff.unit_scale"] == {"before": False, "after": False}
    before, _, _ = load_checkpoint(checkpoint)
    model, contract, provenance = load_checkpoint(out)
    assert model.config.content_masks and model.config.mff.select_temperature == 0.3
    assert contract.temperatures == {} and contract.height == 64
    assert provenance == {"seed": 7, "switches": facts["switches"]}
    assert all(torch.equal(before.state_dict()[name], value) for name, value in model.state_dict().items())
    # What is empty follows from the contract: a LiDAR plane of zeros, and a black picture.
    images = {"rgb": torch.tensor(contract.empty_pixels["rgb"]).view(1, 3, 1, 1).expand(1, 3, 64, 96).clone()}
    images["lidar"] = torch.zeros(1, 3, 64, 96)
    images["rgb"][:, :, 63, 95] = images["lidar"][:, :, 0, 0] = 1.0
    masks = model.encode(images).content[0][0]  # (M, 16, 24)
    assert masks.sum(dim=(1, 2)).tolist() == [4, 4] and masks[0, 15, 23] and masks[1, 0, 0]


@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        (["mff.selct=1"], "key-unknown", "mff.selct=1"),
        (["head_width=9"], "key-unknown", "head_width=9"),
        (["content_masks"], "key-unknown", "content_masks"),
        (["mff.select_temperature=-1"], "value-range", "mff.select_temperature"),
        (["mff.weight=local"], "value-unknown", "mff.weight"),
        (["mff.select=false", "mff.select_temperature=0.1"], "value-invalid", "select=false"),
    ],
)
def test_exception_what_is_no_switch(checkpoint, tmp_path, words, code, named):
    out = tmp_path / "other.safetensors"
    with user_error(code, named):
        switch_checkpoint(checkpoint, parse_switches(words), out)
    assert not out.exists()


def test_exception_a_fusion_without_features_of_each_sensor_and_a_file_that_is_there(checkpoint):
    with user_error("value-invalid", "early_concat"):
        switched(ModelConfig(fusion="early_concat"), {"content_masks": True})
    with user_error("output-exists", "model.safetensors"):
        switch_checkpoint(checkpoint, {"content_masks": True}, checkpoint)
