"""The engine of torch.compile: encoder and head as the code that its compiler makes of them."""

from __future__ import annotations

import copy
import logging
from typing import cast

import torch

from any2seg_core.base.errors import UserError
from any2seg_core.models.decoder import AllMLPHead
from any2seg_core.runtime.engines.eager import EagerEngine
from any2seg_core.runtime.engines.parity import noise
from any2seg_core.runtime.engines.trained import TrainedModel

_LOG = logging.getLogger(__name__)


class CompileEngine(EagerEngine):
    """A model under torch.compile. Compiled when it is made, for one frame; for another number of frames at its first.

    Args:
        trained: in evaluation mode.

    Raises:
        UserError: nothing can be compiled here, such as without a C++ compiler.
    """

    name = "compile"

    def __init__(self, trained: TrainedModel) -> None:
        compiled = copy.copy(trained.model)
        compiled._modules = dict(trained.model._modules)  # modules of its own; the weights stay those of the model
        compiled.encoder = torch.compile(trained.model.encoder)
        compiled.head = cast(AllMLPHead, torch.compile(trained.model.head))
        super().__init__(compiled, trained.precision)
        self._warm_up(trained)

    def _warm_up(self, trained: TrainedModel) -> None:
        _LOG.warning("runtime compile: torch.compile is at work, which takes minutes the first time")
        images = self.given(noise(trained.sizes))
        try:
            with self.computing():
                self.decode(self.fuse(self.encode(images)))
        except Exception as error:  # its compilers' exceptions have no class in common but this one
            reason = next(line.strip() for line in (*str(error).splitlines(), repr(error)) if line.strip())
            raise UserError(
                f"runtime compile: torch.compile {torch.__version__} cannot compile the model here ({reason}): install "
                "a C++ compiler, apt-get install g++, or take another runtime",
                "runtime-unsuitable",
            ) from None
