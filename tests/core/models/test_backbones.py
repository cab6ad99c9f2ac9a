"""Encoders by name; timm's own features are the reference for what our wrapper hands on."""

from __future__ import annotations

import sys

import pytest
import torch
import torch.nn.functional as F
from raised import user_error

from any2seg_core.base.errors import UserError
from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.models.backbones import TimmBackbone, import_timm, make_encoder
from any2seg_core.models.mit import MixTransformer
from any2seg_core.models.pretrained import load_encoder_weights
from any2seg_core.runtime.checkpoint import load_checkpoint, save_checkpoint
from any2seg_core.vocabulary.contract import InputContract


def timm_is_here() -> bool:
    try:
        import_timm()
    except UserError:
        return False
    return True


needs_timm = pytest.mark.skipif(not timm_is_here(), reason="timm cannot be imported")


def test_smoke_mit_by_name():
    assert isinstance(make_encoder("mit_b1"), MixTransformer)
    assert make_encoder("mit_b0", in_channels=12)(torch.zeros(1, 12, 32, 32))[3].shape == (1, 256, 1, 1)


def test_exception_without_timm(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with user_error("package-missing", "any2seg[timm]") as caught:
        Any2Seg(ModelConfig(encoder="timm/convnext_tiny"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["resnet50", "mit_b9", "timm"])
def test_exception_unknown_names(name):
    with user_error("encoder-unknown"):
        make_encoder(name)


@needs_timm
@pytest.mark.parametrize(("name", "used"), [("convnext_atto", (0, 1, 2, 3)), ("resnet18", (1, 2, 3, 4))])
def test_value_levels_are_timms_features_layer_normed(name, used):
    torch.manual_seed(0)
    encoder = make_encoder(f"timm/{name}").eval()
    images = torch.randn(2, 3, 64, 96)
    reference = import_timm().create_model(name, features_only=True).eval()
    reference.load_state_dict(encoder.body.state_dict(), strict=False)
    with torch.no_grad():
        expected = [reference(images)[i] for i in used]
        actual = encoder(images)
    for level, theirs, width, stride in zip(actual, expected, encoder.widths, (4, 8, 16, 32), strict=True):
        assert level.shape == (2, width, 64 // stride, 96 // stride)
        normed = F.layer_norm(theirs.permute(0, 2, 3, 1), (width,)).permute(0, 3, 1, 2)  # over C alone
        torch.testing.assert_close(level, normed, rtol=1e-4, atol=1e-4)


@needs_timm
def test_value_model_with_timm_backbone_survives_a_checkpoint(tmp_path):
    model = Any2Seg(ModelConfig(encoder="timm/convnext_atto", head_width=16)).eval()
    save_checkpoint(tmp_path / "m.safetensors", model, InputContract(), {})
    loaded, _, _ = load_checkpoint(tmp_path / "m.safetensors")
    images = {name: torch.randn(1, 3, 32, 64) for name in ("rgb", "lidar")}
    with torch.inference_mode():
        assert torch.equal(loaded(images).logits, model(images).logits)


@needs_timm
def test_gradient_reaches_every_parameter_and_drop_path_is_passed_on():
    model = Any2Seg(ModelConfig(encoder="timm/convnext_atto", head_width=16, num_classes=3), drop_path=0.1).train()
    model({"rgb": torch.randn(2, 3, 64, 64), "depth": torch.randn(2, 3, 64, 64)}).logits.square().mean().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()] == []
    assert any(type(m).__name__ == "DropPath" for m in model.encoder.modules())


@needs_timm
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("convnext_tinyy", ("encoder-unknown", "convnext_tiny")),
        ("vit_tiny_patch16_224", ("encoder-unsuitable", "[16, 16, 16]", "4, 8, 16 and 32")),
        ("swin_tiny_patch4_window7_224", ("encoder-unsuitable",)),
    ],
)
def test_exception_timm_models_that_do_not_fit(name, told):
    with user_error(*told, name) as caught:
        TimmBackbone(name)
    assert "\n" not in str(caught.value)


@needs_timm
def test_value_a_local_file_fills_a_timm_backbone_strictly(tmp_path):
    timm = import_timm()
    torch.manual_seed(1)
    other = timm.create_model("convnext_atto")
    torch.save(other.state_dict(), tmp_path / "atto.pth")
    encoder = make_encoder("timm/convnext_atto").eval()
    load_encoder_weights(encoder, "timm/convnext_atto", str(tmp_path / "atto.pth"))
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = other.eval().forward_features(images)
        actual = encoder.body(images)[3]
    assert actual.shape == expected.shape
    assert torch.equal(encoder.body.stem_0.weight, other.stem[0].weight)
    torch.save(timm.create_model("convnext_femto").state_dict(), tmp_path / "femto.pth")
    for name, code in {"none.pth": "file-missing", "femto.pth": "weights-mismatch"}.items():
        with user_error(code, name) as caught:
            load_encoder_weights(encoder, "timm/convnext_atto", str(tmp_path / name))
        assert "\n" not in str(caught.value)
