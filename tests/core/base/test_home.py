"""``~`` in paths; the oracle is the environment's HOME."""

from __future__ import annotations

from pathlib import Path

import pytest

from any2seg_core.base.home import expanded, expanded_text


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("", ""),
        ("~/a b.yaml", "/home/me/a b.yaml"),
        ("file://~/info.yaml", "file:///home/me/info.yaml"),
        ("file:///x/~/info.yaml", "file:///x/~/info.yaml"),
        ("runs/~/a", "runs/~/a"),
        ("~nobody-has-this-name/a", "~nobody-has-this-name/a"),
    ],
)
def test_value_only_a_leading_tilde_is_the_home_folder(monkeypatch, given, wanted):
    monkeypatch.setenv("HOME", "/home/me")
    assert expanded_text(given) == wanted
    if given and "file:" not in given:
        assert expanded(Path(given)) == Path(wanted)
