"""Pages in tests: a client of an application whose decoder runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bag_files import STORE
from starlette.testclient import TestClient

from any2seg_core.models import Any2Seg, ModelConfig
from any2seg_core.runtime.checkpoint import save_checkpoint
from any2seg_core.view.app import make_app
from any2seg_core.view.decoder import Decoder
from any2seg_core.view.drives import Drives
from any2seg_core.vocabulary.contract import InputContract

MARKUP = '/x"><script>alert(1)</script>'


def word() -> bytes:
    kind = "std_msgs/msg/String"
    return bytes(STORE.serialize_cdr(STORE.types[kind]("word"), kind))


def tiny_checkpoint(path: Path) -> Path:
    save_checkpoint(path, Any2Seg(ModelConfig(head_width=32)), InputContract(height=32, width=64), {})
    return path


@contextmanager
def serving(drives: Drives) -> Iterator[TestClient]:
    with Decoder(drives.open_reader, drives.idle) as decoder:
        yield TestClient(make_app(drives, decoder), base_url="http://127.0.0.1:8319", follow_redirects=False)


def moment_of(html: str) -> dict[str, str]:
    """What a moment says of itself: at, before, after."""
    (line,) = re.findall(r'<div class="facts-line"([^>]*)>', html)
    return dict(re.findall(r'data-(\w+)="([^"]*)"', line))


def chips_of(html: str, css: str) -> list[str]:
    """Titles of the sensors that were fused, or absent with their reason."""
    found = re.findall(rf'<span class="chip {css}">(.*?)</span>', html)
    return [re.sub(r"<[^>]*>", "", text).strip() for text in found]
