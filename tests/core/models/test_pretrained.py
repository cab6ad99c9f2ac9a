"""Encoder weights of others: official and Hugging Face names, strictly; nothing is fetched here."""

from __future__ import annotations

import pickle
from collections import OrderedDict, defaultdict, deque
from pathlib import Path
from types import SimpleNamespace

import foreign_models
import numpy as np
import pytest
import torch
from raised import user_error
from safetensors.torch import save_file

from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.models.backbones import make_encoder
from any2seg_core.models.mit import VARIANTS, MixTransformer
from any2seg_core.models.pretrained import load_encoder_weights


def official_names(encoder: MixTransformer) -> dict[str, torch.Tensor]:
    renamed = {}
    for name, value in encoder.state_dict().items():
        _, index, part, tail = name.split(".", 3)
        number = int(index) + 1
        head = {"embed": f"patch_embed{number}", "blocks": f"block{number}", "norm": f"norm{number}"}[part]
        renamed[f"{head}.{tail}".replace(".dwconv.", ".dwconv.dwconv.")] = value
    return renamed


@pytest.fixture(scope="module")
def source() -> MixTransformer:
    torch.manual_seed(0)
    return MixTransformer("b0")


def assert_equal(encoder: torch.nn.Module, source: MixTransformer) -> None:
    for name, value in source.state_dict().items():
        assert torch.equal(encoder.state_dict()[name], value), name


@pytest.mark.parametrize("prefix", ["", "backbone.", "encoder."])
def test_value_official_files_and_whole_models(tmp_path, source, prefix):
    state = {prefix + name: value for name, value in official_names(source).items()}
    extra = {"head.weight": torch.zeros(3, 256)} if not prefix else {"decode_head.x": torch.zeros(2)}
    torch.save({"state_dict": state | extra}, tmp_path / "mit_b0.pth")
    encoder = make_encoder("mit_b0")
    load_encoder_weights(encoder, "mit_b0", str(tmp_path / "mit_b0.pth"))
    assert_equal(encoder, source)


def mmsegmentation_names(encoder: MixTransformer) -> dict[str, torch.Tensor]:
    """As its converter of the official files names and shapes them."""
    official = {f"backbone.{name}": value for name, value in official_names(encoder).items()}
    renamed = foreign_models.mmsegmentation_names(official)
    return {name.removeprefix("backbone."): value for name, value in renamed.items()}


@pytest.mark.parametrize("names", [official_names, mmsegmentation_names, lambda encoder: encoder.state_dict()])
@pytest.mark.parametrize("prefix", ["module.", "backbone.", "module.backbone.", "_orig_mod.encoder.", "model.net.enc."])
def test_value_wrappers_of_other_programs_are_taken_off(tmp_path, source, prefix, names):
    state = {prefix + name: value for name, value in names(source).items()} | {"decode_head.x": torch.zeros(2)}
    torch.save(state, tmp_path / "m.pth")
    encoder = make_encoder("mit_b0")
    load_encoder_weights(encoder, "mit_b0", str(tmp_path / "m.pth"))
    assert_equal(encoder, source)


@pytest.mark.parametrize("names", [official_names, mmsegmentation_names, lambda encoder: encoder.state_dict()])
@pytest.mark.parametrize("wrapper", ["_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"])
def test_value_wrappers_within_names_are_taken_off(tmp_path, source, wrapper, names):
    """torch.compile, FSDP and checkpointed activations wrap single parts of a network."""
    state = {f"backbone.{name.replace('.', f'.{wrapper}.', 1)}": value for name, value in names(source).items()}
    torch.save(state, tmp_path / "m.pth")
    encoder = make_encoder("mit_b0")
    load_encoder_weights(encoder, "mit_b0", str(tmp_path / "m.pth"))
    assert_equal(encoder, source)


@pytest.mark.parametrize("name", ["m.pth", "model", "m.bin"])
def test_value_safetensors_under_another_name(tmp_path, source, name):
    save_file(official_names(source), tmp_path / name)
    encoder = make_encoder("mit_b0")
    load_encoder_weights(encoder, "mit_b0", str(tmp_path / name))
    assert_equal(encoder, source)


@pytest.mark.parametrize("name", ["m.pth", "m.safetensors"])
def test_exception_a_pointer_of_git_lfs(tmp_path, name):
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with user_error("file-format", name, "git lfs pull"):
        load_encoder_weights(make_encoder("mit_b0"), "mit_b0", str(tmp_path / name))


