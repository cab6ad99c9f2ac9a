"""The wheel, built and installed into an empty environment: whole, and at work outside of the repository.

Of the running environment that one sees what the wheel says that it needs, and no more: neither extras, nor an editable
installation of the checkout.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from dataclasses import dataclass
from importlib.metadata import distribution, files, requires
from pathlib import Path

import numpy as np
import pytest
from bag_files import small_entries, write_bag
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image
from raised import assert_refused

import any2seg_core

pytestmark = [pytest.mark.wheel, pytest.mark.slow, pytest.mark.xdist_group("wheel")]

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {
    "any2seg_core": ROOT / "any2seg_core",
    "any2seg_drive": ROOT / "any2seg_drive",
    "any2seg_ros": ROOT / "ros2_ws" / "src" / "any2seg_ros" / "any2seg_ros",
    "any2seg_training": ROOT / "training",
}
NOT_SHIPPED = ("__pycache__", "build", "*.egg-info")
HEIGHT, WIDTH = 45, 71


@dataclass(frozen=True)
class Installed:
    """The wheel, an environment that holds nothing else, and a working folder with an image and a recording."""

    wheel: Path
    prefix: Path
    folder: Path

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        command = [str(self.prefix / "bin" / program), *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=120, check=False
        )


def pip(python: Path, *arguments: object) -> None:
    command = [str(python), "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def build_wheel(folder: Path) -> Path:
    """From a copy of the sources, so that nothing is written into the checkout and nothing old is packed."""
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("any2seg_core", "any2seg_drive", "training", "ros2_ws"):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns(*NOT_SHIPPED))
    (source / "any2seg_training").symlink_to("training")
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder / "dist")
    pip(Path(sys.executable), "wheel", source, *options)
    [wheel] = (folder / "dist").glob("*.whl")
    return wheel


def required(*names: str, without: str = "") -> set[str]:
    """Distributions that are installed here for these, without extras, and for what they need in turn.

    Args:
        without: one that counts as not needed, nor what only it needs.
    """
    found: set[str] = set()
    pending = [Requirement(name) for name in names]
    while pending:
        wanted = pending.pop()
        name = canonicalize_name(wanted.name)
        if name not in found and name != without and (wanted.marker is None or wanted.marker.evaluate({"extra": ""})):
            found.add(name)
            pending += [Requirement(line) for line in requires(name) or ()]
    return found


def link_third_party(folder: Path, distributions: set[str]) -> None:
    """Links to what belongs to some distributions."""
    folder.mkdir()
    for name in distributions:
        for top in {path.parts[0] for path in files(name) or ()} - {"..", "__pycache__"}:
            if not (folder / top).exists():  # several may share one
                (folder / top).symlink_to(distribution(name).locate_file(top))


def install(wheel: Path, folder: Path, distributions: set[str]) -> Path:
    """An environment of the wheel and of some distributions, and of pip, which installs it."""
    prefix, third_party = folder / "environment", folder / "third_party"
    venv.create(prefix, with_pip=False, symlinks=True)
    [site_packages] = prefix.glob("lib/python*/site-packages")
    link_third_party(third_party, (distributions | required("pip")) - {"any2seg"})
    (site_packages / "third_party.pth").write_text(str(third_party))
    pip(prefix / "bin" / "python", "install", "--no-deps", "--no-index", "--ignore-installed", wheel)
    return prefix


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Installed:
    folder = tmp_path_factory.mktemp("wheel")
    wheel, work = build_wheel(folder), folder / "work"
    prefix = install(wheel, folder, required("any2seg"))
    work.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)).save(work / "camera.png")
    write_bag(work / "drive", small_entries(3))
    return Installed(wheel, prefix, work)


def test_value_the_wheel_holds_every_file_of_the_packages_and_no_other(installed):
    with zipfile.ZipFile(installed.wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = {
        f"{package}/{path.relative_to(folder)}"
        for package, folder in PACKAGES.items()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert names == expected
    assert {"any2seg_core/checkpoints/drive_b0.safetensors", "any2seg_core/py.typed"} <= names
    assert installed.wheel.name == f"any2seg-{any2seg_core.__version__}-py3-none-any.whl"


def test_value_what_is_imported_is_the_wheel_and_not_the_checkout(installed):
    program = f"""
