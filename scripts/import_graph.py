"""Which room of the project imports which, from the sources themselves; draws docs/images/architecture.svg.

    python scripts/import_graph.py
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {
    "any2seg_core": ROOT / "any2seg_core",
    "any2seg_drive": ROOT / "any2seg_drive",
    "any2seg_training": ROOT / "training",
    "any2seg_ros": ROOT / "ros2_ws" / "src" / "any2seg_ros" / "any2seg_ros",
}
"""Import name of each package -> its folder."""

PICTURE = ROOT / "docs" / "images" / "architecture.svg"
_WIDTH, _BOX, _ROW, _MARGIN = 900, (118, 34), 78, 16


def imported_modules(source: str) -> set[str]:
    """Dotted names that a source file imports, at its top or inside a function; `from a import b` gives a.b."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room_of(module: str, folders: Mapping[str, Path] = PACKAGES) -> str | None:
    """The sub-package of the core, else the package, that a dotted name belongs to; None for what is not ours."""
    first, *rest = module.split(".")
    if first not in folders:
        return None
    is_room = first == "any2seg_core" and rest and (folders[first] / rest[0]).is_dir()
    return f"{first}.{rest[0]}" if is_room else first


def import_graph(folders: Mapping[str, Path] = PACKAGES) -> dict[str, set[str]]:
    """Room -> rooms that it imports from."""
    graph: dict[str, set[str]] = {}
    for package, folder in folders.items():
        for path in sorted(folder.rglob("*.py")):
            inside = path.relative_to(folder).with_suffix("").parts
            room = room_of(".".join((package, *inside)), folders)
            rooms = {room_of(module, folders) for module in imported_modules(path.read_text())}
            if room is not None:
                graph.setdefault(room, set()).update(each for each in rooms if each is not None and each != room)
    return graph


def levels(graph: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Rooms from the one that leans on nothing upwards; graphlib.CycleError where two lean on each other."""
    sorter = TopologicalSorter(graph)
    sorter.prepare()
    found = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        found.append(ready)
        sorter.done(*ready)
    return found


def without_shortcuts(graph: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """The same graph without arrows that a longer way says too."""
    reach: dict[str, set[str]] = {}
    for level in levels(graph):
        for room in level:
            reach[room] = set(graph.get(room, ())).union(*(reach[other] for other in graph.get(room, ())))
    return {room: {other for other in others if not any(other in reach[via] for via in others - {other})}
            for room, others in graph.items()}  # fmt: skip


def picture(graph: Mapping[str, set[str]]) -> str:
    """SVG: one row per level, what leans on others above them."""
    rows = levels(graph)
    height = _ROW * len(rows) + _MARGIN
    centres = {}
    for number, level in enumerate(rows):
        for place, room in enumerate(level):
            centres[room] = (_WIDTH * (place + 1) / (len(level) + 1), height - _ROW * (number + 1) + _ROW / 2)
    width, box = _BOX
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" '
             'font-size="13" text-anchor="middle"><rect width="100%" height="100%" fill="#fff"/>']  # fmt: skip
    for room, others in sorted(without_shortcuts(graph).items()):
        for other in sorted(others):
            (x1, y1), (x2, y2) = centres[room], centres[other]
            y1, y2 = y1 + box / 2, y2 - box / 2
            curve = f"M{x1:.0f} {y1:.0f}C{x1:.0f} {y1 + 24:.0f} {x2:.0f} {y2 - 24:.0f} {x2:.0f} {y2:.0f}"
            lines.append(f'<path d="{curve}" fill="none" stroke="#8a97a8"/>')
    for room, (x, y) in sorted(centres.items()):
        name = room.removeprefix("any2seg_core.")
        colour = "#e8f1fb" if name != room else "#fbeeda"
        lines.append(f'<rect x="{x - width / 2:.0f}" y="{y - box / 2:.0f}" width="{width}" height="{box}" rx="5" '
                     f'fill="{colour}" stroke="#34495e"/><text x="{x:.0f}" y="{y + 5:.0f}">{name}</text>')  # fmt: skip
    return "\n".join([*lines, "</svg>", ""])


def rooms_for_picture() -> dict[str, set[str]]:
    """The graph without the front door of the core, which names all rooms."""
    return {room: others - {"any2seg_core"} for room, others in import_graph().items() if room != "any2seg_core"}


if __name__ == "__main__":
    PICTURE.write_text(picture(rooms_for_picture()))
