"""YAML and JSON from outside, files and texts in recordings: bounded, and every defect is a UserError.

Only plain YAML is read: mappings, lists, text, numbers, booleans, null; dates come as text. Tags of Python, values that
their tag does not allow (a 13th month), keys that are given twice and references to themselves are refused.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from any2seg_core.base.errors import UserError
from any2seg_core.base.limits import limits, raising

if TYPE_CHECKING:
    from yaml import SafeLoader as _Loader
else:  # libyaml is ten times as fast, and in every wheel
    _Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_LONGEST_NUMBER = 400  # characters: longer ones take quadratic time, and no float is longer
_STR, _DATE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:timestamp"
_VALUES = frozenset(f"tag:yaml.org,2002:{name}" for name in ("int", "float", "bool", "null"))
_PLAIN = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("map", "seq", "str", "int", "float", "bool", "null", "merge", "timestamp")
)


def read_text(path: Path, what: str = "text file") -> str:
    """The UTF-8 text of a file, without a byte order mark.

    Args:
        what: what the file should be, for messages.

    Raises:
        UserError: missing, a folder, not readable, too large, or not UTF-8.
    """
    most = limits().text_bytes
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except FileNotFoundError:
        raise UserError(f"{path}: no such {what}; check the path", "file-missing") from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: cannot be read ({reason}); give a {what}", "file-unreadable") from None
    if len(data) > most:
        raise UserError(f"{path}: more than {most // 1024} KiB is no {what}; {raising('text_kib')}", "limit-exceeded")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}: line {line} is not UTF-8 text; save the {what} as UTF-8", "text-syntax") from None


def read_json(path: Path, what: str = "JSON file") -> Any:
    """The document of a JSON file; UserError as `read_text`, and for what is no JSON or nested too deeply."""
    return parse_json(read_text(path, what), str(path))


def parse_json(text: str, source: str) -> Any:
    """The document of a JSON text; UserError names `source` and the line."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(
            f"{source}: is no JSON file (line {error.lineno}: {error.msg}); correct it", "text-syntax"
        ) from None
    except RecursionError:
        raise UserError(f"{source}: is nested too deeply; write it flatter", "limit-exceeded") from None
    except ValueError as error:  # a number of thousands of digits
        raise UserError(f"{source}: is no JSON file ({error}); correct it", "text-syntax") from None


def read_yaml(path: Path, what: str = "YAML file") -> Any:
    """The document of a YAML file, None for an empty one; UserError as `read_text` and `parse_yaml`."""
    return parse_yaml(read_text(path, what), str(path))


def read_params_yaml(path: Path) -> Any:
    """The document of a ROS 2 parameter file, plain scalars as rcl reads them, keys as text; UserError as `read_yaml`.

    y, n and their capitals are truth values too; ~, null, 1:30 and 1_000 are text; 08, 1e3 and inf are numbers.
    """
    return _parse(read_text(path, "parameter file"), str(path), _ParameterLoader)


def parse_yaml(text: str, source: str) -> Any:
    """The one document of a YAML text, None for an empty one.

    Raises:
        UserError: names `source`, the line and what is wrong: no YAML, several documents, a tag that is not plain YAML,
            a value that is none of its tag, a key given twice, or more nesting or nodes than the limits allow.
    """
    return _parse(text, source, _PlainLoader)