class History:
    """Like mmengine's buffers of losses: arrays, and methods by their names."""

    def __init__(self) -> None:
        self.losses, self.methods = np.zeros(3), {"least": History.least}

    @classmethod
    def least(cls) -> None:
        """Only its name is stored."""


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict", "state_dict_ema", "ema", "net"])
@pytest.mark.parametrize("is_new", [True, False])
def test_value_what_trainings_store_beside_the_weights_is_left_out(tmp_path, source, key, is_new):
    beside = {
        "meta": {"iter": np.int64(5), "mIoU": np.float64(0.3), "is_best": np.bool_(True), "curve": np.arange(3.0)},
        "args": SimpleNamespace(lr=0.1), "out": Path("runs"), "epoch": 3, "best": None,
        "optimizer": {"state": {0: {"step": torch.tensor(4.0)}}, "param_groups": [{"lr": np.float32(0.1)}]},
        "message_hub": {"history": History()}, "seen": defaultdict(list), "message": "\x1b[1mred",
    }  # fmt: skip
    weights = OrderedDict(official_names(source)) | {"head.none": None, "head.steps": 7}
    torch.save({key: weights} | beside, tmp_path / "m.pth", _use_new_zipfile_serialization=is_new)
    encoder = make_encoder("mit_b0")
    load_encoder_weights(encoder, "mit_b0", str(tmp_path / "m.pth"))
    assert_equal(encoder, source)


class Settings(dict):
    """Like mmengine's ConfigDict: a dictionary with attributes."""


class Losses(list):
    """A list of a class of its own."""


CONTAINERS = {
    "a queue": deque([1.0, 2.0], maxlen=9),
    "a dictionary with a default": defaultdict(list, {"loss": [1.0]}),
    "a dictionary of a class of its own": Settings(model=Settings(depth=3)),
    "a list of a class of its own": Losses([1.0, 2.0]),
    "an array of bytes": bytearray(b"abc"),
    "an array without a byte": bytearray(),
    "in one another": Settings(losses=Losses([deque([defaultdict(int, {"a": 1})])])),
}


@pytest.mark.parametrize("is_new", [True, False])
@pytest.mark.parametrize("beside", CONTAINERS.values(), ids=CONTAINERS)
def test_value_containers_beside_the_weights_are_read_past(tmp_path, source, beside, is_new):
    document = {"state_dict": official_names(source), "meta": beside}
    torch.save(document, tmp_path / "m.pth", _use_new_zipfile_serialization=is_new)
    encoder = make_encoder("mit_b0")
    load_encoder_weights(encoder, "mit_b0", str(tmp_path / "m.pth"))
    assert_equal(encoder, source)


def test_value_weights_in_a_dictionary_of_a_class_of_its_own(tmp_path, source):
    state = Settings(official_names(source))
    state.version = 3
    torch.save(Settings(state_dict=state), tmp_path / "m.pth")
    encoder = make_encoder("mit_b0")
    load_encoder_weights(encoder, "mit_b0", str(tmp_path / "m.pth"))
    assert_equal(encoder, source)


def test_exception_what_cannot_be_read_past_is_named_with_a_way_out(tmp_path, source):
    losses = Losses([1.0])
    losses.name = "train"
    torch.save({"state_dict": official_names(source), "meta": losses}, tmp_path / "m.pth")
    with user_error("file-format", "m.pth", "state_dict"):
        load_encoder_weights(make_encoder("mit_b0"), "mit_b0", str(tmp_path / "m.pth"))


@pytest.mark.parametrize("place", ["weights", "model_weights", "best.network", "encoder"])
def test_value_the_only_dictionary_of_weights_is_taken_whatever_it_is_called(tmp_path, source, place):
    document = official_names(source)
    for name in reversed(place.split(".")):
        document = {name: document, "epoch": torch.tensor(3), "rng_state": torch.zeros(9, dtype=torch.uint8)}
    document["itself"] = document
    document["optimizer"] = {"state": {0: {"exp_avg": torch.zeros(3, 4)}}}
    torch.save(document, tmp_path / "m.pth")
    encoder = make_encoder("mit_b0")
    load_encoder_weights(encoder, "mit_b0", str(tmp_path / "m.pth"))
    assert_equal(encoder, source)


