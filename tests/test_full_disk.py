"""A disk that fills while something is saved: one line for the user, and nothing half-written stays.

No disk is filled: the operating system refuses to let any file grow beyond 2 kB, for all libraries alike.
"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
START = """
import resource, sys
from pathlib import Path
import numpy as np
import torch
sys.path[:0] = [{root!r}, {root!r} + "/tests/bags"]
from any2seg_core.base.errors import UserError
folder = Path({folder!r})
noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)

def save():
{body}
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))
try:
    save()
except UserError as error:
    print(f"UserError {{error}}")
except OSError as error:
    print(f"OSError {{error}}")
"""
BODIES = {
    "checkpoint": """
    from any2seg_core.runtime.checkpoint import save_checkpoint
    from any2seg_core.vocabulary.contract import InputContract
    from any2seg_core.models import Any2Seg, ModelConfig
    contract = InputContract(height=32, width=32)
    save_checkpoint(folder / "a.safetensors", Any2Seg(ModelConfig(head_width=8)), contract, {})
""",
    "training state": """
    from any2seg_training.state import save_state
    save_state(folder / "last.pt", {"a": torch.zeros(100_000)})
""",
    "embeddings": """
    from any2seg_core.teachers.cached import write_embeddings
    write_embeddings(folder / "a.safetensors", {"a": np.zeros((1000, 100), np.float32)}, {})
""",
    "label image": """
    from any2seg_core.prediction.outputs import write_image
    write_image(folder / "a.png", noise)
""",
    "video": """
    from any2seg_core.base.video import VideoWriter
    with VideoWriter(folder / "a.webm", 10) as video:
        for _ in range(20):
            video.add(noise)
""",
    "plane of a data set": """
    from any2seg_core.data.images import write_png
    write_png(folder / "a.png", noise)
""",
    "kept plane": """
    from any2seg_core.data.plane_cache import PlaneCache
    PlaneCache(folder, {}, True).plane(Path("a.png"), lambda: noise)
""",
    "recording with results": """
    from bag_files import kitti_entries, write_bag
    from any2seg_core.bags.reader import Recording
    from any2seg_core.evaluation.recording.record import ResultRecorder
    from any2seg_core.vocabulary.labels import label_space
    space = label_space("deliver-25")
    with Recording(Path(sys.argv[1])) as bag, ResultRecorder(folder / "out.mcap", bag, space) as recorder:
        for message in bag.messages():
            recorder.copy(message)
""",
    "index of a fleet": """
    from any2seg_core.fleet.indexing import index
    index(folder / "store", [sys.argv[1]])
""",
    "moments of a fleet": """
    from any2seg_core.data.moments import write_moments
    write_moments(folder / "moments.csv", ("url", "stamp_ns"), [{"url": "a", "stamp_ns": at} for at in range(9999)])
""",
    "extracted data set": """
    from any2seg_core.data.extract import ExtractOptions, extract
    from any2seg_core.bags.opened import open_bag
    with open_bag(Path(sys.argv[1])) as opened:
        extract(opened, ExtractOptions(out=folder / "data"))
""",
}


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    from bag_files import kitti_entries, write_bag

    return write_bag(tmp_path_factory.mktemp("recording") / "bag", kitti_entries(3))


@pytest.mark.parametrize("name", BODIES)
def test_exception_a_full_disk_leaves_nothing_half_written(tmp_path, bag, name):
    script = START.format(root=str(ROOT), folder=str(tmp_path), body=BODIES[name])
    done = subprocess.run([sys.executable, "-c", script, bag], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-1500:]
    assert done.stdout.startswith("UserError ") and done.stdout.count("\n") == 1, done.stdout
    assert "write" in done.stdout or "written" in done.stdout
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
