"""Packages that only fleets and their pages need: loaded when used, with one line where an extra is missing."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from any2seg_core.base.errors import UserError


def package(name: str, extra: str, what: str) -> Any:
    """The module of that name.

    Args:
        name: as it is imported, ``pyarrow.parquet``. extra: of this package that installs it.
        what: needs it, for the message, such as "a fleet's store".

    Raises:
        UserError: it is not installed, or cannot be imported.
    """
    try:
        return import_module(name)
    except ImportError as error:
        reason = "" if isinstance(error, ModuleNotFoundError) else f" ({error})"
        raise UserError(
            f"{what} needs {name.partition('.')[0]}{reason}: pip install 'any2seg[{extra}]'", "package-missing"
        ) from None


def arrow() -> Any:
    """The module pyarrow."""
    return package("pyarrow", "fleet", "a fleet's store")


def parquet() -> Any:
    """The module pyarrow.parquet."""
    return package("pyarrow.parquet", "fleet", "a fleet's store")


def duckdb() -> Any:
    """The module duckdb."""
    return package("duckdb", "fleet", "asking a fleet's store")
