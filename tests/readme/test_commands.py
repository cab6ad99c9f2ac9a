"""Every documented command is run as a reader pastes it, or is listed in `table.py` with the reason."""

from __future__ import annotations

import importlib
import re
import shlex

import pytest
from commands import documented_commands, of_block
from table import NODES, NOT_RUN, SETTINGS_ONLY, filled, promised, reason_not_to_run, runnable

COMMANDS = documented_commands()
READ_ONLY = [c for c in COMMANDS if not reason_not_to_run(c.text) and SETTINGS_ONLY.match(c.text)]
RUN = {
    runnable(c.text): c
    for c in COMMANDS
    if not reason_not_to_run(c.text) and not SETTINGS_ONLY.match(c.text) and not NODES.match(c.text)
}
"""What is run -> where it stands; several documents may say the same."""
SETTINGS = {"train": "TrainConfig", "study": "StudyConfig", "cache_teacher": "CacheConfig",
            "pseudo_labels": "PseudoConfig", "evaluate": "ScriptSettings"}  # fmt: skip


def test_value_the_readme_and_every_kind_of_place_is_seen():
    """The oracle is a hand count: the first table of the README, a docstring of the node, one of a command."""
    places = {command.where for command in COMMANDS}
    assert {"README.md", "docs/node.md", "any2seg_core/cli/bag_evaluate.py", "training/train.py"} <= places
    assert "ros2_ws/src/any2seg_ros/any2seg_ros/segment_node.py" in places
    assert len(COMMANDS) > 150 and len(RUN) > 25 and len(READ_ONLY) > 25


def test_value_commands_go_on_in_the_next_line_and_lose_their_comment():
    text = "Words.\n\n    any2seg a \\\n        -b c   # why\n    no command\n\nExample: any2seg d\n"
    assert list(of_block(text)) == ["any2seg a \\\n-b c", "any2seg d"]


def test_value_every_reason_is_that_of_a_command():
    """A line of the table that nothing needs any more goes; of tests that are not there yet it waits."""
    unused = [p for p in NOT_RUN if not any(re.match(p, c.text) for c in COMMANDS)]
    assert [pattern for pattern in unused if "calib" not in pattern and "examples" not in pattern] in (
        [], [r"pip |uv "], [r"make "]
    )  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c.text[:60])
def test_value_names_with_a_tilde_are_quoted(command):
    """A shell takes ~/in/image for the home folder wherever a word begins with it."""
    assert not re.search(r"(?:^|\s)(?:\w+:)?~/(?:in|out)/", command.text)


@pytest.mark.parametrize("command", READ_ONLY, ids=lambda c: c.text[:60])
def test_value_settings_of_training_commands_are_read(command, home, monkeypatch):
    monkeypatch.chdir(home)
    script, words = SETTINGS_ONLY.match(filled(command.text)).groups()
    module = importlib.import_module(f"any2seg_training.{script}")
    load = importlib.import_module("any2seg_training.settings").load_settings
    settings = load(getattr(module, SETTINGS[script]), shlex.split(words))
    assert settings.model_dump()["data"] is not None


@pytest.mark.parametrize("command", RUN, ids=lambda text: text[:60])
def test_value_a_command_works_as_pasted(command, home, paste):
    made = re.match(r"(?:any2seg drive \w+|python bags/make_drive.py) (\S+)", command)
    if made and (home / made[1]).is_symlink():
        (home / made[1]).unlink()
    done = paste(command)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-2000:]
    if path := promised(command):
        assert (home / path).exists(), done.stdout[-1000:] + done.stderr[-1000:]
    else:
        assert done.stdout.strip()


def test_value_completion_installs(home, paste):
    done = paste("any2seg --install-completion bash && _ANY2SEG_COMPLETE=complete_bash COMP_CWORD=1 "
                 "COMP_WORDS='any2seg pre' any2seg")  # fmt: skip
    assert done.returncode == 0 and done.stdout.endswith("predict\n"), done.stdout + done.stderr
    assert "any2seg.sh" in (home / ".bashrc").read_text()


def test_value_a_tilde_that_no_shell_expands_is_the_home_folder(home, paste):
    done = paste("any2seg predict '--rgb=~/a.png' --out='~/tilde.png'")
    assert done.returncode == 0, done.stderr
    assert (home / "tilde.png").is_file()
