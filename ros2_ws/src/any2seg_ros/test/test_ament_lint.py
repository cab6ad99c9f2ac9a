"""The linters of ament, as `colcon test` runs them. Style itself is ruff's business."""

from __future__ import annotations

from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent
SOURCES = [str(PACKAGE / "any2seg_ros"), str(PACKAGE / "setup.py"), str(PACKAGE / "test")]


@pytest.mark.linter
def test_value_flake8():
    main = pytest.importorskip("ament_flake8.main")
    code, errors = main.main_with_errors(argv=["--config", str(PACKAGE / "test" / "flake8.ini"), *SOURCES])
    assert code == 0, "\n".join(errors)


@pytest.mark.linter
def test_value_pep257():
    """Modules, classes and functions that are public have a docstring; its form is free."""
    main = pytest.importorskip("ament_pep257.main")
    free = (105, 107, 200, 202, 203, 205, 212, 213, 301, 400, 401, 403, 404, 406, 407, 413, 415, 417)
    assert main.main(argv=["--add-ignore", *(f"D{number}" for number in free), "--", SOURCES[0]]) == 0


@pytest.mark.linter
def test_value_xmllint():
    """Of what needs no schema from the network; the manifest is read by catkin_pkg below."""
    main = pytest.importorskip("ament_xmllint.main")
    assert main.main(argv=[str(PACKAGE / "config")]) == 0


@pytest.mark.linter
def test_value_manifest_and_setup_agree():
    """catkin_pkg, which rosdep and colcon use, is the oracle for what a valid manifest is."""
    package = pytest.importorskip("catkin_pkg.package")
    warnings: list[str] = []
    manifest = package.parse_package(str(PACKAGE / "package.xml"), warnings=warnings)
    assert warnings == []
    setup = (PACKAGE / "setup.py").read_text()
    assert f'version="{manifest.version}"' in setup
    assert f'PACKAGE = "{manifest.name}"' in setup
    assert manifest.get_build_type() == "ament_python"
