"""Write what is made from the node's tables: the tables of docs/node.md and config/segment.param.yaml.

    python scripts/make_node_docs.py

A test fails when the committed files differ from what this writes.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from any2seg_core.base.atomic import replacing
from any2seg_core.base.stream_modes import OFF
from any2seg_ros.diagnostics_table import NODE_KEYS, STREAM_KEYS
from any2seg_ros.parameter_table import TABLE, Parameter
from any2seg_ros.topic_table import OUTPUTS, TRANSFORMS, Topic, input_topics

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "node.md"
PARAMETER_FILE = ROOT / "ros2_ws" / "src" / "any2seg_ros" / "any2seg_ros" / "config" / "segment.param.yaml"

_YAML_HEAD = """\
# Parameters of the segmentation node: every one with its default. Made by scripts/make_node_docs.py.
# Copy this file, keep what you change, and start with params_file:=YOUR_FILE; launch arguments win over it.
/**:
  ros__parameters:
"""


def value_text(value: object) -> str:
    """A default in YAML's spelling."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(value)}]"
    return '""' if value == "" else f'"{value}"' if value == OFF else str(value)  # off alone is false


def limits_text(entry: Parameter) -> str:
    """Range or words, empty when everything goes."""
    if entry.low is not None:
        return f"{entry.low:g} to {entry.high:g}"
    return ", ".join(entry.choices)


def parameter_rows() -> list[str]:
    """One line of a Markdown table per parameter."""
    rows = ["| parameter | default | accepts | when | |", "|---|---|---|---|---|"]
    for name, entry in TABLE.items():
        when = "any time" if entry.tunable else "start"
        cells = (f"`{name}`", f"`{value_text(entry.default)}`", limits_text(entry), when, entry.description)
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def topic_rows(topics: tuple[Topic, ...]) -> list[str]:
    """One line of a Markdown table per topic."""
    rows = ["| topic | type | quality of service | |", "|---|---|---|---|"]
    return rows + [f"| `{t.name}` | {t.kind} | {t.qos} | {t.description} |" for t in topics]


def diagnostics_rows() -> list[str]:
    """One line of a Markdown table per key."""
    keys = {**NODE_KEYS, **{f"SENSOR.{key}": meaning for key, meaning in STREAM_KEYS.items()}}
    return ["| key | |", "|---|---|", *(f"| `{key}` | {meaning} |" for key, meaning in keys.items())]


def parameter_yaml() -> str:
    """The parameter file; `rgb.offset_s` stands below `rgb`."""
    lines, group = [], ""
    for name, entry in TABLE.items():
        above, _, leaf = name.rpartition(".")
        if above and above != group:
            lines.append(f"    {above}:")
        group = above
        indent = "      " if above else "    "
        limits = limits_text(entry)
        comment = f"{entry.description} Accepts {limits}." if limits else entry.description
        lines += textwrap.wrap(comment, 116, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
        lines.append(f"{indent}{leaf}: {value_text(entry.default)}")
    return _YAML_HEAD + "\n".join(lines) + "\n"


def page(text: str) -> str:
    """The page with its marked tables made anew."""
    tables = {
        "inputs": topic_rows((*input_topics(), *TRANSFORMS)),
        "outputs": topic_rows(OUTPUTS),
        "parameters": parameter_rows(),
        "diagnostics": diagnostics_rows(),
    }
    for name, rows in tables.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end -->)"

        def between(marks: re.Match[str], rows: list[str] = rows) -> str:
            return marks[1] + "\n".join([*rows, marks[2]])

        text, count = re.subn(pattern, between, text, flags=re.DOTALL)
        if count != 1:
            raise ValueError(f"{PAGE}: {count} places marked <!-- {name} --> ... <!-- end -->, expected one")
    return text


def main() -> None:
    """Write both files."""
    for path, text in ((PAGE, page(PAGE.read_text())), (PARAMETER_FILE, parameter_yaml())):
        with replacing(path) as partial:
            partial.write_text(text)


if __name__ == "__main__":
    main()
