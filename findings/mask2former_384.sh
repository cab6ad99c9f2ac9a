#!/usr/bin/env bash
# Label images of a Mask2Former by transformers' post_process_semantic_segmentation, for a wide picture.
#
# Guess:   mask logits, a quarter of the picture's size, are brought to target_sizes in one step; at target_sizes of the
#          logits' own size nothing is resampled at all.
# Happens: whatever the picture, they are first brought to 384 x 384. Those of a Cityscapes picture (1024 x 2048) are
#          256 x 512: a quarter of the columns is left out without smoothing, and then the rest is stretched. Poles of one
#          logit vanish or not by their column.
# Hurts:   whoever takes such a model for a teacher or publishes its mIoU on street scenes: poles, signs and far people
#          suffer from a step that the model does not have. The other way, argmax of the logits at the target's size, is
#          two lines. Any2Seg brings the logits of what it imports straight to the picture (any2seg_core/imports).
#
# Needs Python 3.11 or newer. Exit 0: it behaves so. Exit 1: it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  transformers==5.23.0 torch==2.13.0 pillow==13.0.0 numpy==2.2.6
"$folder/venv/bin/python" - <<'PY'
import importlib.metadata as metadata
import sys

import torch
from transformers import Mask2FormerImageProcessorPil
from transformers.models.mask2former.modeling_mask2former import Mask2FormerForUniversalSegmentationOutput as Output

columns = torch.arange(5, 512, 10)  # one pole each, one logit wide
is_pole = torch.zeros(256, 512, dtype=torch.bool)
is_pole[:, columns] = True
street = torch.where(is_pole, -9.0, 9.0)
masks = torch.stack([street, -street])[None]  # (B, queries, H / 4, W / 4)
classes = torch.tensor([[[10.0, 0.0, 0.0], [0.0, 10.0, 0.0]]])  # street, pole, no object
output = Output(class_queries_logits=classes, masks_queries_logits=masks)


def poles_left(labels):
    return int((labels[128] == 1).int().diff(prepend=torch.tensor([0])).eq(1).sum())


def straight(size):
    return torch.nn.functional.interpolate(masks, size=size, mode="bilinear", align_corners=False).argmax(1)[0]


print({name: metadata.version(name) for name in ("transformers", "torch")})
found = []
for size in ((256, 512), (512, 1024)):
    labels = Mask2FormerImageProcessorPil().post_process_semantic_segmentation(output, target_sizes=[size])[0]
    found.append((poles_left(labels), poles_left(straight(size))))
    print(f"at {size}: {found[-1][0]} of {len(columns)} poles are left; resized in one step: {found[-1][1]}")
sys.exit(0 if all(left < len(columns) == one_step for left, one_step in found) else 1)
PY
