"""The paper's teacher: LanguageBind's own classes, made with random weights, saved, and loaded through our door."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
PACKAGES = REPOSITORY / "build" / "languagebind"
needs_packages = pytest.mark.skipif(
    not (PACKAGES / "languagebind").is_dir(), reason="no build/languagebind: make build/languagebind"
)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    places = os.pathsep.join(map(str, (PACKAGES, REPOSITORY)))
    script = Path(__file__).with_name("languagebind_run.py")
    run = subprocess.run(
        [sys.executable, str(script), str(tmp_path_factory.mktemp("towers"))],
        env=os.environ | {"PYTHONPATH": places, "HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


@needs_packages
@pytest.mark.parametrize("names", ["new", "old"])
def test_value_embeddings_are_those_of_the_classes(results: dict[str, Any], names: str):
    """Also where attention has the names that peft gave it when the weights were released."""
    found = results[names]
    assert found.pop("apart") > 1e-3
    assert set(found) == {"texts", "rgb", "depth", "heat", "event"}
    assert max(found.values()) < 1e-6


@needs_packages
def test_exception_a_tower_that_is_not_whole(results: dict[str, Any]):
    """Weights that are missing would be random ones, and nothing would tell."""
    assert "LanguageBind_Depth lacks 1 weights of LanguageBindDepth" in results["lacking"]
    assert "visual_projection.weight" in results["lacking"]
    assert results["lacking"].endswith("[weights-mismatch]")
    assert "old/LanguageBind_Depth" in results["absent"]
    assert results["absent"].endswith("[weights-unavailable]")
    assert "\n" not in results["absent"] + results["lacking"]
    assert results["name"] == "languagebind:towers:Image"
