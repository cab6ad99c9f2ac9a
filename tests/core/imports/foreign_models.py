"""SegFormers of other programs with random weights, and what transformers makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import transformers
from torch import Tensor, nn

SHAPES = {  # SegFormer's paper, Table 6: depths, widths of the encoder, width of the head
    "b0": ([2, 2, 2, 2], [32, 64, 160, 256], 256),
    "b1": ([2, 2, 2, 2], [64, 128, 320, 512], 256),
    "b2": ([3, 4, 6, 3], [64, 128, 320, 512], 768),
    "b3": ([3, 4, 18, 3], [64, 128, 320, 512], 768),
    "b4": ([3, 8, 27, 3], [64, 128, 320, 512], 768),
    "b5": ([3, 6, 40, 3], [64, 128, 320, 512], 768),
}


def segformer(variant: str = "b0", classes: dict[int, str] | int = 5, eps: float | None = None, **options: Any) -> Any:
    """A SegformerForSemanticSegmentation of transformers in evaluation mode; ``eps`` of all its LayerNorms."""
    torch.manual_seed(0)
    depths, widths, width = SHAPES[variant]
    names = {n: f"thing {n}" for n in range(classes)} if isinstance(classes, int) else classes
    config = transformers.SegformerConfig(
        depths=depths, hidden_sizes=widths, decoder_hidden_size=width, id2label=names, **options
    )
    model = transformers.SegformerForSemanticSegmentation(config).eval()
    for module in model.modules():
        if isinstance(module, nn.LayerNorm | nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
        if isinstance(module, nn.LayerNorm) and eps is not None:
            module.eps = eps
        if isinstance(module, nn.Linear):  # else every place of a random encoder is like its neighbour
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
        if isinstance(module, nn.Linear | nn.Conv2d) and module.bias is not None:
            nn.init.normal_(module.bias, std=0.2)
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2.0)
    nn.init.normal_(model.decode_head.classifier.weight, std=0.1)
    return model


@torch.no_grad()
def logits_of(model: Any, images: Tensor) -> Tensor:
    """(B, K, H/4, W/4), of transformers."""
    return model(images).logits


def names_of_version_4(model: Any, folder: Path) -> dict[str, Tensor]:
    """Its state in the names that transformers writes to files, which are those of version 4."""
    from safetensors.torch import load_file

    model.save_pretrained(folder)
    return load_file(folder / "model.safetensors")


def official_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names of version 4 -> SegFormer's own: the rule of transformers' converter, backwards."""
    found: dict[str, Tensor] = {}
    for name, value in state.items():
        if ".self.value." in name:
            continue
        if ".self.key." in name:
            value = torch.cat([value, state[name.replace(".key.", ".value.")]])
        parts = name.removeprefix("segformer.encoder.").split(".")
        if parts[0] == "patch_embeddings":
            new = ["backbone", f"patch_embed{int(parts[1]) + 1}", *parts[2:]]
        elif parts[0] == "block":
            new = ["backbone", f"block{int(parts[1]) + 1}", *parts[2:]]
        elif parts[0] == "layer_norm":
            new = ["backbone", f"norm{int(parts[1]) + 1}", *parts[2:]]
        elif parts[1] == "linear_c":
            new = ["decode_head", f"linear_c{int(parts[2]) + 1}", *parts[3:]]
        else:
            own = {"linear_fuse": "linear_fuse.conv", "batch_norm": "linear_fuse.bn", "classifier": "linear_pred"}
            new = ["decode_head", own[parts[1]], *parts[2:]]
        text = ".".join(new).replace("attention.self.query", "attn.q").replace("attention.self.key", "attn.kv")
        text = text.replace("attention.self.sr", "attn.sr").replace("attention.self.layer_norm", "attn.norm")
        text = text.replace("attention.output.dense", "attn.proj").replace("layer_norm_", "norm")
        text = text.replace("mlp.dense", "mlp.fc").replace(".layer_norm.", ".norm.")
        found[text] = value
    return found


def mmsegmentation_names(official: dict[str, Tensor]) -> dict[str, Tensor]:
    """Encoder in SegFormer's own names -> MMSegmentation's: the rule of its tools/model_converters/mit2mmseg.py."""
    found: dict[str, Tensor] = {}
    state = {n.removeprefix("backbone."): v for n, v in official.items() if n.startswith("backbone.")}
    for name, value in state.items():
        if ".attn.kv." in name:
            continue
        stage, kind = int(name.split(".")[0][-1]) - 1, {"p": 0, "b": 1, "n": 2}[name[0]]
        part = name.partition(".")[2]
        if ".attn.q." in name:
            value = torch.cat([value, state[name.replace(".q.", ".kv.")]])
            part = part.replace("attn.q.", "attn.attn.in_proj_")
        elif name.endswith(("fc1.weight", "fc2.weight")):
            value = value[..., None, None]
        if kind == 0:
            part = part.replace("proj.", "projection.")
        part = part.replace("attn.proj.", "attn.attn.out_proj.").replace("mlp.fc1.", "ffn.layers.0.")
        part = part.replace("mlp.dwconv.dwconv.", "ffn.layers.1.").replace("mlp.fc2.", "ffn.layers.4.")
        found[f"backbone.layers.{stage}.{kind}.{part}"] = value
    return found


class MMHead(nn.Module):
    """MMSegmentation's SegformerHead in plain PyTorch, with the names of its state."""

    def __init__(self, widths: list[int], channels: int, classes: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(self._conv(width, channels) for width in widths)
        self.fusion_conv = self._conv(4 * channels, channels)
        self.conv_seg = nn.Conv2d(channels, classes, 1)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, std=0.2)
                module.running_mean.normal_(std=0.1)
                module.running_var.uniform_(0.5, 2.0)
        nn.init.normal_(self.conv_seg.weight, std=0.5)
        nn.init.zeros_(self.conv_seg.bias)

    @staticmethod
    def _conv(width: int, channels: int) -> nn.ModuleDict:
        return nn.ModuleDict({"conv": nn.Conv2d(width, channels, 1, bias=False), "bn": nn.BatchNorm2d(channels)})

    def forward(self, levels: list[Tensor]) -> Tensor:
        size, maps = levels[0].shape[2:], []
        for level, conv in zip(levels, self.convs, strict=True):
            mapped = F.relu(conv["bn"](conv["conv"](level)))
            maps.append(F.interpolate(mapped, size, mode="bilinear", align_corners=False))
        fused = self.fusion_conv["conv"](torch.cat(maps, dim=1))
        return self.conv_seg(F.relu(self.fusion_conv["bn"](fused)))
