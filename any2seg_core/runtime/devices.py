"""Devices by name, for PyTorch."""

from __future__ import annotations

import torch

from any2seg_core.base.errors import UserError


def available_device(device: str | torch.device) -> torch.device:
    """The device if it exists on this machine and can compute; UserError otherwise."""
    try:
        present = torch.device(device)
        torch.ones(1, device=present).cpu()
    except (RuntimeError, AssertionError):  # a build without CUDA asserts
        raise UserError(f"device {str(device)!r} is not available here: use 'cpu'", "device-missing") from None
    return present
