"""One town for all tests of the drive that need one."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def world():
    pytest.importorskip("open3d")
    from any2seg_drive.raycast import World

    return World(0, "train")


@pytest.fixture(scope="session")
def camera_to_vehicle():
    import numpy as np

    return np.array([[0, 0, 1, 1.6], [-1, 0, 0, 0], [0, -1, 0, 1.7], [0, 0, 0, 1]], float)
