"""Configurations of OpenMMLab as they stand in checkpoints: Python text, read as data. Nothing of it runs."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

_LONGEST = 1 << 20  # characters


def read_config(text: str) -> dict[str, Any]:
    """The values that a configuration assigns, as far as they are plain: numbers, texts, lists, ``dict(...)``.

    A name stands for the value that was assigned to it before; what is anything else is None. A text that is no Python,
    or too long, gives no values.
    """
    if len(text) > _LONGEST:
        return {}
    values: dict[str, Any] = {}
    try:
        for statement in ast.parse(text).body:
            if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                values[statement.targets[0].id] = _value(statement.value, values)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    return values


def _value(node: ast.expr, known: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(each, known) for each in node.elts]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        number = _value(node.operand, known)
        return -number if isinstance(number, int | float) else None
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return {str(_value(key, known)): _value(value, known) for key, value in pairs if key is not None}
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict" and not node.args:
        return {each.arg: _value(each.value, known) for each in node.keywords if each.arg is not None}
    return None


def inner(values: Any, *places: str) -> Any:
    """The value under a path of keys, None where it does not lead to one. Of a list its first item is taken."""
    for place in places:
        values = values[0] if isinstance(values, list) and values else values
        values = values.get(place) if isinstance(values, Mapping) else None
    return values
