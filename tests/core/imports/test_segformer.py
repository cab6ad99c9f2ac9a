"""SegFormers of other programs as checkpoints: transformers is the oracle of their logits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from foreign_models import (
    SHAPES,
    MMHead,
    logits_of,
    mmsegmentation_names,
    names_of_version_4,
    official_names,
    segformer,
)
from raised import user_error
from safetensors.torch import save_file
from torch import Tensor

from any2seg_core import Predictor, label_space
from any2seg_core.base.errors import UserError
from any2seg_core.imports.mmsegmentation import describe
from any2seg_core.imports.segformer import import_segformer
from any2seg_core.runtime.checkpoint import load_checkpoint

SIZES = ((64, 96), (32, 160), (96, 32))


def assert_logits(path: Path, expected, batch: int = 1) -> None:
    """At several sizes, within 1e-4 and with the same winner everywhere."""
    model, _, _ = load_checkpoint(path)
    for height, width in SIZES:
        images = torch.randn(batch, 3, height, width)
        with torch.no_grad():
            found = model.decode(model.fuse(model.encode({"rgb": images})))
        wanted = expected(images)
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4)
        assert torch.equal(found.argmax(1), wanted.argmax(1)) and len(wanted.argmax(1).unique()) > 1


@pytest.mark.parametrize("variant", ["b0", "b2"])
def test_value_a_folder_of_transformers_keeps_its_logits(tmp_path, variant):
    reference = segformer(variant)
    reference.save_pretrained(tmp_path / "hf")
    found = import_segformer(str(tmp_path / "hf"), tmp_path / "m.safetensors")
    assert found.model == f"mit_{variant}" and found.program == "transformers" and found.licence == ""
    assert found.classes.classes == ("thing 0", "thing 1", "thing 2", "thing 3", "thing 4")
    assert load_checkpoint(tmp_path / "m.safetensors")[2]["imported_from"] == "hf"
    assert_logits(tmp_path / "m.safetensors", lambda images: logits_of(reference, images))


@pytest.mark.parametrize("prefix", ["", "module.", "model."])
@pytest.mark.parametrize("version", [4, 5])
def test_value_a_state_of_transformers_alone_keeps_its_logits(tmp_path, version, prefix):
    reference = segformer()
    state = names_of_version_4(reference, tmp_path) if version == 4 else reference.state_dict()
    assert any("linear_c." in name for name in state) == (version == 4)
    torch.save({prefix + name: value for name, value in state.items()}, tmp_path / "state.bin")
    found = import_segformer(str(tmp_path / "state.bin"), tmp_path / "m.safetensors")
    assert found.classes.classes[0] == "class 0" and any("--classes" in note for note in found.notes)
    assert_logits(tmp_path / "m.safetensors", lambda images: logits_of(reference, images), batch=2)


def test_value_the_files_of_segformers_own_program_keep_their_logits(tmp_path):
    reference = segformer(eps=1e-6)
    state = official_names(names_of_version_4(reference, tmp_path))
    state["decode_head.conv_seg.weight"] = torch.zeros(5, 128, 1, 1)  # which nothing uses
    meta = {"CLASSES": tuple("abcde"), "PALETTE": [[n, 0, 9] for n in range(5)], "iter": np.int64(3)}
    torch.save({"meta": meta, "state_dict": state, "optimizer": {"lr": np.float64(0.1)}}, tmp_path / "s.pth")
    found = import_segformer(str(tmp_path / "s.pth"), tmp_path / "m.safetensors")
    assert found.program == "SegFormer" and "NVIDIA" in found.licence
    assert found.classes.classes == tuple("abcde") and found.classes.colours[3] == (3, 0, 9)
    assert_logits(tmp_path / "m.safetensors", lambda images: logits_of(reference, images))


CONFIG = """
norm_cfg = dict(type='SyncBN', requires_grad=True)
crop_size = (256, 512)
data_preprocessor = dict(
    type='SegDataPreProcessor', mean=[120.0, 110.0, 100.0], std=[60.0, 50.0, 40.0], bgr_to_rgb=True,
    pad_val=0, size=(256, 512))
model = dict(
    type='EncoderDecoder', data_preprocessor=data_preprocessor, pretrained=None,
    backbone=dict(type='MixVisionTransformer', embed_dims=32, num_layers=[2, 2, 2, 2]),
    decode_head=dict(type='SegformerHead', channels=256, num_classes=5, norm_cfg=norm_cfg, align_corners=False))
