#!/usr/bin/env bash
# A SegFormer of transformers with two values of layer_norm_eps in its config.
#
# Guess:   its LayerNorms add the layer_norm_eps of the config to the variance, 1e-6 by default as in the published MiT.
# Happens: no module reads it: all of them have PyTorch's 1e-5, whatever the config says, also in config.json.
# Hurts:   whoever carries such a model over with the value of its config: where features hardly vary, as behind the
#          first embedding of a dark picture, the output differs by more than rounding. Any2Seg imports these models with
#          1e-5, and those of MMSegmentation with 1e-6 (any2seg_core/imports/hugging_face.py).
#
# Needs Python 3.11 or newer. Exit 0: it behaves so. Exit 1: it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check transformers==5.23.0 torch==2.13.0
"$folder/venv/bin/python" - <<'PY'
import importlib.metadata as metadata
import sys

import torch
import transformers

image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
outputs, values = [], set()
for eps in (1e-6, 1e-1):
    torch.manual_seed(0)
    config = transformers.SegformerConfig(
        depths=[1] * 4, hidden_sizes=[8, 16, 24, 32], num_attention_heads=[1] * 4, layer_norm_eps=eps
    )
    model = transformers.SegformerForSemanticSegmentation(config).eval()
    values |= {module.eps for module in model.modules() if isinstance(module, torch.nn.LayerNorm)}
    with torch.no_grad():
        outputs.append(model(image).logits)
print({name: metadata.version(name) for name in ("transformers", "torch")})
same = torch.equal(*outputs)
print(f"eps of all LayerNorms: {sorted(values)}; outputs with layer_norm_eps 1e-6 and 1e-1 are the same: {same}")
sys.exit(0 if values == {1e-5} and same else 1)
PY
