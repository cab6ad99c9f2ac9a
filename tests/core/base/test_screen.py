"""What comes out of files steers no terminal: markup, escapes, control characters, directions of writing."""

import io
import json
import sys

import pytest
import torch
from rich.table import Table
from safetensors import safe_open
from safetensors.torch import save_file

from any2seg_core.base.errors import UserError
from any2seg_core.base.screen import PlainColumn, Screen, one_line, plain, refusal
from any2seg_core.cli import main as cli
from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.runtime.checkpoint import save_checkpoint
from any2seg_core.vocabulary.contract import InputContract

STEERING = "[red]a[/red] [/] :smile: \x1b[31mb\x1b]0;t\x07 \x9b2J \r c \u202e d \udcff"


def is_harmless(text: str) -> bool:
    return not any(ord(c) < 32 and c not in "\n\t" or 127 <= ord(c) < 160 or c in "\u202e\udcff" for c in text)


def test_value_plain_writes_out_what_steers():
    assert plain("\x1b[31mx\x9b\u202e\udcff\r") == r"\x1b[31mx\x9b\u202e\udcff\r"
    assert plain("grün\n\t[red] ✓") == "grün\n\t[red] ✓"
    assert one_line("a\nb\tc") == r"a\nb\tc"


def test_value_tables_lines_and_bars_show_strings_as_they_are():
    screen = Screen(file=io.StringIO(), width=200, force_terminal=True, color_system="truecolor")
    table = Table("head", title=STEERING)
    table.add_row(STEERING)
    screen.print(table)
    screen.print(STEERING)
    shown = screen.file.getvalue()
    assert shown.count("[red]a[/red] [/] :smile: \\x1b[31mb\\x1b]0;t\\x07 \\x9b2J \\r c \\u202e d \\udcff") == 3
    assert "\x1b[31m" not in shown and "\x07" not in shown and "\u202e" not in shown

    class Task:
        description = STEERING

    text = PlainColumn("{task.description}").render(Task()).plain
    assert is_harmless(text) and text.startswith("[red]a[/red]")


def test_value_refusals_are_one_line():
    assert refusal(UserError("no\nfile \x1b[2J", "file-missing")) == r"no\nfile \x1b[2J [file-missing]"
    missing = OSError(28, "No space left on device", "/a\x1b[2J")
    way_out = "check the path, its permissions and the free space"
    assert refusal(missing) == rf"/a\x1b[2J: No space left on device: {way_out} [file-system]"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    path = tmp_path_factory.mktemp("info") / "[red]model.safetensors"
    torch.manual_seed(0)
    model = Any2Seg(ModelConfig(head_width=8))
    some = STEERING[:30]
    provenance = {"command": STEERING.replace("\udcff", ""), some: [some], "results": {"odd": some}}
    save_checkpoint(path, model, InputContract(height=32, width=32), provenance)
    return path


def run(monkeypatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["any2seg", *arguments])
    try:
        cli.main()
    except SystemExit as end:
        return end.code or 0
    return 0


def test_value_info_shows_provenance_with_brackets_and_escapes(hostile, monkeypatch, capsys):
    assert run(monkeypatch, "info", str(hostile)) == 0
    shown = capsys.readouterr().out
    assert is_harmless(shown) and "[red]" in shown and "results: " in shown
    assert run(monkeypatch, "info", str(hostile), "--json") == 0
    assert json.loads(capsys.readouterr().out)["provenance"]["results"] == {"odd": STEERING[:30]}


def test_exception_errors_that_quote_a_file_are_one_harmless_line(hostile, tmp_path, monkeypatch, capsys):
    with safe_open(hostile, framework="pt") as file:
        document = json.loads(file.metadata()["any2seg"])
    document["contract"]["label_space"] = STEERING[:40] + "\n"
    save_file({}, tmp_path / "a.safetensors", metadata={"any2seg": json.dumps(document)})
    image = tmp_path / "a.png"
    image.write_bytes(b"")
    for arguments in (
        ["predict", "--rgb", str(image), "--checkpoint", str(tmp_path / "a.safetensors"), "-o", f"{image}.png"],
        ["info", str(tmp_path / "\x1b[31m.safetensors")],
    ):
        assert run(monkeypatch, *arguments) == 2
        said = capsys.readouterr().err
        assert said.startswith("any2seg: ") and said.count("\n") == 1 and is_harmless(said)
