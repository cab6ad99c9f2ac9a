"""`from any2seg_core import ...`: light, complete, and every name with an example that runs."""

from __future__ import annotations

import ast
import doctest
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from bag_files import LIDAR_TO_CAMERA, small_entries, write_bag
from PIL import Image

import any2seg_core
from any2seg_core.sensors.calibration import Calibration, save_calibration
from any2seg_core.sensors.camera import CameraModel

ROOT = Path(__file__).resolve().parents[2]
HEIGHT, WIDTH = 97, 161
HEAVY = ("torch", "numpy", "cv2", "numba", "pydantic", "rosbags", "yaml")


@pytest.fixture
def frame_folder(tmp_path, monkeypatch) -> Path:
    """A working folder with the files that the examples name."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    camera = CameraModel.from_fov(WIDTH, HEIGHT, 90.0)
    save_calibration("calibration.yaml", Calibration(camera, lidar_to_camera=LIDAR_TO_CAMERA))
    Image.fromarray(random.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)).save("camera.png")
    np.save("lidar.npy", random.uniform([2, -3, -1, 0], [20, 3, 2, 1], (500, 4)).astype(np.float32))
    write_bag(tmp_path / "drive", small_entries(3))
    return tmp_path


def type_checker_imports() -> set[str]:
    """Names below `if TYPE_CHECKING` of the package, with the module they come from: "sync.SyncConfig"."""
    tree = ast.parse((ROOT / "any2seg_core" / "__init__.py").read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    return {f"{node.module}.{alias.name}" for node in block.body for alias in node.names}


def test_value_importing_the_package_imports_nothing_heavy():
    program = f"import any2seg_core, json, sys; print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert json.loads(done.stdout) == []


def test_value_type_checkers_see_what_is_there_at_run_time():
    assert type_checker_imports() == {f"any2seg_core.{home}.{name}" for name, home in any2seg_core._HOMES.items()}
    assert sorted(any2seg_core._HOMES) == any2seg_core.__all__
    assert set(any2seg_core.__all__) <= set(dir(any2seg_core))
    assert (ROOT / "any2seg_core" / "py.typed").is_file()


def test_exception_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="'any2seg_core' has no attribute 'Predicter'"):
        any2seg_core.Predicter  # noqa: B018
    with pytest.raises(ImportError, match="Predicter"):
        from any2seg_core import Predicter  # noqa: F401


@pytest.mark.parametrize("name", ["__version__", *sorted(set(any2seg_core.__all__) - {"__version__"})])
def test_value_the_example_of_each_name_runs(frame_folder, name):
    """That of the version, which is a string, stands in the package itself."""
    shown = any2seg_core if name == "__version__" else getattr(any2seg_core, name)
    [example] = doctest.DocTestFinder(recurse=False).find(shown, name, globs={})
    assert f"import {name}" in example.docstring or re.search(rf"import .*\b{name}\b", example.docstring)
    said: list[str] = []
    result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=said.append)
    assert result.attempted >= 2
    assert result.failed == 0, "".join(said)


def test_value_the_example_of_the_readme_segments_a_frame(frame_folder):
    [block] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    lines = [line for line in block.splitlines() if line.strip() and not re.match(r"\s*(#|import|from)", line)]
    assert len(lines) <= 6
    exec(compile(block, "README.md", "exec"), {})
    labels = np.asarray(Image.open(frame_folder / "labels.png"))
    assert labels.shape == (HEIGHT, WIDTH)
    assert labels.max() < 25
