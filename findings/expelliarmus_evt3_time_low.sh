#!/usr/bin/env bash
# EVT3 events whose TIME_LOW word steps back a little, read with expelliarmus.
#
# Guess:   the time of an event is the last TIME_HIGH (12 bits) and the last TIME_LOW (12 bits), as the format says; a
#          sensor that sends a slightly earlier TIME_LOW, as real IMX636 recordings do, gives a slightly earlier time.
# Happens: every step back of TIME_LOW counts as an overflow: 4096 us are added, and again for the next step back, until
#          the next TIME_HIGH. All events in between lie in the future.
# Hurts:   whoever reads Prophesee RAW files with it and cuts them into windows of some milliseconds: most events of a
#          window land in another one. Any2Seg decodes EVT3 itself (any2seg_core/messages/evt3.py,
#          tests/core/messages/test_events.py).
#
# Exit 0: it behaves so. Exit 1: it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check expelliarmus==1.1.12 "numpy<2"
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import importlib.metadata as metadata
import struct
import sys

from expelliarmus import Wizard

ADDR_Y, ADDR_X, TIME_LOW, TIME_HIGH = 0x0, 0x2, 0x6, 0x8  # type in the upper 4 bits of each 16-bit word


def word(kind, value):
    return struct.pack("<H", kind << 12 | value)


body = word(TIME_HIGH, 5) + word(TIME_LOW, 800) + word(ADDR_Y, 10) + word(ADDR_X, 20)
body += word(TIME_LOW, 789) + word(ADDR_X, 21)  # 11 us back, as two events of one row may come
body += word(TIME_LOW, 795) + word(ADDR_X, 22)
header = b"% format EVT3;height=720;width=1280\n% geometry 1280x720\n% evt 3.0\n% end\n"
with open("events.raw", "wb") as file:
    file.write(header + body)

print("expelliarmus", metadata.version("expelliarmus"))
times_us = [int(t) for t in Wizard(encoding="evt3").read("events.raw")["t"]]
stated_us = [5 * 4096 + low for low in (800, 789, 795)]
print("stated by the words", stated_us)
print("read               ", times_us, "differences", [a - b for a, b in zip(times_us, stated_us)])
sys.exit(0 if [a - b for a, b in zip(times_us, stated_us)] == [0, 4096, 4096] else 1)
PY
