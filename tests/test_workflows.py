"""The workflows run elsewhere: what they name must exist here, and say the same as Makefile and scripts."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
MAKEFILE = (ROOT / "Makefile").read_text()
MADE_ON_THE_WAY = {"dist", "build", "build/docs", "ros2_ws/install/setup.bash"}
FOLDERS = {path.name for path in ROOT.iterdir() if path.is_dir()} | {"dist", "build"}


def jobs(path):
    return yaml.safe_load(path.read_text())["jobs"]


def commands(path):
    """Words of each command of each job."""
    for job in jobs(path).values():
        for step in job["steps"]:
            for line in step.get("run", "").replace("\\\n", " ").splitlines():
                yield shlex.split(line, comments=True)


def paths(words):
    """What looks like a path into the repository: its first part is a folder of it."""
    for word in words:
        for part in re.split(r"[=:]", word.removeprefix("$PWD/")):
            if part.split("/")[0] in FOLDERS and "*" not in part:
                yield part


def recipe(target):
    """The commands of a target of the Makefile."""
    lines = re.search(rf"^{target}:[^\n]*\n((?:\t[^\n]*\n)+)", MAKEFILE, re.M)
    return [line.strip().replace("$(BIN)", ".venv/bin") for line in lines[1].splitlines()]


def test_smoke_there_are_workflows():
    assert {path.name for path in WORKFLOWS} == {"test.yml", "ros.yml"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_value_every_make_target_exists(path):
    targets = [words[1] for words in commands(path) if words[:1] == ["make"]]
    assert [target for target in targets if not re.search(rf"^{target}:", MAKEFILE, re.M)] == []
    assert all(step.get("run") or step.get("uses") for job in jobs(path).values() for step in job["steps"])


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_value_every_path_exists(path):
    named = {part for words in commands(path) for part in paths(words)}
    named |= {step["working-directory"] for job in jobs(path).values() for step in job["steps"]
              if "$" not in step.get("working-directory", "$")}  # fmt: skip
    assert named - MADE_ON_THE_WAY != set()
    assert [part for part in sorted(named - MADE_ON_THE_WAY) if not (ROOT / part).exists()] == []


def test_value_a_docker_file_for_every_distribution():
    docker = jobs(ROOT / ".github/workflows/ros.yml")["docker"]
    for distro in docker["strategy"]["matrix"]["distro"]:
        assert (ROOT / docker["env"]["DOCKERFILE"].replace("${{ matrix.distro }}", distro)).is_file()


def test_value_packages_and_versions_are_those_of_the_makefile():
    workflow = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())
    assert workflow["env"]["APT_PACKAGES"] == re.search(r"^APT_PACKAGES := (.*)$", MAKEFILE, re.M)[1]
    supported = re.search(r"^  ([\d.|]+)\) ;;$", (ROOT / "scripts/check_system.sh").read_text(), re.M)[1]
    assert workflow["jobs"]["python"]["strategy"]["matrix"]["python"] == supported.split("|")


def test_value_the_hooks_of_pre_commit_are_make_lint():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    entries = [hook["entry"].replace(" --force-exclude", "") for repo in config["repos"] for hook in repo["hooks"]]
    assert entries == [command.removesuffix(" .") for command in recipe("lint")]


def test_value_documentation_lists_every_page_and_public_name():
    import any2seg_core

    text = (ROOT / "mkdocs.yml").read_text()
    assert [page.name for page in (ROOT / "docs").glob("*.md") if f" {page.name}\n" not in text] == []
    named = re.findall(r"^::: any2seg_core\.(\w+)$", (ROOT / "docs/api.md").read_text(), re.M)
    assert sorted(named) == sorted(name for name in any2seg_core.__all__ if name != "__version__")


def test_value_the_site_is_built_without_a_warning(tmp_path, caplog):
    build = pytest.importorskip("mkdocs.commands.build", reason="pip install .[docs]")
    from mkdocs.config import load_config

    config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path / "site"))
    build.build(config)  # strict: a warning is an Abort
    page = (tmp_path / "site" / "api.html").read_text()
    assert 'id="any2seg_core.Predictor.load"' in page
    assert "The shipped checkpoint" in page or "the shipped checkpoint" in page
