"""BatchNorm whose statistics are those of the global batch, on CPUs (gloo) and GPUs (NCCL) alike, or stay."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from any2seg_core.base.errors import UserError
from any2seg_training.processes import SumOverProcesses

Model = TypeVar("Model", bound=nn.Module)


class GlobalBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm2d over the batches of all processes, however large each is; its gradient crosses them too.

    With it N processes compute what one process computes on the whole batch. ``nn.SyncBatchNorm`` needs a GPU.
    State names are those of BatchNorm2d.
    """

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) of this process -> the same shape."""
        if not self.training:
            return super().forward(images)
        values = images.to(self.weight.dtype)  # half precision is too coarse for statistics
        count = values.new_tensor([values.numel() // values.shape[1]])  # (1,)
        # Means times counts, not sums over pixels: those lose digits in float32.
        sums = SumOverProcesses.apply(torch.cat([values.mean(dim=(0, 2, 3)) * count, count]))  # (C + 1,)
        mean, total = sums[:-1] / sums[-1], sums[-1].detach()  # (C,), scalar
        centred = values - mean[:, None, None]
        variance = SumOverProcesses.apply(centred.square().mean(dim=(0, 2, 3)) * count) / total  # (C,)
        with torch.no_grad():
            assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
            assert self.num_batches_tracked is not None  # as BatchNorm2d has them unless told otherwise
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * total / (total - 1), self.momentum)
            self.num_batches_tracked += 1
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(images.dtype)


def with_global_batch_norm(model: Model) -> Model:
    """The same model, changed in place: every BatchNorm2d becomes a GlobalBatchNorm2d with its state.

    Raises:
        UserError: a kind of BatchNorm that computes otherwise, such as timm's that ends with an activation.
    """
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm) and type(module) is not nn.BatchNorm2d:
            raise UserError(
                f"sync_batch_norm=true: {name} is {type(module).__name__}, which can only average over its own "
                "process; choose another encoder, or leave sync_batch_norm out",
                "encoder-unsuitable",
            )
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.BatchNorm2d:
                norm = GlobalBatchNorm2d(child.num_features, child.eps, child.momentum)
                norm.load_state_dict(child.state_dict())
                setattr(parent, name, norm)
    return model


def freeze_batch_norm(model: nn.Module) -> None:
    """BatchNorm keeps its statistics and uses them in training too; its scale and shift go on learning."""
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.eval()