def test_exception_weights_of_two_networks_in_one_file(tmp_path, source):
    state = official_names(source)
    torch.save({"student_weights": state, "teacher_weights": dict(state)}, tmp_path / "m.pth")
    with user_error("weights-ambiguous", "student_weights., teacher_weights"):
        load_encoder_weights(make_encoder("mit_b0"), "mit_b0", str(tmp_path / "m.pth"))


@pytest.mark.parametrize("prefix", ["", "backbone.", "module.backbone."])
def test_value_what_is_left_out_need_not_be_finite(tmp_path, source, prefix):
    outer = prefix.removesuffix("backbone.")
    state = {prefix + name: value for name, value in official_names(source).items()}
    torch.save({"state_dict": state | {f"{outer}decode_head.x": torch.full((2, 2), torch.nan)}}, tmp_path / "m.pth")
    encoder = make_encoder("mit_b0")
    load_encoder_weights(encoder, "mit_b0", str(tmp_path / "m.pth"))
    assert_equal(encoder, source)
    broken = f"{prefix}norm1.bias"
    torch.save({"state_dict": state | {broken: state[broken].clone().fill_(torch.inf)}}, tmp_path / "m.pth")
    with user_error("not-finite", broken):
        load_encoder_weights(make_encoder("mit_b0"), "mit_b0", str(tmp_path / "m.pth"))


def test_exception_several_encoders_and_values_that_are_not_finite(tmp_path, source):
    state = official_names(source)
    both = {f"{who}.backbone.{name}": value for who in ("student", "teacher") for name, value in state.items()}
    torch.save(both, tmp_path / "two.pth")
    with user_error("weights-ambiguous", "two.pth", "student.backbone., teacher.backbone"):
        load_encoder_weights(make_encoder("mit_b0"), "mit_b0", str(tmp_path / "two.pth"))
    for value in (float("nan"), float("inf")):
        bad = dict(state)
        bad["block2.1.attn.q.weight"] = bad["block2.1.attn.q.weight"].clone().index_fill_(0, torch.tensor(3), value)
        torch.save({"state_dict": bad}, tmp_path / "bad.pth")
        with user_error("not-finite", "bad.pth", "block2.1.attn.q.weight"):
            load_encoder_weights(make_encoder("mit_b0"), "mit_b0", str(tmp_path / "bad.pth"))


def test_exception_no_text_of_a_terminal_reaches_a_message(tmp_path):
    (tmp_path / "list.pth").write_bytes(pickle.dumps([1, 2], protocol=2))
    torch.save({"state_dict": {"a": SimpleNamespace()}}, tmp_path / "\u00e4.pth")
    for name, code in {"list.pth": "file-format", "\u00e4.pth": "file-content"}.items():
        with user_error(code, name) as caught:
            load_encoder_weights(make_encoder("mit_b0"), "mit_b0", str(tmp_path / name))
        assert str(caught.value).isprintable()


def test_value_norms_of_every_modality_start_from_the_pretrained_one(tmp_path):
    source = MixTransformer("b0")
    for name, value in source.state_dict().items():
        if "norm" in name:
            value.copy_(torch.randn_like(value))
    torch.save(official_names(source), tmp_path / "mit_b0.pth")
    model = Any2Seg(ModelConfig(fusion="linear", modalities=("rgb", "lidar"), linear={"absent": "token"}))
    token = model.fusion.tokens["lidar"].clone()
    load_encoder_weights(model.encoder, "mit_b0", str(tmp_path / "mit_b0.pth"))
    own = model.encoder.state_dict()
    for modality in ("rgb", "lidar"):
        kept = {name.replace(f".{modality}.", "."): value for name, value in own.items() if f".{modality}." in name}
        assert len(kept) == 2 * (4 * 2 + 8 * 2 + 6)  # weight, bias of: embedding and stage, two per block, reductions
        for name, value in kept.items():
            assert torch.equal(value, source.state_dict()[name]), name
    shared = {name: value for name, value in own.items() if name in source.state_dict()}
    assert len(shared) + 2 * (4 * 2 + 8 * 2 + 6) == len(source.state_dict())
    assert all(torch.equal(value, source.state_dict()[name]) for name, value in shared.items())
    assert torch.equal(model.fusion.tokens["lidar"], token)