"""


def mm_checkpoint(folder: Path, prefix: str = "", config: str = CONFIG, meta: dict | None = None):
    """A file of MMSegmentation, and what it makes of images; the encoder is that of transformers."""
    reference = segformer(eps=1e-6)
    head = MMHead(SHAPES["b0"][1], 256, 5).eval()

    @torch.no_grad()
    def logits(images: Tensor) -> Tensor:
        return head(list(reference.segformer(images, output_hidden_states=True).hidden_states))

    head.conv_seg.bias.data -= logits(torch.randn(1, 3, 64, 96)).mean((0, 2, 3))  # else one class wins everywhere
    state = mmsegmentation_names(official_names(names_of_version_4(reference, folder)))
    state |= {f"decode_head.{name}": value for name, value in head.state_dict().items()}
    state |= {"auxiliary_head.conv_seg.weight": torch.zeros(5, 64, 1, 1)}
    beside = {"dataset_meta": {"classes": tuple("abcde"), "palette": [[n, 0, 9] for n in range(5)]}, "cfg": config}
    document = {
        "meta": beside | {"iter": np.int64(160000), "mIoU": np.float64(0.4)} if meta is None else meta,
        "state_dict": {prefix + name: value for name, value in state.items()},
        "optimizer": {"state": {0: {"step": torch.tensor(4.0)}}, "param_groups": [{"lr": np.float32(0.1)}]},
    }
    torch.save(document, folder / "mm.pth")
    return str(folder / "mm.pth"), logits


@pytest.mark.parametrize("prefix", ["", "module."])
def test_value_a_checkpoint_of_mmsegmentation_keeps_its_logits(tmp_path, prefix):
    source, logits = mm_checkpoint(tmp_path, prefix)
    found = import_segformer(source, tmp_path / "m.safetensors")
    assert (found.program, found.size, found.licence) == ("MMSegmentation", (256, 512), "")
    assert found.classes.classes == tuple("abcde") and found.classes.colours[3] == (3, 0, 9)
    contract = load_checkpoint(tmp_path / "m.safetensors")[1]
    statistics = contract.normalisation["rgb"]
    assert statistics.mean == pytest.approx((120 / 255, 110 / 255, 100 / 255))
    assert statistics.std == pytest.approx((60 / 255, 50 / 255, 40 / 255))
    assert_logits(tmp_path / "m.safetensors", logits)


def test_value_the_configuration_of_before_version_1_says_the_same(tmp_path):
    old = "img_norm_cfg = dict(mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0], to_rgb=False)\ncrop_size = (512, 512)\n"
    old += "model = dict(backbone=dict(init_cfg=dict(checkpoint='pretrain/mit_b0.pth'), norm_cfg=dict(eps=1e-5)))"
    source, _ = mm_checkpoint(tmp_path, meta={"CLASSES": list("abcde"), "config": old})
    found = import_segformer(source, tmp_path / "m.safetensors")
    model, contract, _ = load_checkpoint(tmp_path / "m.safetensors")
    assert contract.normalisation["rgb"].mean == pytest.approx((3 / 255, 2 / 255, 1 / 255))  # it takes blue first
    weight = torch.load(source, weights_only=False)["state_dict"]["backbone.layers.0.0.projection.weight"]
    assert torch.equal(model.encoder.stages[0].embed.proj.weight, weight.flip(1))
    assert model.config.layer_norm_eps == 1e-5 and "NVIDIA" in found.licence


UNREAD = ("(", "x = open('a')", "import os\nos.remove('a')", "model = dict(*[1])", "1" * (1 << 21), "(" * 999)


@pytest.mark.parametrize("text", UNREAD, ids=range(len(UNREAD)))
def test_value_a_configuration_that_says_nothing_plain_is_read_past(tmp_path, text):
    source, _ = mm_checkpoint(tmp_path, meta={"cfg": text})
    found = import_segformer(source, tmp_path / "m.safetensors")
    assert found.size == (512, 512) and any("ImageNet" in note for note in found.notes)


@pytest.mark.parametrize(
    ("options", "mean", "std", "size"),
    [
        ({}, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), (512, 512)),
        ({"size": {"height": 192, "width": 320}}, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), (192, 320)),
        ({"size": 640, "image_mean": [0.5] * 3}, (0.5, 0.5, 0.5), (0.229, 0.224, 0.225), (640, 640)),
        ({"size": [320, 192], "do_normalize": False}, (0.0,) * 3, (1.0,) * 3, (192, 320)),
        ({"size": {"shortest_edge": 360}, "do_rescale": False}, (0.485 / 255, 0.456 / 255, 0.406 / 255),
         (0.229 / 255, 0.224 / 255, 0.225 / 255), (384, 384)),
        ({"do_resize": False, "rescale_factor": 1 / 127.5, "image_mean": [1, 1, 1], "image_std": [1, 1, 1]},
         (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), (512, 512)),
    ],
)  # fmt: skip
def test_value_what_the_preprocessor_says_is_in_the_contract(tmp_path, options, mean, std, size):
    segformer().save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(options))
    found = import_segformer(str(tmp_path), tmp_path / "m.safetensors")
    statistics = load_checkpoint(tmp_path / "m.safetensors")[1].normalisation["rgb"]
    assert statistics.mean == pytest.approx(mean) and statistics.std == pytest.approx(std)
    assert found.size == size


def test_value_what_is_null_or_not_said_has_its_default(tmp_path):
    """No names of classes: the network says how many there are; null is what is not said."""
    segformer().save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"id2label": None}))
    options = {"do_resize": None, "size": None, "image_mean": None, "rescale_factor": None, "reduce_labels": True}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(options))
    found = import_segformer(str(tmp_path), tmp_path / "m.safetensors")
    assert found.classes.classes == tuple(f"class {n}" for n in range(5)) and found.size == (512, 512)
    assert any("--classes" in note for note in found.notes) and any("do_reduce_labels" in note for note in found.notes)
    statistics = load_checkpoint(tmp_path / "m.safetensors")[1].normalisation["rgb"]
    assert statistics.mean == pytest.approx((0.485, 0.456, 0.406))


@pytest.mark.parametrize("kind", ["model.safetensors", "pytorch_model.bin"])
def test_value_weights_in_several_files_are_one_model(tmp_path, kind):
    reference = segformer()
    state, folder = names_of_version_4(reference, tmp_path / "hf"), tmp_path / "hf"
    (folder / "model.safetensors").unlink()
    stem, _, end = kind.partition(".")
    parts = {f"{stem}-0000{part + 1}-of-00002.{end}": dict(list(state.items())[part::2]) for part in range(2)}
    for name, part in parts.items():
        save_file(part, folder / name) if end == "safetensors" else torch.save(part, folder / name)
    places = {key: name for name, part in parts.items() for key in part}
    index = folder / f"{kind}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))
    import_segformer(str(folder), tmp_path / "m.safetensors")
    assert_logits(tmp_path / "m.safetensors", lambda images: logits_of(reference, images))
    for wrong, code in (("../m.safetensors", "file-content"), ("none.safetensors", "file-missing")):
        index.write_text(json.dumps({"weight_map": {"a": wrong}}))
        with user_error(code, wrong):
            import_segformer(str(folder), tmp_path / "n.safetensors")


@pytest.mark.parametrize(
    ("options", "is_turned"), [(", bgr_to_rgb=True", False), ("", True), (", bgr_to_rgb=False", True)]
)
def test_value_pictures_of_version_1_are_blue_first_unless_they_are_turned(tmp_path, options, is_turned):
    source, _ = mm_checkpoint(tmp_path, config=CONFIG.replace(", bgr_to_rgb=True", options))
    import_segformer(source, tmp_path / "m.safetensors")
    mean = load_checkpoint(tmp_path / "m.safetensors")[1].normalisation["rgb"].mean
    expected = (120 / 255, 110 / 255, 100 / 255)
    assert mean == pytest.approx(expected[::-1] if is_turned else expected)


def test_value_one_list_in_many_places_is_read_once():
    """Ten lists of ten names of the one before: their texts would be 10^10."""
    lines = [f"a0 = ['{'x' * 40}']", *(f"a{n} = [{', '.join([f'a{n - 1}'] * 10)}]" for n in range(1, 11))]
    assert describe({"meta": {"cfg": "\n".join(lines)}}, "c.pth").origin == ("x" * 40,)


class Harm:
    """What a pickle would run when it is read."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("place", ["meta", "state_dict", "optimizer"])
