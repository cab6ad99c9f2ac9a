"""HTML reports that hold everything they show: pictures as data URIs, charts as inline SVG, no script, no network."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from PIL import Image

_WIDE = 12  # columns that fit a page with space between them

_STYLE = """
:root { color-scheme: light dark; --ground: #ffffff; --ink: #1b1f24; --muted: #667079; --line: #d8dde2;
  --shade: #eef1f4; --night: #d5dbe8; --accent: #b3261e; --right: #1b7f3b; --hatch: #9aa3ab; }
@media (prefers-color-scheme: dark) { :root { --ground: #14171a; --ink: #e6e9ec; --muted: #98a2ab; --line: #343a40;
  --shade: #1e2327; --night: #232c42; --accent: #ff8a80; --right: #58c27d; --hatch: #5d666e; } }
body { background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; max-width: 1080px;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: .2rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
p { margin: .3rem 0; } .muted { color: var(--muted); } code { font-size: .9em; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table.numbers { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
table.numbers th, table.numbers td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: right;
  white-space: nowrap; }
table.numbers th { font-weight: 600; white-space: normal; vertical-align: bottom; }
table.numbers .left { text-align: left; }
table.wide { font-size: 13px; } table.numbers.wide th, table.numbers.wide td { padding: .3rem .35rem; }
table.facts th { text-align: left; font-weight: 600; vertical-align: top; white-space: nowrap; padding-right: 1rem; }
table.facts td { overflow-wrap: anywhere; }
.sheet { display: grid; gap: 4px; align-items: center; min-width: 900px; font-size: 13px; }
.sheet img { width: 100%; display: block; image-rendering: pixelated; border-radius: 3px; }
.sheet .head { font-weight: 600; text-align: center; }
.sheet .off { aspect-ratio: 1; display: grid; place-items: center; color: var(--muted); border-radius: 3px;
  background: repeating-linear-gradient(45deg, var(--shade) 0 6px, var(--ground) 6px 12px); }
.swatches { display: flex; flex-wrap: wrap; gap: .3rem .9rem; font-size: 13px; margin-top: .6rem; }
.swatches i { display: inline-block; width: 12px; height: 12px; border-radius: 2px; margin-right: .35rem; }
svg.timeline { width: 100%; min-width: 820px; font: 11px system-ui, sans-serif; }
svg text { fill: var(--ink); } svg .muted { fill: var(--muted); } svg .strong { font-weight: 600; font-size: 12px; }
svg .note { font-size: 11px; } svg .middle { text-anchor: middle; } svg .end { text-anchor: end; }
svg .grid { stroke: var(--line); } svg .border { stroke: var(--line); } svg .outage { fill: var(--shade); }
svg .night { fill: var(--night); } svg circle { fill: var(--muted); fill-opacity: .55; }
svg .level { stroke: var(--accent); stroke-width: 2; }
svg .level-number { fill: var(--accent); font-weight: 600; font-size: 12px; }
.silent-ground { fill: var(--ground); } .silent-line { stroke: var(--hatch); stroke-width: 2; }
"""


@dataclass(frozen=True)
class SheetRow:
    """One row of a contact sheet: a caption and one (H, W, 3) uint8 RGB picture per column, None for "off"."""

    title: str
    note: str
    pictures: tuple[np.ndarray | None, ...]


def picture(pixels: np.ndarray, lossless: bool) -> str:
    """(H, W, 3) uint8 RGB -> data URI; PNG with few colours for label images, JPEG otherwise."""
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    if lossless:
        image.quantize(256, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    else:
        image.save(buffer, "JPEG", quality=88)
    kind = "png" if lossless else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def number_table(columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]]) -> str:
    """<table> of texts; columns are (heading, "left" or "right")."""
    head = "".join(f'<th class="{side}">{escape(heading)}</th>' for heading, side in columns)
    sides = [side for _, side in columns]
    body = ""
    for row in rows:
        cells = (f'<td class="{side}">{escape(cell)}</td>' for cell, side in zip(row, sides, strict=True))
        body += f"<tr>{''.join(cells)}</tr>\n"
    look = "numbers wide" if len(columns) > _WIDE else "numbers"
    return f'<div class="scroll"><table class="{look}"><tr>{head}</tr>\n{body}</table></div>'


def contact_sheet(columns: Sequence[str], rows: Sequence[SheetRow], lossless: Sequence[bool]) -> str:
    """Grid of pictures; `lossless` says per column whether it holds label colours."""
    cells = ["<div></div>"] + [f'<div class="head">{escape(column)}</div>' for column in columns]
    for row in rows:
        cells.append(f'<div><b>{escape(row.title)}</b><br><span class="muted">{escape(row.note)}</span></div>')
        for column, pixels, exact in zip(columns, row.pictures, lossless, strict=True):
            if pixels is None:
                cells.append('<div class="off">off</div>')
            else:
                caption = escape(f"{row.title}: {column}")
                cells.append(f'<img src="{picture(pixels, exact)}" alt="{caption}">')
    tracks = f"110px repeat({len(columns)}, 1fr)"
    return (
        f'<div class="scroll"><div class="sheet" style="grid-template-columns: {tracks}">{"".join(cells)}</div></div>'
    )


def swatches(entries: Sequence[tuple[str, tuple[int, int, int]]]) -> str:
    """Legend: class names with their colours, RGB 0..255."""
    items = (
        f'<span><i style="background: rgb({red} {green} {blue})"></i>{escape(name)}</span>'
        for name, (red, green, blue) in entries
    )
    return f'<div class="swatches">{"".join(items)}</div>'


def page(title: str, introduction: str, sections: Sequence[tuple[str, str]]) -> str:
    """A whole document; introduction is plain text, sections are (heading, HTML)."""
    body = "".join(f"<h2>{escape(heading)}</h2>\n{html}\n" for heading, html in sections)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n"
        f'<body><h1>{escape(title)}</h1><p class="muted">{escape(introduction)}</p>\n{body}</body></html>\n'
    )
