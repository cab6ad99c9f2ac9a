#!/usr/bin/env bash
# A tower of LanguageBind whose attention weights have the names that peft gave them before version 0.6.
#
# Guess:   from_pretrained loads a checkpoint of its own class, or raises an error.
# Happens: LanguageBind wraps its encoder with peft when it is made. Its files are of October 2023, when peft called the
#          weights of a wrapped layer k_proj.weight; since 0.6 it is k_proj.base_layer.weight. from_pretrained of
#          transformers 4 then leaves every weight of attention as it was drawn, and only a warning says so. With
#          key_mapping they are read. In transformers 5 the class is made too, but positions that are no weights are
#          left uninitialised. And `import languagebind` needs torchvision, torchaudio, decord and pytorchvideo, which
#          only its extra `all` brings.
# Hurts:   whoever embeds with such a tower gets noise of the right shape and norm. Any2Seg renames, and refuses a tower
#          that lacks weights (tests/core/teachers/test_language_bind.py).
#
# Needs Python 3.10 or newer. Exit 0: it behaves so. Exit 1: it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  languagebind==0.1.0 transformers==4.57.6 peft==0.21.2 torch==2.13.0 safetensors==0.8.0
"$folder/venv/bin/python" - "$folder" <<'PY'
import importlib.metadata as metadata
import importlib.util
import json
import pathlib
import sys
import types

import torch
import transformers
from safetensors.torch import load_file, save_file

transformers.logging.set_verbosity_error()
try:
    import languagebind
    whole = True
except ImportError as error:
    whole, said = False, str(error)
package = types.ModuleType("languagebind")  # its towers alone, without its __init__
package.__path__ = list(importlib.util.find_spec("languagebind").submodule_search_locations)
sys.modules["languagebind"] = package
from languagebind.image.configuration_image import LanguageBindImageConfig
from languagebind.image.modeling_image import LanguageBindImage

torch.manual_seed(0)
small = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
config = LanguageBindImageConfig(text_config=small, vision_config=small | {"image_size": 224, "patch_size": 56, "lora_r": 2})
saved = pathlib.Path(sys.argv[1]) / "tower"
LanguageBindImage(config).save_pretrained(saved)
document = json.loads((saved / "config.json").read_text())
document["vision_config"]["image_size"] = 224  # the class writes a list, which it cannot read
(saved / "config.json").write_text(json.dumps(document))
weights = load_file(saved / "model.safetensors")
save_file({name.replace(".base_layer", ""): value for name, value in weights.items()}, saved / "model.safetensors",
          {"format": "pt"})
rule = {r"^(vision_model\.encoder\.base_model\..*_proj)\.(weight|bias)$": r"\1.base_layer.\2"}
missing = {}
for name, mapping in (("as it is", None), ("with key_mapping", rule)):
    _, told = LanguageBindImage.from_pretrained(saved, key_mapping=mapping, output_loading_info=True)
    missing[name] = len(told["missing_keys"])
print({name: metadata.version(name) for name in ("languagebind", "transformers", "peft", "torch")})
print("import languagebind:", "works" if whole else said)
print(f"weights left to chance, of {len(weights)}: {missing}")
sys.exit(0 if missing == {"as it is": 16, "with key_mapping": 0} and not whole else 1)
PY