import json
from importlib.util import find_spec
print(json.dumps({{name: find_spec(name).origin for name in {list(PACKAGES)!r}}}))
assert find_spec("training") is None
"""
    done = installed.run("python", "-c", program)
    assert done.returncode == 0, done.stderr
    [site_packages] = installed.prefix.glob("lib/python*/site-packages")
    found = json.loads(done.stdout)
    assert found == {name: str(site_packages / name / "__init__.py") for name in PACKAGES}


def test_value_predict_and_info_find_the_checkpoint(installed):
    done = installed.run("any2seg", "predict", "--rgb", "camera.png", "-o", "labels.png", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["used"] == ["rgb"]
    assert Image.open(installed.folder / "labels.png").size == (WIDTH, HEIGHT)
    described = installed.run("any2seg", "info", "--json")
    assert described.returncode == 0, described.stderr
    assert json.loads(described.stdout)["model"]["encoder"] == "mit_b0"


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("any2seg --version", f"any2seg {any2seg_core.__version__}\n"),
        ("any2seg bag inspect drive", "/camera/image_raw"),
        ("any2seg demo --help", "take sensors away"),
        ("any2seg drive bag --help", "rosbag2"),
    ],
)
def test_smoke_commands_work_outside_of_the_repository(installed, command, says):
    done = installed.run(*command.split())
    assert done.returncode == 0, done.stderr
    assert says in done.stdout


def test_exception_a_script_of_the_training_runs_as_a_module(installed):
    done = installed.run("python", "-m", "any2seg_training.train")
    assert done.returncode == 2
    assert_refused(done.stderr, "key-missing", "train: ", "data=<value>")


@pytest.mark.parametrize(("command", "extra"), [("demo", "any2seg[ros]"), ("drive bag out", "any2seg[drive]")])
def test_exception_without_an_extra_its_commands_name_it(installed, command, extra):
    done = installed.run("any2seg", *command.split())
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert_refused(done.stderr.splitlines()[-1], "package-missing", extra)  # progress may stand before it


def test_value_the_files_of_the_node_and_of_a_study_are_found(installed):
    program = """
from any2seg_ros.distro import config_file
from any2seg_training.study import RECIPE, STUDIES
print(config_file("fastdds.xml").is_file(), RECIPE.is_file(), (STUDIES / "fusion.yaml").is_file())
"""
    done = installed.run("python", "-c", program)
    assert done.stdout == "True True True\n", done.stderr


def test_value_the_wheel_without_torch_runs_an_exported_model(installed, tmp_path):
    """Its environment holds what runtime-requirements.txt names, and nothing else."""
    for package in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(package)
    from any2seg_core.base.shipped import default_checkpoint
    from any2seg_core.runtime.export.write import export_checkpoint

    listed = [line for line in (ROOT / "runtime-requirements.txt").read_text().splitlines() if line[:1] != "#"]
    prefix = install(installed.wheel, tmp_path, required(*listed))
    bare = Installed(installed.wheel, prefix, installed.folder)
    assert "No module named 'torch'" in bare.run("python", "-c", "import torch").stderr
    export_checkpoint(default_checkpoint(), installed.folder / "exported")
    done = bare.run("any2seg", "predict", "--model", "exported", "--rgb", "camera.png", "-o", "bare.png", "--json")
    assert done.returncode == 0, done.stderr
    assert installed.run("any2seg", "predict", "--rgb", "camera.png", "-o", "whole.png").returncode == 0
    found, expected = (np.asarray(Image.open(installed.folder / name)) for name in ("bare.png", "whole.png"))
    assert (found != expected).mean() <= 0.001
    done = bare.run("any2seg", "bag", "evaluate", "drive", "--model", "exported", "--out", "scores", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads((installed.folder / "scores" / "summary.json").read_text())["subsets"]
