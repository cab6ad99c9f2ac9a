"""What keeps the project in shape: layers, reading sizes, true documents, tests that assert."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from graphlib import CycleError
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "scripts"))
from import_graph import PICTURE, import_graph, levels, picture, rooms_for_picture  # noqa: E402

SOURCES = sorted(
    path
    for folder in ("any2seg_core", "any2seg_drive", "training", "ros2_ws", "bags", "launch", "benchmarks", "scripts")
    for path in (ROOT / folder).rglob("*.py")
)
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))

BLOCKED_IN_CORE = ("rclpy", "sensor_msgs", "std_msgs", "diagnostic_msgs", "argparse", "matplotlib", "any2seg_ros")


def test_value_core_imports_neither_ros_nor_argparse_nor_plotting():
    """Every core module is imported in a process where those packages cannot be imported by it."""
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in sorted((ROOT / "any2seg_core").rglob("*.py"))
        if path.name != "__init__.py"
    ]
    program = f"""
import importlib, sys
blocked = {BLOCKED_IN_CORE!r}
for name in {modules!r}:
    before = set(sys.modules)
    importlib.import_module(name)
    source = sys.modules[name].__dict__
    bad = [b for b in blocked if b in source or (b in sys.modules and b not in before and b != "argparse")]
    assert not bad, (name, bad)
print("imported", len({modules!r}))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == f"imported {len(modules)}"


FORBIDDEN = {  # package -> packages that it must not import
    "any2seg_core": {"any2seg_drive", "any2seg_ros", "any2seg_training"},
    "any2seg_drive": {"any2seg_ros", "any2seg_training"},
    "any2seg_ros": {"any2seg_training"},
    "any2seg_training": {"any2seg_ros"},
}


def broken_arrows(graph: dict[str, set[str]]) -> list[str]:
    return [
        f"{room} -> {other}"
        for room, others in sorted(graph.items())
        for other in sorted(others)
        if other.split(".")[0] in FORBIDDEN[room.split(".")[0]]
    ]


def test_value_rooms_do_not_lean_on_each_other_in_a_circle():
    rooms = [room for level in levels(import_graph()) for room in level]
    assert rooms[0] == "any2seg_core.base"
    assert set(FORBIDDEN) <= set(rooms)


def test_value_arrows_between_packages_point_one_way():
    assert broken_arrows(import_graph()) == []


def test_value_nobody_takes_code_from_the_command_line():
    assert {room for room, others in import_graph().items() if "any2seg_core.cli" in others} <= {"any2seg_core"}


@pytest.mark.parametrize(
    ("package", "source", "says"),
    [
        ("any2seg_core", "from any2seg_drive.rig import DriveRig", "any2seg_core.base -> any2seg_drive"),
        ("any2seg_core", "def late():\n    import any2seg_training.train", "any2seg_core.base -> any2seg_training"),
        ("any2seg_training", "from any2seg_ros import inputs", "any2seg_training -> any2seg_ros"),
        ("any2seg_ros", "import any2seg_training.build as build", "any2seg_ros -> any2seg_training"),
    ],
)
def test_value_a_wrong_arrow_is_seen(tmp_path, package, source, says):
    """The rules above can fail: one line in one file breaks them."""
    folders = {name: tmp_path / name for name in FORBIDDEN}
    for folder in folders.values():
        (folder / "base").mkdir(parents=True)
        (folder / "base" / "errors.py").write_text("")
    (folders[package] / "base" / "errors.py").write_text(source)
    assert broken_arrows(import_graph(folders)) == [says]


def test_exception_a_circle_between_rooms_is_seen(tmp_path):
    for room, other in (("bags", "data"), ("data", "demo"), ("demo", "bags")):
        (tmp_path / room).mkdir()
        (tmp_path / room / "files.py").write_text(f"def read():\n    from any2seg_core.{other} import files")
    with pytest.raises(CycleError, match="bags"):
        levels(import_graph({"any2seg_core": tmp_path}))


def test_value_no_file_of_the_core_lies_outside_of_a_room():
    loose = {path.name for path in (ROOT / "any2seg_core").glob("*.py")}
    assert loose == {"__init__.py", "__main__.py"}


