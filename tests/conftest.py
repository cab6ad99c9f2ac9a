"""Property tests draw the same examples every time, so that one commit has one verdict; and what `--fast` leaves out.

To look for new counterexamples: pytest --hypothesis-profile=explore
"""

from __future__ import annotations

import multiprocessing.process
import subprocess
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None)  # a busy machine is no bug
settings.register_profile("explore", print_blob=True, deadline=None)
settings.load_profile("repeatable")

_HERE = Path(__file__).resolve().parent
_NOT_FAST = ("ros", "slow", "wheel")
_NOT_FAST_FOLDERS = ("drive", "fuzz", "readme", "soak", "streams", "training")  # rendering, long streams, training runs


def pytest_addoption(parser):
    parser.addoption("--fast", action="store_true", help="leave out ROS, what is slow, and what starts a process")


def _folder(item):
    return item.path.relative_to(_HERE).parts[0] if item.path.is_relative_to(_HERE) else ""


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--fast"):
        # What takes long begins first, so that no worker ends the run alone with it.
        items.sort(key=lambda item: _folder(item) not in (*_NOT_FAST_FOLDERS, "ros"))
        return
    kept, left_out = [], []
    for item in items:
        is_left_out = _folder(item) in _NOT_FAST_FOLDERS or any(item.get_closest_marker(name) for name in _NOT_FAST)
        (left_out if is_left_out else kept).append(item)
    items[:] = kept
    config.hook.pytest_deselected(items=left_out)


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory):
    """What engines remember is nobody's home folder: no run of tests knows what another one has left."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANY2SEG_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True, scope="session")
def no_process(request):
    """With `--fast`, whoever starts a process is skipped the moment it does: nobody has to mark such tests."""
    if not request.config.getoption("--fast"):
        yield
        return

    def skip(*arguments, **options):
        pytest.skip("starts a process, which make test-fast does not")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess.Popen, "__init__", skip)
        patch.setattr(multiprocessing.process.BaseProcess, "start", skip)
        yield
