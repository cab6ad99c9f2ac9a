#!/usr/bin/env bash
# A sound MCAP recording without message indexes, read with rosbags.
#
# Guess:   message indexes are optional in MCAP and the chunk index is there, so all messages are counted and read;
#          if not, an error says what is missing.
# Happens: the reader opens the file without a word, counts all messages and yields none.
# Hurts:   whoever makes files smaller with that writer option and evaluates them: an empty recording looks like a
#          sensor that never sent. Any2Seg reads such files through its own reader of chunks
#          (tests/bags/test_storage_mcap.py).
#
# Exit 0: it behaves so. Exit 1: it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check rosbags==0.11.9 mcap==1.6.0
"$folder/venv/bin/python" - "$folder" <<'PY'
import importlib.metadata as metadata
import sys
from pathlib import Path

from mcap.reader import make_reader
from mcap.writer import CompressionType, IndexType, Writer
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

store = get_typestore(Stores.ROS2_JAZZY)
kind = "std_msgs/msg/String"
path = Path(sys.argv[1]) / "drive.mcap"
with path.open("wb") as stream:
    writer = Writer(stream, compression=CompressionType.NONE, index_types=IndexType.ALL & ~IndexType.MESSAGE)
    writer.start(profile="ros2")
    text = store.generate_msgdef(kind, ros_version=2)[0]
    schema = writer.register_schema(name=kind, encoding="ros2msg", data=text.encode())
    channel = writer.register_channel(topic="/note", message_encoding="cdr", schema_id=schema)
    for number in range(5):
        data = bytes(store.serialize_cdr(store.types[kind](str(number)), kind))
        writer.add_message(channel_id=channel, log_time=10**9 + number, publish_time=10**9 + number, data=data)
    writer.finish()
written = sum(1 for _ in make_reader(path.open("rb")).iter_messages())
with AnyReader([path], default_typestore=store) as reader:
    counted, read = reader.message_count, sum(1 for _ in reader.messages())
versions = {name: metadata.version(name) for name in ("rosbags", "mcap")}
print(f"{versions}: mcap reads {written} messages; rosbags counts {counted} and reads {read}")
sys.exit(0 if (written, counted, read) == (5, 5, 0) else 1)
PY
