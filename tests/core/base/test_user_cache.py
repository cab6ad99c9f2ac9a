"""Where things are kept that can be made again: the rule of the XDG base directories."""

from __future__ import annotations

from pathlib import Path

import pytest

from any2seg_core.base.user_cache import user_cache


@pytest.mark.parametrize(
    ("own", "shared", "home", "expected"),
    [
        ("", "", "/users/u", "/users/u/.cache/any2seg"),
        ("", "/var/c", "/users/u", "/var/c/any2seg"),
        ("/my/c", "/var/c", "/users/u", "/my/c"),
        ("~/mine", "/var/c", "/users/u", "/users/u/mine"),
        ("", "relative", "/users/u", "/users/u/.cache/any2seg"),
        ("relative", "", "/users/u", "/users/u/.cache/any2seg"),
    ],
)
def test_value_what_is_given_wins(monkeypatch, own, shared, home, expected):
    for name, value in (("ANY2SEG_CACHE", own), ("XDG_CACHE_HOME", shared), ("HOME", home)):
        monkeypatch.setenv(name, value)
    assert user_cache() == Path(expected)


def test_value_nobody_has_no_home(monkeypatch):
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # what it does where nobody has that name
    monkeypatch.delenv("ANY2SEG_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert user_cache() is None