def _parse(text: str, source: str, kind: type[_PlainLoader]) -> Any:
    if len(text) > limits().text_bytes:
        raise UserError(f"{source}: more than {limits().text_kib} KiB of YAML; {raising('text_kib')}", "limit-exceeded")
    try:
        _check(text, source)
        loader = kind(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        place = f"{_place(mark, text)}: " if mark else ""
        problem = " ".join((getattr(error, "problem", None) or str(error)).split())
        raise UserError(f"{source}: is not YAML ({place}{problem}); correct it", "text-syntax") from None


def _place(mark: yaml.Mark, text: str) -> str:
    """Line and column from 1; what is missing at the end is missed behind the last line."""
    lines = text.splitlines() or [""]
    at = (mark.line, mark.column) if mark.line < len(lines) else (len(lines) - 1, len(lines[-1]))
    return f"line {at[0] + 1}, column {at[1] + 1}"


def _check(text: str, source: str) -> None:
    """UserError where the text is nested too deeply, would grow beyond its limit by aliases, or repeats a key."""
    allowed = limits()
    sizes: dict[str | None, int] = {}  # anchor -> nodes behind it
    open_nodes: list[_Open] = []
    count = 0
    for event in yaml.parse(text, Loader=_Loader):
        place = f"{source}: line {event.start_mark.line + 1 if event.start_mark else 1}"
        if isinstance(event, yaml.CollectionEndEvent):
            closed = open_nodes.pop()
            sizes[closed.anchor] = count - closed.before
            continue
        if not isinstance(event, yaml.NodeEvent):
            continue
        if open_nodes and not open_nodes[-1].take(event) and isinstance(event, yaml.ScalarEvent):
            raise UserError(f"{place}, key {event.value[:40]!r} is given twice; keep one of them", "key-twice")
        if isinstance(event, yaml.AliasEvent):
            if any(node.anchor == event.anchor for node in open_nodes):
                raise UserError(f"{place}, *{event.anchor} stands within itself; write it out", "text-syntax")
            count += sizes.get(event.anchor, 1)
        else:
            sizes[event.anchor] = 1
            count += 1
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append(_Open(event.anchor, count - 1, isinstance(event, yaml.MappingStartEvent)))
            if len(open_nodes) > allowed.text_depth:
                limit = f"more than {allowed.text_depth} levels"
                raise UserError(f"{place} is nested too deeply ({limit}); {raising('text_depth')}", "limit-exceeded")
        if count > allowed.text_nodes:
            limit = f"more than {allowed.text_nodes} values, each alias counted in full"
            raise UserError(f"{place} is too large ({limit}); {raising('text_nodes')}", "limit-exceeded")


class _Open:
    """A mapping or list whose end has not come: its anchor, the count before it, and the keys of a mapping."""

    def __init__(self, anchor: str | None, before: int, is_mapping: bool) -> None:
        self.anchor, self.before = anchor, before
        self._is_mapping, self._is_key = is_mapping, False
        self._keys: set[tuple[str, Any]] = set()

    def take(self, event: yaml.NodeEvent) -> bool:
        """Note the next node within; False for a key that was there already."""
        self._is_key = self._is_mapping and not self._is_key
        if not self._is_key or not isinstance(event, yaml.ScalarEvent):
            return True
        key = _key_of(event)
        is_new = key not in self._keys or key == _MERGE
        self._keys.add(key)
        return is_new


_MERGE = ("tag:yaml.org,2002:merge", "<<")
_RESOLVER = yaml.resolver.Resolver()


def _key_of(event: yaml.ScalarEvent) -> tuple[str, Any]:
    """What tells a key from others: front is 'front', yes is on, 1 is 0x1, and the number 1 is not the text "1"."""
    tag = event.tag or _RESOLVER.resolve(yaml.ScalarNode, event.value, event.implicit)
    value: Any = event.value
    if tag in _VALUES and len(value) <= _LONGEST_NUMBER:
        try:
            return "", yaml.SafeLoader("").construct_object(yaml.ScalarNode(tag, value))  # True is the key 1 in Python
        except (ValueError, KeyError, yaml.YAMLError):  # the loader says what is wrong
            pass
    return (_STR if tag == _DATE else tag), value


class _PlainLoader(_Loader):
    """Plain YAML only; whatever PyYAML's constructors raise becomes its own error, with the line."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if node.tag not in _PLAIN:
            problem = f"tag {node.tag[:60]!r}: only text, numbers, lists and mappings are read"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        is_number = isinstance(node, yaml.ScalarNode) and node.tag != _STR
        if is_number and len(node.value) > _LONGEST_NUMBER:
            raise yaml.constructor.ConstructorError(None, None, "a number is too long", node.start_mark)
        try:
            value = super().construct_object(node, deep)
            return node.value if node.tag == _DATE else value
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError) as error:
            kind = node.tag.rpartition(":")[2]
            said = node.value[:40] if isinstance(node.value, str) else "this"
            problem = f"{said!r} is no {kind} ({type(error).__name__})"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from None


class _ParameterLoader(_PlainLoader):
    """Plain scalars by the rules of rcl's own parser (rcl_yaml_param_parser), which are not those of YAML 1.1."""

    def get_single_node(self) -> Any:
        node = super().get_single_node()
        _make_keys_text(node)
        return node


_TRUE = "y|Y|yes|Yes|YES|true|True|TRUE|on|On|ON"
_FALSE = "n|N|no|No|NO|false|False|FALSE|off|Off|OFF"
_RCL_SCALARS = {
    "bool": (rf"(?:{_TRUE}|{_FALSE})$", "yYnNtTfFoO"),
    "int": (r"[-+]?(?:0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)$", "-+0123456789"),
    "float": (
        r"[-+]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|\.?(?:inf|Inf|INF)|\.?(?:nan|NaN|NAN))$",
        "-+.0123456789iInN",
    ),
    "null": (r"$", [""]),
    "merge": (r"<<$", "<"),
}
_ParameterLoader.yaml_implicit_resolvers = {}  # none of YAML 1.1
for _name, (_pattern, _first) in _RCL_SCALARS.items():
    _ParameterLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(_pattern), list(_first))
_ParameterLoader.add_constructor(
    "tag:yaml.org,2002:bool", lambda _, node: re.fullmatch(_TRUE, node.value, re.IGNORECASE) is not None
)


def _make_keys_text(node: Any) -> None:
    """Keys of mappings are names, also where they read like a number or a truth value."""
    seen, waiting = set(), [node]
    while waiting:
        here = waiting.pop()
        if not isinstance(here, yaml.CollectionNode) or id(here) in seen:
            continue
        seen.add(id(here))
        if isinstance(here, yaml.MappingNode):
            for key, value in here.value:
                if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE[0]:
                    key.tag = _STR
                waiting.append(value)
        else:
            waiting.extend(here.value)
