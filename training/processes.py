"""One process or many: the only place that knows about torch.distributed."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from any2seg_core.base.errors import UserError
from any2seg_core.losses.whole_batch import Total, alone


class SumOverProcesses(torch.autograd.Function):
    """Sum of a tensor over all processes; what one process changes in it reaches the losses of all."""

    @staticmethod
    def forward(_: object, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_: object, gradient: Tensor) -> Tensor:
        return SumOverProcesses.apply(gradient)  # so that it can be differentiated again, as R_p does


@dataclass(frozen=True)
class Processes:
    """Place of this process in the run. torchrun says it in the environment; without torchrun there is one process."""

    rank: int
    world_size: int
    device: torch.device

    @classmethod
    def start(cls, wanted: str) -> Processes:
        """Join the other processes; ``wanted`` is "auto", "cpu" or "cuda"."""
        cuda = torch.cuda.is_available() if wanted == "auto" else wanted == "cuda"
        if cuda and not torch.cuda.is_available():
            raise UserError("device=cuda: this PyTorch sees no GPU; use device=cpu", "device-missing")
        world_size = int(os.environ.get("WORLD_SIZE", "1"))
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if cuda else torch.device("cpu")
        if cuda:
            torch.cuda.set_device(device)
        if world_size > 1:
            dist.init_process_group("nccl" if cuda else "gloo")
        return cls(int(os.environ.get("RANK", "0")), world_size, device)

    @property
    def is_main(self) -> bool:
        """True in the one process that writes files."""
        return self.rank == 0

    def parallel(self, model: nn.Module) -> nn.Module:
        """The model itself, or wrapped so that gradients are averaged over the processes."""
        if self.world_size == 1:
            return model
        return DistributedDataParallel(model, device_ids=[self.device] if self.device.type == "cuda" else None)

    def backward_context(self, parallel: nn.Module, last: bool) -> AbstractContextManager:
        """Around the forward and backward of one batch: gradients travel after the ``last`` one of a step only."""
        return nullcontext() if last or not isinstance(parallel, DistributedDataParallel) else parallel.no_sync()

    @property
    def in_loss(self) -> Total:
        """Sum over all processes for a loss: every process calls it, in the same order, forwards and backwards."""
        return SumOverProcesses.apply if self.world_size > 1 else alone

    def share_buffers(self, model: nn.Module) -> None:
        """Give every process the buffers of the first: each has seen other samples, and averages are made of them."""
        if self.world_size > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, 0)

    def total(self, counts: Tensor) -> Tensor:
        """Sum of a tensor over all processes, on the CPU."""
        return self._reduced(counts, dist.ReduceOp.SUM)

    def largest(self, value: float) -> float:
        """Maximum of a number over all processes, so that all of them take the same decision."""
        return float(self._reduced(torch.tensor(value, dtype=torch.float64), dist.ReduceOp.MAX))

    def stop(self) -> None:
        """Leave the group."""
        if self.world_size > 1:
            dist.destroy_process_group()

    def _reduced(self, values: Tensor, operation: dist.ReduceOp.RedOpType) -> Tensor:
        if self.world_size > 1:
            values = values.to(self.device)
            dist.all_reduce(values, operation)
        return values.cpu()
