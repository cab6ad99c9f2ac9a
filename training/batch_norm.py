"""BatchNorm whose statistics are those of the global batch, on CPUs (gloo) and GPUs (NCCL) alike."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn


class _SumOverProcesses(torch.autograd.Function):
    """Sum of a tensor over all processes; what one process changes in it reaches the losses of all."""

    @staticmethod
    def forward(_: object, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_: object, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total


class GlobalBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm2d over the batches of all processes, which must be of one size; its gradient crosses them too.

    With it N processes compute what one process computes on the whole batch. ``nn.SyncBatchNorm`` needs a GPU.
    State names are those of BatchNorm2d.
    """

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) of this process -> the same shape."""
        if not self.training:
            return super().forward(images)
        values = images.float()
        mean = self._over_processes(values.mean(dim=(0, 2, 3)))  # (C,)
        centred = values - mean[:, None, None]
        variance = self._over_processes(centred.square().mean(dim=(0, 2, 3)))  # (C,)
        count = values.numel() // values.shape[1] * dist.get_world_size()
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
            self.num_batches_tracked += 1
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(images.dtype)

    @staticmethod
    def _over_processes(statistic: Tensor) -> Tensor:
        return _SumOverProcesses.apply(statistic) / dist.get_world_size()


def with_global_batch_norm(model: nn.Module) -> nn.Module:
    """The same model, changed in place: every BatchNorm2d becomes a GlobalBatchNorm2d with its state."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.BatchNorm2d:
                norm = GlobalBatchNorm2d(child.num_features, child.eps, child.momentum)
                norm.load_state_dict(child.state_dict())
                setattr(parent, name, norm)
    return model
