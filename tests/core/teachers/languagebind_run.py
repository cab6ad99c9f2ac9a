"""Runs in a process of its own, with the packages of languagebind.txt first on the path.

    python languagebind_run.py FOLDER

Makes the package's own classes with small random weights and saves them in its own layout below FOLDER; loads them
through `LanguageBindTeacher`; prints as JSON how far the embeddings are from those of the classes themselves, and what
is said about folders that are not whole.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from any2seg_core.base.errors import UserError
from any2seg_core.teachers import language_bind
from any2seg_core.teachers.captions import Caption
from any2seg_core.teachers.language_bind import LanguageBindTeacher, clip_input, relative_depth, tower_of
from any2seg_core.vocabulary.modalities import SensorSuite
from any2seg_core.vocabulary.sensor import Sensor

SENTENCES = ["a street at night", "cars, and a little rain"]
SUITE = SensorSuite(
    "yard",
    (Sensor("rgb", "R", "image"), Sensor("depth", "D", "depth"), Sensor("heat", "T", "image", "thermal8"),
     Sensor("event", "E", "events")),
)  # fmt: skip
SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}


def write_tokenizer(folder: Path) -> Any:
    """CLIP's byte-level tokenizer with no merges but one; the end of a text is the last token, as in CLIP."""
    from transformers.models.clip.tokenization_clip import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    words = [*letters, *(f"{letter}</w>" for letter in letters), "st", "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\ns t\n")
    tokenizer = language_bind._from_package("Image", "tokenization")(
        str(folder / "vocab.json"), str(folder / "merges.txt")
    )
    tokenizer.save_pretrained(folder)
    return tokenizer


def write_tower(root: Path, tower: str, seed: int, vocabulary: int) -> Any:
    """One class with random weights, saved by itself; its configuration says the size as released ones do."""
    kind = language_bind._from_package(tower, "modeling")
    torch.manual_seed(seed)
    text = SMALL | {"vocab_size": vocabulary, "projection_dim": 16, "eos_token_id": vocabulary - 1}
    vision = SMALL | {"image_size": 224, "patch_size": 56, "lora_r": 2, "projection_dim": 16}
    model = kind(kind.config_class(text_config=text, vision_config=vision, projection_dim=16)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    folder = root / f"LanguageBind_{tower}"
    model.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    config["vision_config"]["image_size"] = 224  # the class makes a list of it, which it cannot read itself
    (folder / "config.json").write_text(json.dumps(config))
    for part in (model.config.text_config, model.config.vision_config):
        part._attn_implementation = "eager"
    return model


def rename(root: Path, tower: str, change: Any) -> None:
    """Other names for the weights of a tower; None drops one."""
    path = root / f"LanguageBind_{tower}" / "model.safetensors"
    weights = {name: value for key, value in load_file(path).items() if (name := change(key)) is not None}
    save_file(weights, path, {"format": "pt"})


def difference(teacher: LanguageBindTeacher, towers: dict[str, Any], tokenizer: Any) -> dict[str, float]:
    """Largest difference of embeddings from the classes' own: of texts, and of each sensor."""
    tokens = tokenizer(SENTENCES, max_length=77, padding="max_length", truncation=True, return_tensors="pt")
    with torch.no_grad():
        own = F.normalize(towers["Image"].get_text_features(tokens["input_ids"], tokens["attention_mask"]), dim=1)
    found = {"texts": float(np.abs(teacher.embed_texts(SENTENCES) - own.numpy()).max())}
    found["apart"] = float((own[0] - own[1]).abs().max())
    rng = np.random.default_rng(0)
    planes = {name: rng.integers(0, 256, (240, 331, 3), np.uint8) for name in SUITE.members}
    rows = teacher.embed_modalities(planes, Caption("a street"), SUITE)
    for row, (name, plane) in zip(rows, planes.items(), strict=True):
        tower = {"depth": "Depth", "heat": "Thermal"}.get(name, "Image")
        assert tower == tower_of(SUITE.sensor(name))
        pixels = clip_input(relative_depth(plane) if name == "depth" else plane)[None]
        with torch.no_grad():
            image = F.normalize(towers[tower].get_image_features(pixels), dim=1)[0].numpy()
        found[name] = float(np.abs(row - image).max())
    return found


def refusal(folder: Path) -> str:
    try:
        LanguageBindTeacher(("Depth", "Thermal"), folder)
    except UserError as error:
        return error.with_code
    return ""


def main(root: Path) -> dict[str, Any]:
    folder = root / "towers"
    tokenizer = write_tokenizer(folder / "LanguageBind_Image")
    towers = {
        tower: write_tower(folder, tower, seed, len(tokenizer))
        for seed, tower in enumerate(("Image", "Depth", "Thermal"))
    }
    names = ("Image", "Depth", "Thermal")
    results: dict[str, Any] = {"new": difference(LanguageBindTeacher(names, folder), towers, tokenizer)}
    old = root / "old"
    shutil.copytree(folder, old)
    for tower in names:  # as peft named them when the weights were released
        rename(old, tower, lambda key: key.replace(".base_layer", ""))
    results["old"] = difference(LanguageBindTeacher(names, old), towers, tokenizer)
    rename(old, "Depth", lambda key: None if key == "visual_projection.weight" else key)
    results["lacking"] = refusal(old)
    shutil.rmtree(old / "LanguageBind_Depth")
    results["absent"] = refusal(old)
    results["name"] = LanguageBindTeacher((), folder).name
    return results


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]))) + "\n")
