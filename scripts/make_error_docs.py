"""Write docs/errors.md from the table of error codes: `python scripts/make_error_docs.py`.

A test fails when the committed file differs from what this writes.
"""

from __future__ import annotations

from pathlib import Path

from any2seg_core.base.atomic import replacing
from any2seg_core.base.error_codes import CODE_GROUPS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "errors.md"

_HEAD = """\
# Error codes

Look a code up here when a command or the node has refused something. Each error ends with its code in brackets:

    $ any2seg info a.safetensors
    any2seg: no checkpoint at a.safetensors: train one with training/train.py or correct the path [checkpoint-missing]

A command ends with exit code 2 then, and writes nothing. In Python the code is an attribute, and so is the reason of a
message that the node or a recording's reader leaves out:

    try:
        calibration = load_calibration(path)
    except UserError as error:
        if error.code == "file-missing":
            ...

Codes stay as they are; texts may change. An error that passes another one on keeps its code. This page is made by
`scripts/make_error_docs.py` from `any2seg_core/base/error_codes.py`.
"""


def page() -> str:
    """The whole page, a table per group of codes."""
    parts = [_HEAD]
    for title, codes in CODE_GROUPS.items():
        rows = [f"| `{code}` | {meaning.wrong} | {meaning.way_out} |" for code, meaning in codes.items()]
        parts.append(
            "\n".join([f"## {title}", "", "| code | what is wrong | the way out |", "|---|---|---|", *rows, ""])
        )
    return "\n".join(parts)


def main() -> None:
    """Write the page."""
    with replacing(PAGE) as partial:
        partial.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
