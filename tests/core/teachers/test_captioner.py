"""Descriptions by image-to-text models of transformers: small random ones, saved by transformers itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from raised import user_error

from any2seg_core.teachers.captioner import Captioner

transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

WORDS = (
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "street", "with", "cars", "and", "road", "sky", "by"),
    *("night", "day", "tree", "building"),
)
SMALL = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
IMAGE = np.random.default_rng(0).integers(0, 256, (37, 61, 3), np.uint8)


def write_words() -> Any:
    """A tokenizer of whole words."""
    model_of_words = tokenizers.models.WordLevel({word: number for number, word in enumerate(WORDS)}, "[UNK]")
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer(model_of_words), pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]", mask_token="[MASK]",
    )  # fmt: skip


def write_git(folder: Path, end: int) -> Any:
    """A GIT model and its processor; returns the model as it was saved. end: id of the token that ends a sentence."""
    folder.mkdir()
    torch.manual_seed(0)
    config = transformers.GitConfig(
        vision_config=SMALL | {"image_size": 32, "patch_size": 16}, **SMALL, vocab_size=len(WORDS), bos_token_id=2,
        eos_token_id=end, pad_token_id=0, max_position_embeddings=128,
    )  # fmt: skip
    model = transformers.GitForCausalLM(config).eval()
    torch.nn.init.normal_(model.output.weight, std=5.0)
    with torch.no_grad():
        model.output.bias[:5] = -99.0  # words, and nothing else
    size = {"height": 32, "width": 32}
    images = transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size)
    model.save_pretrained(folder)
    transformers.GitProcessor(images, write_words()).save_pretrained(folder)
    return model


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("models") / "git"
    return folder, write_git(folder, 3)


def test_value_the_sentence_is_the_models_likeliest(saved: tuple[Path, Any]):
    """Token by token, each the likeliest after the ones before, by the model itself."""
    folder, model = saved
    captioner = Captioner(folder)
    said = captioner.describe(IMAGE)
    processor = transformers.AutoProcessor.from_pretrained(folder)
    pixels = processor(images=IMAGE, return_tensors="pt")["pixel_values"]
    tokens = [2]
    while len(tokens) < 61 and tokens[-1] != 3:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([tokens]), pixel_values=pixels).logits
        tokens.append(int(logits[0, -1].argmax()))
    expected = [WORDS[token] for token in tokens if not WORDS[token].startswith("[")]
    assert expected, "the random model says nothing: choose another seed"
    assert said.split() == expected
    assert captioner.describe(IMAGE) == said
    assert captioner.name == "git (git)"


def test_value_a_model_without_a_processor_of_its_own(tmp_path: Path):
    """An encoder of images and a decoder of words, as ViT-GPT2: the sentence is that of the model's own generate."""
    torch.manual_seed(0)
    vision = transformers.ViTConfig(**SMALL, image_size=32, patch_size=16)
    text = transformers.BertConfig(**SMALL, vocab_size=len(WORDS), is_decoder=True, add_cross_attention=True)
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(vision, text)
    model = transformers.VisionEncoderDecoderModel(config).eval()
    facts = {"decoder_start_token_id": 2, "pad_token_id": 0, "eos_token_id": 3, "bos_token_id": 2}
    for name, value in facts.items():
        setattr(model.config, name, value)
        setattr(model.generation_config, name, value)
    with torch.no_grad():
        model.decoder.cls.predictions.bias[:5] = -99.0
        model.decoder.cls.predictions.bias[5:] = torch.arange(len(WORDS) - 5.0)
    images = transformers.ViTImageProcessor(size={"height": 32, "width": 32})
    for part in (model, images, write_words()):
        part.save_pretrained(tmp_path)
    said = Captioner(tmp_path).describe(IMAGE)
    pixels = images(images=IMAGE, return_tensors="pt")["pixel_values"]
    tokens = model.generate(pixel_values=pixels, max_new_tokens=60, do_sample=False)[0, 1:]
    assert said.split() == [WORDS[token] for token in tokens if token > 4]


def test_exception_a_model_that_says_nothing(tmp_path: Path):
    model = write_git(tmp_path / "silent", 3)
    with torch.no_grad():
        model.output.weight.zero_()
        model.output.bias.zero_()
        model.output.bias[3] = 1.0
    model.save_pretrained(tmp_path / "silent")
    with user_error("file-content", "silent (git)", "says nothing"):
        Captioner(tmp_path / "silent").describe(IMAGE)


def test_exception_folders_that_hold_no_such_model(tmp_path: Path):
    with user_error("weights-unavailable", f"captioner={tmp_path / 'none'}") as caught:
        Captioner(tmp_path / "none")
    assert "\n" not in str(caught.value)
    text_alone = tmp_path / "text"
    transformers.BertModel(transformers.BertConfig(**SMALL, vocab_size=7)).save_pretrained(text_alone)
    with user_error("weights-unavailable", "text"):
        Captioner(text_alone)


def test_value_a_model_that_talks_is_asked(saved: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch):
    """With a chat template the prompt goes in, and what the model repeats of it is left out."""
    captioner = Captioner(saved[0])
    asked: list[Any] = []

    class Talking:
        chat_template = "{{ messages }}"

        def apply_chat_template(self, messages: Any, **options: Any) -> Any:
            asked.append((messages, options))
            return transformers.BatchFeature({"input_ids": torch.tensor([[5, 6]])})

        def batch_decode(self, tokens: torch.Tensor, **_: Any) -> list[str]:
            return [" ".join(WORDS[token] for token in tokens[0])]

    class Model:
        config = saved[1].config

        def generate(self, input_ids: torch.Tensor, **options: Any) -> torch.Tensor:
            assert options == {"max_new_tokens": 60, "do_sample": False}
            return torch.cat([input_ids, torch.tensor([[6, 13]])], dim=1)

    monkeypatch.setattr(captioner, "_processor", Talking())
    monkeypatch.setattr(captioner, "_model", Model())
    assert captioner.describe(IMAGE) == "street night"
    content = asked[0][0][0]["content"]
    assert [part["type"] for part in content] == ["image", "text"]
    assert np.array_equal(np.asarray(content[0]["image"]), IMAGE)
    assert asked[0][1]["add_generation_prompt"]
