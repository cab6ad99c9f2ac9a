"""Every command that README, documents and docstrings tell somebody to type."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "CONTRIBUTING.md", "bags/README.md", "docs/*.md", "examples/*.md", "ros2_ws/src/*/README.md")
SOURCES = ("any2seg_core", "any2seg_drive", "training", "ros2_ws/src/any2seg_ros/any2seg_ros", "launch", "bags",
           "scripts", "examples", "benchmarks")  # fmt: skip
PROGRAMS = ("any2seg", "any2seg-segment-node", "any2seg-segment-cameras", ".venv/bin/any2seg-segment-node", "python",
            "python3", "torchrun", "make", "pip", "ros2", "colcon", "rosdep", "docker", "sudo", "apt-get", "export",
            "source", "cd", "pytest", "mcap", "sqlite3", "git", "uv", "pre-commit", "mypy", "ruff")  # fmt: skip
_ASSIGNMENTS = re.compile(r"^(?:[A-Z_]+=\S* +)+")


class Command(NamedTuple):
    """One command as it stands there: `where` is the file, `text` what is pasted, continued lines and all."""

    where: str
    text: str


def documented_commands() -> list[Command]:
    """All of them, each text once."""
    found = [command for pattern in PAGES for page in sorted(ROOT.glob(pattern)) for command in of_page(page)]
    for folder in SOURCES:
        for source in sorted((ROOT / folder).rglob("*.py")):
            found += [Command(_name(source), text) for document in _docstrings(source) for text in of_block(document)]
    seen: dict[str, Command] = {}
    for command in found:
        seen.setdefault(command.text, command)
    return list(seen.values())


def of_block(text: str) -> Iterator[str]:
    """Commands in indented lines, or behind ``Example:``, with the lines that they go on in."""
    lines = iter(text.splitlines())
    for line in lines:
        start = re.match(r"(?:\s{4,}|\s*[Ee]xample: )(?:\$ )?(.*)", line)
        if start is None or not _is_command(start[1]):
            continue
        command = start[1]
        while command.endswith("\\"):
            command += f"\n{next(lines, '').strip()}"
        yield without_comment(command)


def without_comment(command: str) -> str:
    """What stands behind ``  # `` explains it."""
    return re.sub(r"\s+#\s.*$", "", command, flags=re.MULTILINE).strip()


def of_page(page: Path) -> Iterator[Command]:
    """Commands of one document, in their order."""
    text = page.read_text(encoding="utf-8")
    fenced = re.findall(r"```(?:bash|sh|shell|console)\n(.*?)```", text, re.DOTALL)
    blocks = ["\n".join(f"    {line}" for line in block.splitlines()) for block in fenced]
    body = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    for block in (*blocks, body):
        yield from (Command(_name(page), command) for command in of_block(block))
    for code in re.findall(r"(?<!`)`([^`\n]+)`(?!`)", body):
        if _is_command(code) and len(code.split()) > 1:
            yield Command(_name(page), without_comment(code).replace("\\|", "|"))


def _is_command(text: str) -> bool:
    words = _ASSIGNMENTS.sub("", text).split()
    is_prose = len(words) > 1 and words[1] in ("is", "and", "or", "can", "needs", "says", "of", "for")
    return bool(words) and words[0] in PROGRAMS and not is_prose


def _docstrings(source: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))