def test_exception_no_code_of_a_file_runs(tmp_path, place):
    source, _ = mm_checkpoint(tmp_path)
    document = torch.load(source, weights_only=False)
    document[place]["harm"] = Harm(tmp_path / "harmed")
    torch.save(document, tmp_path / "harm.pth")
    try:
        import_segformer(str(tmp_path / "harm.pth"), tmp_path / "m.safetensors")
    except UserError as error:
        assert error.code in ("file-format", "file-content")
    assert not (tmp_path / "harmed").exists()


def test_value_labels_of_a_picture_are_those_of_its_own_processor(tmp_path):
    """Picture and output of one size each, so that no filter of a resize is asked."""
    from transformers.models.segformer.image_processing_pil_segformer import SegformerImageProcessorPil

    names = dict(enumerate(label_space("cityscapes-19").classes))
    reference = segformer(classes=names)
    reference.save_pretrained(tmp_path)
    processor = SegformerImageProcessorPil(size={"height": 64, "width": 96}, image_mean=[0.4, 0.5, 0.6])
    processor.save_pretrained(tmp_path)
    found = import_segformer(str(tmp_path), tmp_path / "m.safetensors")
    assert found.classes == label_space("cityscapes-19")
    picture = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    with torch.no_grad():
        outputs = reference(**processor(picture, return_tensors="pt"))
    expected = processor.post_process_semantic_segmentation(outputs, target_sizes=[(64, 96)])[0].numpy()
    predictor = Predictor.load(tmp_path / "m.safetensors")
    segmentation = predictor({"rgb": picture})
    assert segmentation.used == ("rgb",) and (segmentation.labels == expected).mean() > 0.999
    odd = predictor({"rgb": picture[:57, :83]})
    assert odd.labels.shape == (57, 83) and predictor.contract.suite.members == ("rgb",)


