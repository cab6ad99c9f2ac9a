"""A trained model for which an engine is wanted."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import torch

from any2seg_core.base.errors import UserError
from any2seg_core.base.versions import installed
from any2seg_core.models import Any2Seg


@dataclass(frozen=True)
class TrainedModel:
    """A model in its final place, mode and precision.

    Attributes:
        size: (H, W) of its images, pixels. precision: of its encoder.
        digest: of `digest_of`, before the precision; "" where nobody asks for `hash_with`.
    """

    model: Any2Seg
    size: tuple[int, int]
    precision: str
    digest: str

    @property
    def sizes(self) -> dict[str, tuple[int, int]]:
        """Sensor -> (H, W) of its image, pixels."""
        return {name: self.model.image_size(name, self.size) for name in self.model.modalities}

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return next(self.model.parameters()).device

    def require_float32_on_cpu(self, runtime: str) -> None:
        """UserError where it is elsewhere or in another precision."""
        if self.device.type != "cpu":
            raise UserError(
                f"runtime {runtime}: runs on the processor, not on {self.device}: leave the device out",
                "device-missing",
            )
        if self.precision != "float32":
            raise UserError(
                f"runtime {runtime}: computes in float32, not in {self.precision}: leave the precision out",
                "precision-unsuitable",
            )

    def hash_with(self, *packages: str, **further: object) -> str:
        """Name, in hexadecimal digits, for what these packages make of this model; it changes with all that counts."""
        document = {"model": self.digest, "size": self.size, "versions": installed(packages), **further}
        return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:32]


def digest_of(model: Any2Seg) -> str:
    """Of configuration and weights, 64 hexadecimal digits."""
    digest = hashlib.sha256(model.config.model_dump_json().encode())
    for name, values in model.state_dict().items():
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        digest.update(values.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()

