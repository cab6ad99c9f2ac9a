#!/usr/bin/env bash
# The weights of a SegFormer of transformers 5, once by state_dict() and once by save_pretrained().
#
# Guess:   both have the same names, so that the file of one loads into the other with load_state_dict.
# Happens: save_pretrained writes the names of version 4 (encoder.block.0.0...), state_dict() has new ones
#          (stages.0.blocks.0...); of the encoder not one name is common. from_pretrained translates, load_state_dict
#          does not: it refuses the file, and with strict=False it loads nothing and raises no error.
# Hurts:   whoever maps names to another implementation, freezes layers by name or keeps torch.save(state_dict()) beside
#          the file of save_pretrained. Any2Seg reads both sets of names
#          (tests/core/models/test_pretrained.py, test_value_hugging_face_model_with_its_head).
#
# Needs Python 3.11 or newer. Exit 0: it behaves so. Exit 1: it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  transformers==5.23.0 torch==2.13.0 safetensors==0.8.0
"$folder/venv/bin/python" - "$folder" <<'PY'
import importlib.metadata as metadata
import sys

import torch
import transformers
from safetensors.torch import load_file

transformers.utils.logging.disable_progress_bar()
torch.manual_seed(0)
config = transformers.SegformerConfig(depths=[1] * 4, hidden_sizes=[8, 16, 24, 32], num_attention_heads=[1] * 4)
model = transformers.SegformerModel(config)
model.save_pretrained(sys.argv[1])
state, written = model.state_dict(), load_file(f"{sys.argv[1]}/model.safetensors")
common = state.keys() & written.keys()
missing = transformers.SegformerModel(config).load_state_dict(written, strict=False).missing_keys
reloaded = transformers.SegformerModel.from_pretrained(sys.argv[1]).state_dict()
sound = all(torch.equal(reloaded[name], value) for name, value in state.items())
print({name: metadata.version(name) for name in ("transformers", "torch", "safetensors")})
print(f"state_dict: {len(state)} names, such as {min(state)}")
print(f"save_pretrained: {len(written)} names, such as {min(written)}")
print(f"common: {len(common)}; load_state_dict(file, strict=False) leaves {len(missing)} of {len(state)} as they were; "
      f"from_pretrained gives the same weights: {sound}")
sys.exit(0 if not common and len(missing) == len(state) and sound else 1)
PY