def test_value_size_and_classes_of_the_caller_win(tmp_path):
    segformer(classes=11).save_pretrained(tmp_path)
    space = label_space("camvid-11")
    found = import_segformer(str(tmp_path), tmp_path / "m.safetensors", (352, 480), space)
    assert (found.classes, found.size) == (space, (352, 480))


@pytest.mark.parametrize("palette", [[[1, 2, 3]] * 5, [[n, 0, 9] for n in range(4)], [[n % 5, 0, 9] for n in range(9)],
                                     [[n, 0, 300] for n in range(5)], "red"])  # fmt: skip
def test_value_colours_that_do_not_tell_the_classes_apart_are_replaced(tmp_path, palette):
    source, _ = mm_checkpoint(tmp_path, meta={"CLASSES": list("abcde"), "PALETTE": palette})
    found = import_segformer(source, tmp_path / "m.safetensors").classes
    assert found.classes == tuple("abcde") and len(set(found.colours)) == 5


def test_value_equal_names_are_told_apart_and_colours_are_different(tmp_path):
    segformer(classes={0: "door", 1: "wall", 2: "door"}).save_pretrained(tmp_path)
    found = import_segformer(str(tmp_path), tmp_path / "m.safetensors").classes
    assert found.classes == ("door (0)", "wall", "door (2)") and len(set(found.colours)) == 3


def without(name: str):
    return lambda state: state.pop(name)


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (without("decode_head.batch_norm.bias"), "weights-mismatch", "head.norm.bias"),
        (without("decode_head.classifier.bias"), "weights-mismatch", "head.classifier.bias"),
        (without("decode_head.linear_fuse.weight"), "weights-mismatch", "head.fuse.weight"),
        (without("segformer.stages.2.blocks.1.mlp.fc1.bias"), "weights-mismatch", "encoder.stages.2.blocks.1"),
        (lambda state: state.update({"decode_head.extra": torch.zeros(2)}), "weights-mismatch", "head.extra"),
        (lambda state: state.update({"neck.w": torch.zeros(2)}), "weights-mismatch", "neck.w"),
        (lambda state: state["decode_head.classifier.bias"].fill_(torch.nan), "not-finite", "classifier.bias"),
        (lambda state: [state.pop(n) for n in list(state) if n.startswith("decode_head")], "weights-mismatch",
         "pretrained="),
        (lambda state: [state.pop(n) for n in list(state) if n.startswith("segformer")], "weights-mismatch", "encoder"),
        (lambda state: [state.pop(n) for n in list(state) if ".blocks.1." in n], "weights-mismatch", "[1, 1, 1, 1]"),
    ],
)  # fmt: skip
def test_exception_parts_that_are_missing_or_foreign(tmp_path, change, code, said):
    state = segformer().state_dict()
    change(state)
    torch.save(state, tmp_path / "s.bin")
    with user_error(code, "s.bin", said):
        import_segformer(str(tmp_path / "s.bin"), tmp_path / "m.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.bin"]