def test_value_the_picture_of_the_rooms_is_that_of_the_sources():
    assert PICTURE.read_text() == picture(rooms_for_picture()), "run python scripts/import_graph.py"


PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "bags/README.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_value_prose_of_the_pages_fits_120_columns(path):
    """Tables and commands cannot be folded."""
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if len(line) > 120 and not line.startswith(("|", "    ", "["))] == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_value_files_and_functions_stay_readable(path):
    text = path.read_text()
    long_functions = [
        f"{node.name} ({node.end_lineno - node.lineno + 1} lines)"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno - node.lineno + 1 > 70
    ]
    assert text.count("\n") <= 420
    assert long_functions == []


def test_value_files_of_users_are_read_in_one_place_per_format():
    """What bounds memory and names the file stands in one module; whoever calls the library itself goes past it."""
    unbounded = re.compile(r"\byaml\.(safe_)?load|\bnp\.load\(|\bjson\.load\(|\.read_text\([^)]*\)\)?\[")
    found = {str(path.relative_to(ROOT)) for path in SOURCES if unbounded.search(path.read_text())}
    assert {name for name in found if not name.startswith("benchmarks/")} == set()


def test_value_the_core_names_numba_in_one_place():
    found = [path for path in SOURCES if path.is_relative_to(ROOT / "any2seg_core")
             and re.search(r"^\s*(import|from) numba", path.read_text(), re.M)]  # fmt: skip
    assert found == [ROOT / "any2seg_core" / "base" / "compiled.py"]


@pytest.mark.parametrize("path", TESTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_value_every_test_asserts(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            assert re.search(r"Assert|raises|assert_|warns|user_error", ast.dump(node)), f"{node.name} asserts nothing"


NEWER_THAN_3_10 = {
    "typing": {"Self", "Never", "LiteralString", "Required", "NotRequired", "Unpack", "TypeVarTuple", "assert_never",
               "assert_type", "override", "dataclass_transform"},
    "enum": {"StrEnum", "ReprEnum", "verify"}, "datetime": {"UTC"}, "itertools": {"batched"}, "math": {"cbrt", "exp2"},
    "tomllib": {"load", "loads"}, "contextlib": {"chdir"}, "asyncio": {"TaskGroup", "timeout", "Runner"},
}  # fmt: skip


@pytest.mark.parametrize("path", [*SOURCES, *TESTS], ids=lambda p: str(p.relative_to(ROOT)))
def test_value_nothing_is_newer_than_the_oldest_supported_python(path):
    """`requires-python` says 3.10: neither syntax nor standard names that came later."""
    used = set()
    for node in ast.walk(ast.parse(path.read_text(), feature_version=(3, 10))):
        if isinstance(node, ast.ImportFrom):
            used |= {(node.module, alias.name) for alias in node.names}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            used.add((node.value.id, node.attr))
        elif isinstance(node, ast.Import):
            used |= {(alias.name, "load") for alias in node.names if alias.name == "tomllib"}
    newer = sorted(f"{module}.{name}" for module, name in used if name in NEWER_THAN_3_10.get(module or "", ()))
    assert newer == []


def test_value_paths_named_in_the_readme_exist():
    text = (ROOT / "README.md").read_text()
    folders = "any2seg_core|training|ros2_ws|launch|bags|docs|checkpoints|tests|benchmarks"
    named = re.findall(rf"`((?:{folders})/[\w./-]+)`", text)
    named += re.findall(r"\]\(((?!http)[\w./-]+)\)", text)
    assert len(named) >= 5
    missing = [name for name in named if not (ROOT / name).exists()]
    assert missing == []


def test_value_no_file_names_an_index_or_a_machine():
    """Registry addresses and absolute paths of a developer's machine do not belong into the repository."""
    files = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT, check=True).stdout.split()
    pattern = re.compile(r"(index-url|files\.pythonhosted|pypi\.org/simple|(?<![\w.])/(?:work|root|home/\w+)/)")
    hits = [
        f"{name}: {match.group(0)}"
        for name in files
        if Path(name).suffix in {".py", ".md", ".toml", ".txt", ".yaml", ".xml", ".sh", ""}
        and name != "tests/test_architecture.py"
        and (ROOT / name).is_file()
        for match in pattern.finditer((ROOT / name).read_text(errors="ignore"))
    ]
    assert hits == []
