"""Pages out of templates, in which everything is escaped, and times out of addresses."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from any2seg_core.base.errors import UserError
from any2seg_core.base.screen import one_line

_LATEST_S = 1e9


def seconds(request: Request, name: str, default: float) -> float:
    """A time of the address; UserError for what is no time."""
    text = request.query_params.get(name, "")
    try:
        value = float(text) if text else default
    except ValueError:
        value = math.nan
    if not 0.0 <= value <= _LATEST_S:
        raise UserError(f"{name}={text[:40]!r}: give seconds from the start of the drive", "value-range")
    return value


def page(template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A page, or a part of one."""
    return HTMLResponse(_environment().get_template(template).render(**values), status)


@cache
def _environment() -> Environment:
    """Everything that stands in a page is escaped, whatever it is called."""
    loader = ChoiceLoader([PackageLoader("any2seg_core.view"), PackageLoader("any2seg_core.reports")])
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["plain"] = one_line
    return environment