@pytest.mark.parametrize(
    ("file", "change", "code", "said"),
    [
        ("config.json", {"model_type": "mask2former"}, "weights-mismatch", "mask2former"),
        ("config.json", {"sr_ratios": [4, 2, 1, 1]}, "weights-mismatch", "sr_ratios"),
        ("config.json", {"id2label": {"0": "a", "1": "b"}}, "label-space-mismatch", "5"),
        ("config.json", {"id2label": {"0": "a", "9": "b"}}, "file-content", "id2label"),
        ("preprocessor_config.json", {"image_std": [0, 1, 1]}, "value-range", "image_std"),
        ("preprocessor_config.json", {"size": {"height": 10**6, "width": 10**6}}, "limit-exceeded", "1000000"),
        ("preprocessor_config.json", {"size": "large"}, "file-content", "size"),
    ],
)
def test_exception_what_stands_beside_the_weights_does_not_fit(tmp_path, file, change, code, said):
    segformer().save_pretrained(tmp_path / "hf")
    path = tmp_path / "hf" / file
    path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | change))
    with user_error(code, said):
        import_segformer(str(tmp_path / "hf"), tmp_path / "m.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["hf"]


@pytest.mark.parametrize(
    ("old", "new"),
    [("SegformerHead", "UPerHead"), ("align_corners=False", "align_corners=True"), ("'EncoderDecoder'", "'Mask'")],
)
def test_exception_another_network_of_mmsegmentation(tmp_path, old, new):
    source, _ = mm_checkpoint(tmp_path, config=CONFIG.replace(old, new))
    with user_error("weights-mismatch", "mm.pth", new.strip("'").rpartition("=")[2]):
        import_segformer(source, tmp_path / "m.safetensors")


def test_exception_places_that_cannot_be_read_or_written(tmp_path, monkeypatch):
    segformer().save_pretrained(tmp_path / "hf")
    import_segformer(str(tmp_path / "hf"), tmp_path / "m.safetensors")
    with user_error("output-exists", "m.safetensors"):
        import_segformer(str(tmp_path / "hf"), tmp_path / "m.safetensors")
    with user_error("file-content", "m.safetensors"):
        import_segformer(str(tmp_path / "m.safetensors"), tmp_path / "n.safetensors")
    with user_error("file-name", "n.pth"):
        import_segformer(str(tmp_path / "hf"), tmp_path / "n.pth")
    with user_error("file-missing", "none.pth"):
        import_segformer(str(tmp_path / "none.pth"), tmp_path / "n.safetensors")
    with user_error("label-space-mismatch", "5"):
        import_segformer(str(tmp_path / "hf"), tmp_path / "n.safetensors", classes=label_space("camvid-11"))
    alone = import_segformer(str(tmp_path / "hf" / "model.safetensors"), tmp_path / "alone.safetensors")
    assert any("config.json" in note for note in alone.notes)
    (tmp_path / "empty").mkdir()
    with user_error("file-missing", tmp_path / "empty", "config.json"):
        import_segformer(str(tmp_path / "empty"), tmp_path / "n.safetensors")
    (tmp_path / "hf" / "model.safetensors").unlink()
    with user_error("file-missing", "pytorch_model.bin"):
        import_segformer(str(tmp_path / "hf"), tmp_path / "n.safetensors")
    assert not (tmp_path / "n.safetensors").exists()


def test_value_a_repository_of_the_hub_is_fetched_because_it_is_named(tmp_path, monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    segformer().save_pretrained(tmp_path / "hf")
    asked = []

    def download(repository: str, name: str) -> str:
        asked.append((repository, name))
        if not (tmp_path / "hf" / name).exists():
            raise OSError("no such entry")
        return str(tmp_path / "hf" / name)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub, "hf_hub_download", download)
    found = import_segformer("nvidia/segformer-b0", tmp_path / "m.safetensors")
    assert "NVIDIA" in found.licence and {repository for repository, _ in asked} == {"nvidia/segformer-b0"}
    assert [name for _, name in asked] == ["config.json", "model.safetensors", "preprocessor_config.json"]
    monkeypatch.setattr(hub, "hf_hub_download", lambda *_: (_ for _ in ()).throw(OSError("no network\nat all")))
    with user_error("weights-unavailable", "nvidia/none", "no network") as caught:
        import_segformer("nvidia/none", tmp_path / "n.safetensors")
    assert "\n" not in str(caught.value)
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with user_error("package-missing", "huggingface_hub"):
        import_segformer("nvidia/none", tmp_path / "n.safetensors")
