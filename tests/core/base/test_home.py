"""``~`` in paths; the oracle is the environment's HOME."""

from __future__ import annotations

from pathlib import Path

import pytest

from any2seg_core.base.home import expanded, expanded_argument, expanded_text


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("", ""),
        ("~/a b.yaml", "/people/me/a b.yaml"),
        ("file://~/info.yaml", "file:///people/me/info.yaml"),
        ("file:///x/~/info.yaml", "file:///x/~/info.yaml"),
        ("runs/~/a", "runs/~/a"),
        ("~nobody-has-this-name/a", "~nobody-has-this-name/a"),
    ],
)
def test_value_only_a_leading_tilde_is_the_home_folder(monkeypatch, given, wanted):
    monkeypatch.setenv("HOME", "/people/me")
    assert expanded_text(given) == wanted
    if given and "file:" not in given:
        assert expanded(Path(given)) == Path(wanted)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("~/a", "/people/me/a"),
        ("--calib=~/a", "/people/me/a"),
        ("data.root=~/a", "/people/me/a"),
        ("--topic=rgb=~/a", "--topic=rgb=~/a"),
        ("a~/b", "a~/b"),
        ("--fault=blur:rgb@2:5,length=0.08", "--fault=blur:rgb@2:5,length=0.08"),
    ],
)
def test_value_words_of_a_command_line(monkeypatch, given, wanted):
    monkeypatch.setenv("HOME", "/people/me")
    assert expanded_argument(given).removeprefix("--calib=").removeprefix("data.root=") == wanted
