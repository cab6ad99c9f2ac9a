"""What keeps codes of errors stable and used: literal at each raise site, and asked for by tests instead of texts."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from any2seg_core.base.error_codes import CODES, MESSAGE_REASONS

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "any2seg_core" / "base" / "error_codes.py"
SOURCES = sorted(
    path
    for folder in ("any2seg_core", "any2seg_drive", "training", "ros2_ws", "bags", "launch", "benchmarks", "scripts")
    for path in (ROOT / folder).rglob("*.py")
)
TESTS = sorted((ROOT / "tests").rglob("*.py"))
HELPERS = {"code_of", "complaint_code"}


def name_of(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def error_classes(trees: list[ast.Module]) -> set[str]:
    """UserError and what is made of it, over all files."""
    bases = {
        node.name: {name_of(base) for base in node.bases}
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    known = {"UserError"}
    while more := {name for name, parents in bases.items() if parents & known} - known:
        known |= more
    return known


PARSED = {path: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}
ERRORS = error_classes(list(PARSED.values()))
WITH_CODE = ERRORS - {"UnusableSetError"}  # the one whose constructor takes other things, and gives the code itself


def raise_sites(tree: ast.Module) -> Iterator[tuple[ast.Call, set[str]]]:
    """Calls of the constructors, each with the parameters of the function around it."""
    owners = {}
    for function in ast.walk(tree):  # outer functions come first, so that the inner one stays
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            owners |= {id(node): function for node in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and name_of(node.func) in WITH_CODE:
            owner = owners.get(id(node))
            yield node, {argument.arg for argument in owner.args.args} if owner else set()


def literals(node: ast.expr | None) -> set[str]:
    """Texts that an argument may be: of a constant, or of the branches of a choice between them."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return {node.value}
    return literals(node.body) | literals(node.orelse) if isinstance(node, ast.IfExp) else set()


def is_known(node: ast.expr | None, parameters: set[str], table: set[str]) -> bool:
    """A literal of the table, what another error brings, or what the caller of this function chose."""
    if isinstance(node, ast.IfExp):
        return is_known(node.body, parameters, table) and is_known(node.orelse, parameters, table)
    if isinstance(node, ast.Attribute):
        return node.attr in ("code", "reason")
    if isinstance(node, ast.Subscript):  # of what was read before, one code per sensor
        return name_of(node.value) == "codes"
    if isinstance(node, ast.Call):  # a UserError within the reading of a message has no reason of its own
        return name_of(node.func) in HELPERS or (name_of(node.func) == "getattr" and literals(node.args[2]) <= table)
    return bool(literals(node) & table) or (isinstance(node, ast.Name) and node.id in parameters)


def unknown_codes(tree: ast.Module) -> list[int]:
    """Lines of raise sites without such a code."""
    return [
        call.lineno
        for call, parameters in raise_sites(tree)
        if len(call.args) != 2
        or call.keywords
        or not is_known(
            call.args[1], parameters, set(MESSAGE_REASONS if name_of(call.func) == "MessageError" else CODES)
        )
    ]


def prose_matches(tree: ast.Module, errors: set[str]) -> list[int]:
    """Lines on which a test compares the text of a UserError with a pattern."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and name_of(node.func) == "raises"
        and any(name_of(part) in errors for part in ast.walk(node.args[0]) if isinstance(part, ast.expr))
        and any(keyword.arg == "match" for keyword in node.keywords)
    ]


def used_codes(path: Path, tree: ast.Module) -> set[str]:
    """Codes that a file gives to somebody; in the table's own file the keys of dictionaries are no use."""
    keys = {id(key) for node in ast.walk(tree) if isinstance(node, ast.Dict) for key in node.keys}
    texts = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and (path != TABLE or id(node) not in keys)
    }
    handed_on = [node.value for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "reason"]
    given = [call.args[1] for call, _ in raise_sites(tree) if name_of(call.func) == "MessageError"]
    reasons = {f"message-{text}" for node in (*handed_on, *given) for text in literals(node)}
    printed = {text.rpartition("[")[2].rstrip("]") for text in texts if text.endswith("]")}
    return (texts | reasons | printed) & set(CODES)


def test_value_each_raise_site_has_a_code_of_the_table():
    found = {str(path.relative_to(ROOT)): unknown_codes(tree) for path, tree in PARSED.items()}
    assert {name: lines for name, lines in found.items() if lines} == {}
    assert sum(len(list(raise_sites(tree))) for tree in PARSED.values()) > 400


def test_value_each_code_of_the_table_is_used():
    used = set().union(*(used_codes(path, tree) for path, tree in PARSED.items()))
    assert sorted(set(CODES) - used) == []


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_value_no_test_compares_the_text_of_a_user_error(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert prose_matches(tree, ERRORS) == [], "ask for the code and the values named: user_error of tests/raised.py"


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ('raise UserError("a", "file-missing")', []),
        ('raise UserError("a")', [1]),
        ('raise UserError("a", "nonsense")', [1]),
        ('raise MessageError("a", "file-missing")', [1]),
        ('raise MessageError("a", "size")', []),
        ("raise CorruptFileError(text, code)", [1]),
        ("def f(code):\n    raise UserError(text, code)", []),
        ('raise UserError("a", error.code)', []),
        ('raise UserError("a", "file-missing" if b else "c")', [1]),
        ('raise UserError("a", code_of(error))', []),
        ('raise UserError("a", frame.codes[name])', []),
        ('raise UserError("a", names[0])', [1]),
        ('raise UserError("a", made_up(error))', [1]),
    ],
)
def test_value_the_rule_of_raise_sites_can_fail(source, lines):
    assert unknown_codes(ast.parse(source)) == lines


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ('with pytest.raises(UserError, match="no such"):\n    f()', [1]),
        ('with pytest.raises((OSError, CorruptFileError), match="no such"):\n    f()', [1]),
        ("with pytest.raises(UserError):\n    f()", []),
        ('with pytest.raises(KeyError, match="a"):\n    f()', []),
    ],
)
def test_value_the_rule_of_tests_can_fail(source, lines):
    assert prose_matches(ast.parse(source), ERRORS) == lines