def test_value_own_names(tmp_path, source):
    save_file({f"encoder.{n}": v for n, v in source.state_dict().items()} | {"head.x": torch.zeros(1)},
              tmp_path / "ours.safetensors")  # fmt: skip
    encoder = make_encoder("mit_b0")
    load_encoder_weights(encoder, "mit_b0", str(tmp_path / "ours.safetensors"))
    assert_equal(encoder, source)


def test_value_hugging_face_model_with_its_head(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = VARIANTS["b0"]
    options = transformers.SegformerConfig(depths=list(config.depths), hidden_sizes=list(config.widths))
    reference = transformers.SegformerForSemanticSegmentation(options).eval()
    reference.save_pretrained(tmp_path)
    torch.save(reference.state_dict(), tmp_path / "state.pth")  # from version 5 on other names than in its files
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        expected = reference.segformer(images, output_hidden_states=True).hidden_states
    for name in ("model.safetensors", "state.pth"):
        encoder = make_encoder("mit_b0").eval()
        load_encoder_weights(encoder, "mit_b0", str(tmp_path / name))
        with torch.no_grad():
            for ours, theirs in zip(encoder(images), expected, strict=True):
                torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_value_concatenated_input_gets_the_kernels_for_each_modality(tmp_path, source):
    save_file(source.state_dict(), tmp_path / "m.safetensors")
    wide = make_encoder("mit_b0", in_channels=9).eval()
    load_encoder_weights(wide, "mit_b0", str(tmp_path / "m.safetensors"))
    image = torch.randn(1, 3, 32, 64)
    with torch.no_grad():
        for one, three in zip(source.eval()(image), wide(torch.cat([image] * 3, dim=1)), strict=True):
            torch.testing.assert_close(one, three, rtol=1e-4, atol=1e-4)


def test_exception_keys_are_listed(tmp_path, source):
    state = source.state_dict()
    del state["stages.0.norm.weight"]
    state["stages.9.norm.weight"] = torch.zeros(1)
    state["stages.1.norm.bias"] = torch.zeros(3)
    save_file(state, tmp_path / "m.safetensors")
    with user_error("weights-mismatch") as caught:
        load_encoder_weights(make_encoder("mit_b0"), "mit_b0", str(tmp_path / "m.safetensors"))
    message = str(caught.value)
    assert "missing 1 (stages.0.norm.weight)" in message
    assert "unknown 1 (stages.9.norm.weight)" in message
    assert "another shape 1 (stages.1.norm.bias (3,) not (64,))" in message
    with user_error("weights-mismatch"):
        load_encoder_weights(make_encoder("mit_b2"), "mit_b2", str(tmp_path / "m.safetensors"))


class Exploding:
    def __reduce__(self):
        return (print, ("code of the file has run",))


def test_exception_files_that_are_no_weights(tmp_path, capsys):
    encoder = make_encoder("mit_b0")
    (tmp_path / "a.pth").write_bytes(b"nothing")
    (tmp_path / "b.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{")
    torch.save({"x": Exploding()}, tmp_path / "c.pth")
    torch.save([1, 2], tmp_path / "d.pth")
    for name, code in {
        "a.pth": "file-format",
        "b.safetensors": "file-format",
        "c.pth": "file-content",
        "d.pth": "file-content",
        "e.pth": "file-missing",
    }.items():
        with user_error(code, name) as caught:
            load_encoder_weights(encoder, "mit_b0", str(tmp_path / name))
        assert "\n" not in str(caught.value)
    assert "code of the file" not in capsys.readouterr().out


def test_value_the_hub_is_asked_for_the_right_repository(tmp_path, source, monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    torch.save(official_names(source), tmp_path / "pytorch_model.bin")
    asked = []

    def download(repository: str, name: str) -> str:
        asked.append((repository, name))
        if name == "model.safetensors":
            raise OSError("no such entry")
        return str(tmp_path / name)

    monkeypatch.setattr(hub, "hf_hub_download", download)
    encoder = make_encoder("mit_b0")
    load_encoder_weights(encoder, "mit_b0", "imagenet")
    assert_equal(encoder, source)
    assert asked == [("nvidia/mit-b0", "model.safetensors"), ("nvidia/mit-b0", "pytorch_model.bin")]
    monkeypatch.setattr(hub, "hf_hub_download", lambda *_: (_ for _ in ()).throw(OSError("no network")))
    with user_error("weights-unavailable", "nvidia/mit-b0"):
        load_encoder_weights(encoder, "mit_b0", "imagenet")
