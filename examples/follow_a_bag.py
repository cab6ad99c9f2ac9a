# %% [markdown]
# # Follow a bag
#
#     python examples/follow_a_bag.py BAG
#
# Go through a recording (rosbag2 folder, .mcap, .db3, .bag) set by set, as the ROS 2 node would have heard it, and
# see what was fused, what was left out and why. No ROS is needed.
# Each `# %%` begins a cell: VS Code, Spyder and jupytext open this file as a notebook.

# %%
import sys
from collections import Counter
from pathlib import Path

from any2seg_core import Predictor
from any2seg_core.bags.opened import open_bag
from any2seg_core.runtime.set_segmenter import SetSegmenter

BAG = Path(sys.argv[1])  # in a notebook: the path itself
SETS = 50  # the first so many are enough to look at

# %% [markdown]
# ## What is in it
# Topics are found by name and type; `any2seg bag inspect BAG` tells more.

# %%
with open_bag(BAG) as opened:
    for sensor, topic in opened.choice.map.streams.items():
        print(f"{sensor:6s} {topic}: {opened.bag.topics[topic].count} messages")
    for note in opened.notes:
        print("note:", note)

# %% [markdown]
# ## Set by set
# `sets` is the node's synchroniser; each set brings its planes to the camera's grid, and the segmenter fuses them.

# %%
predictor = Predictor.load()
space = predictor.label_space
used: Counter[tuple[str, ...]] = Counter()
lost: Counter[str] = Counter()
pixels: Counter[str] = Counter()
with open_bag(BAG) as opened:
    window_ns = predictor.contract.event_window_ns
    segmenter = SetSegmenter(predictor, opened.sync_config(window_ns))
    sets = opened.sets(window_ns)
    for number, bag_set in zip(range(SETS), sets):  # noqa: B905 - the recording may be longer or shorter
        frame = bag_set.frame()
        lost.update(f"{sensor}: {reason}" for sensor, reason in frame.reasons.items())
        if not frame.planes:
            continue
        found = segmenter.segment(bag_set.sample_set, frame, bag_set.time_ns).segmentation
        used[found.used] += 1
        pixels.update({space.classes[k]: int((found.labels == k).sum()) for k in range(len(space))})
        if number % 10 == 0:
            print(f"{bag_set.stamp_ns / 1e9:.2f} s: {'+'.join(found.used)}, most of it {pixels.most_common(1)[0][0]}")

# %% [markdown]
# ## What came of it

# %%
for sensors, count in used.most_common():
    print(f"{count} sets of {' + '.join(sensors)}")
for reason, count in lost.most_common():
    print(f"{count} times {reason}")
for stream, stats in sets.stats.streams.items():
    print(f"{stream}: {stats.added} messages, {stats.used} used, dropped {dict(stats.dropped)}")
