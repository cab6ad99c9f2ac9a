"""Event packets: EVT 3.0 with its state, libcaer, mono, dvs EventArray, rendered pictures."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from event_packets import STAMP_NS, evt3_words, header, packet, random_rows, to_bytes
from hypothesis import given, settings
from hypothesis import strategies as st
from raised import user_error
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from any2seg_core.messages import (
    EventStream,
    MessageError,
    event_array_from_cdr,
    event_array_to_events,
    rgb_to_events,
)
from any2seg_core.messages.evt2 import decode_evt2, decode_evt21
from any2seg_core.messages.evt3 import WRAP_US, Evt3State
from any2seg_core.sensors.events import EVENT_DTYPE


def rows_of(events: np.ndarray) -> np.ndarray:
    """(N, 4) t_us, x, y, p."""
    return np.stack([events["t"] // 1000, events["x"], events["y"], events["p"]], 1).astype(np.int64)


@pytest.mark.parametrize("vector", [False, True])
def test_value_evt3_words_come_back(vector):
    rows = random_rows(700)
    words = evt3_words(rows, vector)
    assert (any(w >> 12 == 4 for w in words)) == vector
    events, first_us = Evt3State().decode(np.array(words, np.uint16), 640, 480)
    np.testing.assert_array_equal(rows_of(events), rows)
    assert first_us == rows[0, 0] & ~0xFFF and events.dtype == EVENT_DTYPE


def test_value_evt3_by_hand():
    """Words of Prophesee's documentation: base x 10 with 12 and 8 columns, y 5, time 0x123456 us."""
    words = [0x8123, 0x6456, 0x0005, 0x3000 | 0x800 | 10, 0x4801, 0x5081, 0x2007]
    words += [0x9ABC, 0xA101, 0xE01A, 0x7001, 0xF002]
    state = Evt3State()
    events, _ = state.decode(np.array(words, np.uint16), 640, 480)
    assert events["x"].tolist() == [10, 21, 22, 29, 7]
    assert events["p"].tolist() == [1, 1, 1, 1, -1]
    assert set(events["y"].tolist()) == {5} and set(events["t"].tolist()) == {0x123456 * 1000}
    assert state.unknown_words == 1  # code 9; triggers and others are known and skipped


def word_by_word(words: list[int], width: int, height: int) -> tuple[list[list[int]], int]:
    """Events (x, y, p) of words without time, one bit after the other; how many of them lie off the sensor."""
    events, row, base, polarity = [], 0, -1, 0
    for word in words:
        code, value = word >> 12, word & 0xFFF
        if code == 0:
            row = value & 0x7FF
        elif code == 2:
            events.append([value & 0x7FF, row, 1 if value >> 11 else -1])
        elif code == 3:
            base, polarity = value & 0x7FF, 1 if value >> 11 else -1
        elif base >= 0:
            length = 12 if code == 4 else 8
            events += [[base + k, row, polarity] for k in range(length) if value >> k & 1]
            base += length
    inside = [event for event in events if event[0] < width and event[1] < height]
    return inside, len(events) - len(inside)


_ROW, _COLUMN = st.integers(0, 0x7FF), st.integers(0, 0xFFF)
_GROUPS = st.one_of(
    st.tuples(_ROW),
    st.tuples(_COLUMN.map(lambda value: 0x2000 | value)),
    st.tuples(_COLUMN.map(lambda value: 0x3000 | value)),
    st.tuples(_COLUMN.map(lambda value: 0x4000 | value)),
    st.tuples(_COLUMN.map(lambda value: 0x5000 | value)),
    st.tuples(*(_COLUMN.map(lambda value, code=code: code << 12 | value) for code in (3, 4, 4, 5))),
)


@given(st.lists(_GROUPS, max_size=30), st.integers(1, 2100), st.integers(1, 2100), st.integers(1, 9))
@settings(max_examples=200, deadline=None)
def test_property_evt3_vectors_are_read_as_bit_by_bit(groups, width, height, cut):
    words = [word for group in groups for word in group]
    state = Evt3State()
    state.decode(np.array([0x8000, 0x6000, 0x0000], np.uint16), width, height)
    parts = [state.decode(np.array(words[i : i + cut], np.uint16), width, height)[0] for i in range(0, len(words), cut)]
    found = [event for part in parts for event in zip(part["x"], part["y"], part["p"], strict=True)]
    inside, off_sensor = word_by_word(words, width, height)
    assert [list(map(int, event)) for event in found] == inside
    assert state.outside == off_sensor


@given(st.integers(1, 80), st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_property_evt3_state_survives_any_cut_into_messages(cut, seed):
    rows = random_rows(120, seed)
    words = evt3_words(rows, vector=True)
    stream = EventStream()
    parts = [words[k : k + cut] for k in range(0, len(words), cut)]
    sensor_ns = rows[0, 0] * 1000
    got = [stream.decode(packet(to_bytes(part), seq, STAMP_NS + seq)).events for seq, part in enumerate(parts)]
    whole = np.concatenate(got)
    np.testing.assert_array_equal(rows_of(whole)[:, 1:], rows[:, 1:])
    assert stream.counts["lost_packets"] == 0 and stream.counts["packets"] == len(parts)
    assert abs(int(whole["t"][0]) - STAMP_NS) < 5_000_000 and sensor_ns > 0


def test_value_sensor_clock_wraps_and_host_time_goes_on():
    stream, stamps, times = EventStream(), [], []
    for k in range(60):  # one packet a second: three wraps
        sensor_us = 3_000_000 + k * 1_000_000
        words = evt3_words([(sensor_us % WRAP_US, 5, 6, 1)])
        stamps.append(STAMP_NS + k * 10**9)
        times.append(int(stream.decode(packet(to_bytes(words), k, stamps[-1])).events["t"][0]))
    assert sensor_us > 3 * WRAP_US
    low = (3_000_000 & 0xFFF) * 1000  # the first time word tells the upper bits only
    assert np.abs(np.array(times) - np.array(stamps)).max() <= low + 4_096_000


def test_value_bit_error_in_the_time_is_not_believed():
    words = [0x8010, 0x6001, 0x0005, 0x2001, 0x8810, 0x2002, 0x8011, 0x6002, 0x2003]
    events, _ = Evt3State().decode(np.array(words, np.uint16), 640, 480)
    assert (events["t"] // 1000).tolist() == [0x10001, 0x10001, 0x11002]


def test_value_a_confirmed_jump_of_the_time_is_believed():
    words = [0x8010, 0x6001, 0x0005, 0x2001, 0x8710, 0x8711, 0x2002, 0x8003, 0x8003, 0x2003]
    events, _ = Evt3State().decode(np.array(words, np.uint16), 640, 480)
    assert (events["t"] // 1000).tolist() == [0x10001, 0x711000, 0x3000]


def test_value_joining_in_mid_stream_waits_for_time_and_row():
    rows = random_rows(300, 4)
    words = evt3_words(rows, vector=True)
    stream = EventStream()
    late = stream.decode(packet(to_bytes(words[9:]))).events
    assert len(late) == 0 and stream.counts["before_time"] > 0  # no upper time word comes again in this short stream
    stream = EventStream()
    got = stream.decode(packet(to_bytes(words[9:] + evt3_words(rows + [9000, 0, 0, 0])))).events
    np.testing.assert_array_equal(rows_of(got)[:, 1:], rows[:, 1:])


def test_value_lost_packets_are_counted_and_never_give_a_wrong_row():
    rows = random_rows(400, 5)
    words = evt3_words(rows)
    stream = EventStream()
    stream.decode(packet(to_bytes(words[:200]), 10))
    lost = stream.decode(packet(to_bytes(words[400:600]), 14, STAMP_NS + 10**6)).events
    assert stream.counts["lost_packets"] == 3
    assert len(lost) == 0  # no upper time word within: nothing is guessed
    later = evt3_words(rows + [20_000, 0, 0, 0])
    got = stream.decode(packet(to_bytes(later), 15, STAMP_NS + 20 * 10**6)).events
    np.testing.assert_array_equal(rows_of(got)[:, 1:], rows[:, 1:])


def test_value_wraps_during_a_long_silence_are_counted_by_the_header():
    stream = EventStream()
    first = stream.decode(packet(to_bytes(evt3_words([(4096, 1, 1, 1)])), 0)).events
    silence_us = 100 * 10**6  # almost six turns of the clock
    words = evt3_words([((4096 + silence_us) % WRAP_US, 1, 1, 1)])
    later = stream.decode(packet(to_bytes(words), 1, STAMP_NS + silence_us * 1000)).events
    assert abs(int(later["t"][0] - first["t"][0]) - silence_us * 1000) <= 4_096_000


def test_value_host_time_follows_the_fastest_message_and_the_drift():
    stream, rng = EventStream(), np.random.default_rng(0)
    errors = []
    for k in range(400):  # 20 s, sensor clock 100 ppm slow, messages late by 0..30 ms
        host_ns = STAMP_NS + k * 50_000_000
        sensor_us = int((host_ns - STAMP_NS) * (1 - 1e-4)) // 1000 // 4096 * 4096 + 4096
        delay_ns = int(rng.uniform(0, 30e6))
        stream_packet = packet(to_bytes(evt3_words([(sensor_us % WRAP_US, 2, 3, 1)])), k, host_ns + delay_ns)
        true_ns = STAMP_NS + int(sensor_us * 1000 / (1 - 1e-4))
        errors.append(int(stream.decode(stream_packet).events["t"][0]) - true_ns)
    late = np.array(errors[100:])
    assert np.abs(late - np.median(late)).max() < 4e6
    assert late.min() > -6e6


def test_value_a_step_back_of_the_stamps_resets():
    stream = EventStream()
    words = to_bytes(evt3_words([(9_000_000, 1, 2, 1)]))
    stream.decode(packet(words, 50, STAMP_NS + 60 * 10**9))
    again = stream.decode(packet(words, 3, STAMP_NS)).events
    assert stream.counts["resets"] == 1 and stream.counts["lost_packets"] == 0
    assert abs(int(again["t"][0]) - STAMP_NS) < 5_000_000


@pytest.mark.parametrize("gap_s", [2, 14])
@pytest.mark.parametrize("packets", [3, 100])
def test_value_a_driver_that_starts_again_brings_its_own_clock(gap_s, packets):
    """Its `seq` and the sensor's clock are back near 0, however short the first run was."""
    stream = EventStream()
    period_ns, seq = 10_000_000, 0
    for k in range(packets):
        words = evt3_words([(5_000_000 + k * 10_000, 5, 6, 1)])
        stream.decode(packet(to_bytes(words), k, STAMP_NS + k * period_ns))
    for seq in range(20):
        now_ns = STAMP_NS + packets * period_ns + gap_s * 10**9 + seq * period_ns
        words = evt3_words([(4096 + seq * 10_000, 5, 6, 1)])
        times_ns = stream.decode(packet(to_bytes(words), seq, now_ns)).events["t"]
        assert abs(int(times_ns[0]) - now_ns) < 8_192_000
    assert (stream.counts["resets"], stream.counts["lost_packets"]) == (1, 0)


def test_value_a_late_or_repeated_packet_is_no_restart():
    stream = EventStream()
    for seq in (0, 1, 2, 4, 3, 3, 5, 6):
        words = evt3_words([(5_000_000 + seq * 10_000, 5, 6, 1)])
        now_ns = STAMP_NS + seq * 10_000_000
        times_ns = stream.decode(packet(to_bytes(words), seq, now_ns)).events["t"]
        assert abs(int(times_ns[0]) - now_ns) < 8_192_000
    assert stream.counts["resets"] == 0 and stream.counts["lost_packets"] > 0


def test_value_big_endian_words_off_sensor_events_and_triggers():
    words = evt3_words([(4096, 639, 479, 1), (4096, 640, 10, 1), (4097, 10, 480, -1)])
    stream = EventStream()
    got = stream.decode(packet(to_bytes(words, ">"), is_bigendian=True))
    assert (got.events["x"].tolist(), got.height, got.width) == ([639], 480, 640)
    assert stream.counts["off_sensor"] == 2
    assert len(stream.decode(packet(b"whatever!", 1, encoding="trigger")).events) == 0


def test_value_libcaer_and_mono():
    rows = random_rows(50, 7)
    rows[:, 0] += 2**31 - rows[30, 0]  # the 31-bit microseconds overflow here
    low = (rows[:, 1] << 17) | (rows[:, 2] << 2) | ((rows[:, 3] > 0) << 1) | 1
    libcaer = (low | (rows[:, 0] & 0x7FFFFFFF) << 32).astype(np.uint64).tobytes()
    got = EventStream().decode(packet(libcaer, encoding="libcaer", time_base=STAMP_NS)).events
    np.testing.assert_array_equal(rows_of(got)[:, 1:], rows[:, 1:])
    np.testing.assert_array_equal(got["t"], STAMP_NS + rows[:, 0] * 1000)
    dt = np.arange(50) * 80_000_000
    mono = (dt | rows[:, 1] << 32 | rows[:, 2] << 48).astype(np.uint64) | np.uint64(1 << 63) * (rows[:, 3] > 0)
    got = EventStream().decode(packet(mono.astype(np.uint64).tobytes(), encoding="mono", time_base=STAMP_NS)).events
    np.testing.assert_array_equal(rows_of(got)[:, 1:], rows[:, 1:])
    np.testing.assert_array_equal(got["t"], STAMP_NS + dt)


def test_exception_libcaer_cmp_names_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "event_camera_py", None)
    with user_error("message-unsupported", "ros-$ROS_DISTRO-event-camera-py") as caught:
        EventStream().decode(packet(b"\0" * 8, encoding="libcaer_cmp"))
    assert caught.value.reason == "unsupported"


def test_value_libcaer_cmp_through_the_package(monkeypatch):
    """A stand-in with event_camera_py's interface: microseconds after a start time."""

    class Decoder:
        def decode_bytes(self, encoding, width, height, time_base, data):
            if data == b"bad":
                raise RuntimeError("first line\nsecond line")
            self.call = encoding, width, height, time_base

        def get_cd_events(self):
            return np.array([(3, 4, 1, 0), (5, 6, 0, 250)], [("x", "<u2"), ("y", "<u2"), ("p", "i1"), ("t", "<i4")])

        def get_start_time(self):
            return STAMP_NS // 1000

    monkeypatch.setitem(sys.modules, "event_camera_py", SimpleNamespace(Decoder=Decoder))
    stream = EventStream()
    got = stream.decode(packet(b"\0" * 8, encoding="libcaer_cmp", time_base=7)).events
    assert got.tolist() == [(3, 4, STAMP_NS, 1), (5, 6, STAMP_NS + 250_000, -1)]
    with user_error("message-codec"):
        stream.decode(packet(b"bad", 1, encoding="libcaer_cmp"))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"encoding": "evt21"}, "encoding"),
        ({"encoding": 4}, "field"),
        ({"events": b"abc"}, "length"),
        ({"events": b"\0" * 12, "encoding": "mono"}, "length"),
        ({"events": None}, "field"),
        ({"height": -1}, "size"),
        ({"width": 2**31}, "size"),
        ({"seq": -1}, "value"),
        ({"time_base": 2**63, "encoding": "mono"}, "value"),
        ({"is_bigendian": "no"}, "field"),
        ({"header": header(-(10**9))}, "stamp"),
        ({"header": None}, "stamp"),
    ],
)
def test_exception_bad_packets_have_a_stable_reason(changes, reason):
    with pytest.raises(MessageError) as caught:
        EventStream().decode(packet(b"\0" * 8, **changes))
    assert caught.value.reason == reason and "\n" not in str(caught.value)


def _event_array(n: int, frame_id: str):
    store = get_typestore(Stores.ROS2_JAZZY)
    text = "uint16 x\nuint16 y\nbuiltin_interfaces/Time ts\nbool polarity"
    store.register(get_types_from_msg(text, "dvs_msgs/msg/Event"))
    text = "std_msgs/Header header\nuint32 height\nuint32 width\ndvs_msgs/Event[] events"
    store.register(get_types_from_msg(text, "dvs_msgs/msg/EventArray"))
    make, rows = store.types, random_rows(n, n)
    time = make["builtin_interfaces/msg/Time"]
    events = [
        make["dvs_msgs/msg/Event"](
            x=x, y=y, ts=time(sec=1_700_000_000 + t // 10**6, nanosec=t % 10**6 * 1000), polarity=p > 0
        )
        for t, x, y, p in rows.tolist()
    ]
    head = make["std_msgs/msg/Header"](stamp=time(sec=7, nanosec=9), frame_id=frame_id)
    msg = make["dvs_msgs/msg/EventArray"](header=head, height=480, width=640, events=events)
    return msg, store, rows


@pytest.mark.parametrize("little", [True, False])
@pytest.mark.parametrize(("n", "frame_id"), [(0, ""), (1, "dvs"), (2, "dv"), (57, "camera_event_optical")])
def test_value_event_array_from_bytes_and_from_objects(n, frame_id, little):
    msg, store, rows = _event_array(n, frame_id)
    raw = event_array_from_cdr(bytes(store.serialize_cdr(msg, msg.__msgtype__, little_endian=little)))
    assert (raw.height, raw.width, raw.count, raw.header.frame_id) == (480, 640, n, frame_id)
    assert (raw.header.stamp.sec, raw.header.stamp.nanosec) == (7, 9)
    for source in (raw, msg):
        events = event_array_to_events(source)
        np.testing.assert_array_equal(rows_of(events)[:, 1:], rows[:, 1:])
        np.testing.assert_array_equal(events["t"], 1_700_000_000 * 10**9 + rows[:, 0] * 1000)
        assert len(EventStream().decode(source).events) == n


def test_exception_event_arrays():
    msg, store, _ = _event_array(5, "dvs")
    cdr = bytes(store.serialize_cdr(msg, msg.__msgtype__))
    for length in (0, 3, 12, 20, len(cdr) - 1):
        with user_error("message-length") as caught:
            event_array_from_cdr(cdr[:length])
        assert caught.value.reason == "length"
    msg.events[2].ts.nanosec = 2 * 10**9
    with user_error("message-value", "nanosec"):
        event_array_to_events(msg)
    with user_error("message-value"):
        event_array_to_events(event_array_from_cdr(bytes(store.serialize_cdr(msg, msg.__msgtype__))))


@given(st.binary(max_size=120))
@settings(max_examples=150, deadline=None)
def test_property_any_bytes_as_event_array_or_words(data):
    try:
        events = event_array_to_events(event_array_from_cdr(data))
    except MessageError as error:
        assert "\n" not in str(error)
    else:
        assert len(events) <= len(data)
    stream = EventStream()
    for seq, encoding in enumerate(("evt3", "libcaer", "mono", "evt3", "trigger")):
        try:
            events = stream.decode(packet(data, seq, STAMP_NS + seq, encoding)).events
        except MessageError as error:
            assert error.reason == "length"
        else:
            assert len(events) <= 6 * len(data) and (events["x"] < 640).all() and (events["y"] < 480).all()


def test_value_rendered_pictures():
    picture = np.zeros((5, 7, 3), np.uint8)
    picture[1, 2], picture[3, 6], picture[4, 0] = (255, 0, 0), (0, 0, 255), (255, 0, 255)
    got = rgb_to_events(picture, 99)
    assert sorted(got.tolist()) == [(0, 4, 99, -1), (0, 4, 99, 1), (2, 1, 99, 1), (6, 3, 99, -1)]
    white = np.where(picture.any(2, keepdims=True), picture, 255).astype(np.uint8)
    assert sorted(rgb_to_events(white, 99).tolist()) == sorted(got.tolist())
    grey = np.full((5, 7, 3), 128, np.uint8)
    grey[1, 2], grey[3, 6] = 255, 0
    assert sorted(rgb_to_events(grey, 1).tolist()) == [(2, 1, 1, 1), (6, 3, 1, -1)]
    dots = np.zeros((5, 7, 3), np.uint8)
    dots[1, 2] = 255
    assert rgb_to_events(dots, 1).tolist() == [(2, 1, 1, 1)]
    assert len(rgb_to_events(np.zeros((5, 7, 3), np.uint8), 1)) == 0


@pytest.mark.parametrize("gap_s", [1.2, 3.0, 8.0, 12.0, 100.0])
def test_value_after_a_quiet_gap_the_first_events_have_their_time(gap_s):
    """One word of the upper time per packet: the header's stamp says that the clock goes on."""
    stream, gap_us = EventStream(), round(1e6 * gap_s) // 4096 * 4096  # the first word tells the upper bits only
    starts_us = [1220 * 4096, 1223 * 4096, 1223 * 4096 + gap_us, 1226 * 4096 + gap_us]
    for seq, start_us in enumerate(starts_us):
        rows = [(start_us + k, 7 + k, 3, 1) for k in range(5)]
        data = to_bytes(evt3_words(rows))
        events = stream.decode(packet(data, seq, STAMP_NS + 1000 * start_us)).events
        assert ((events["t"] - STAMP_NS) // 1000).tolist() == [row[0] for row in rows]


@pytest.mark.parametrize("gap_us", [1_200_000, 3_000_000, 8_000_000])
@pytest.mark.parametrize("last", [1, 2, 3])
def test_value_pauses_within_one_message_and_without_any_header(gap_us, last):
    """Each event a pause after the one before: in a file no other word tells the time."""
    rows = [(1_000_000 + k * gap_us, 9, 4, 1) for k in range(last + 1)]
    events, _ = Evt3State().decode(np.array(evt3_words(rows), np.uint16), 640, 480)
    assert (events["t"] // 1000).tolist() == [row[0] for row in rows]


@pytest.mark.parametrize("bit", range(9, 12))  # two seconds and more
def test_value_a_bit_error_in_the_only_time_of_a_packet_is_known_by_the_header(bit):
    stream, starts_us = EventStream(), [4096 * k for k in (1220, 1223, 1226, 1229)]
    for seq, start_us in enumerate(starts_us):
        words = evt3_words([(start_us, 7, 3, 1)])
        words[0] ^= (seq == 2) << bit
        events = stream.decode(packet(to_bytes(words), seq, STAMP_NS + 1000 * start_us)).events
        late_us = (events["t"][0] - STAMP_NS) // 1000 - start_us
        assert late_us == (-3 * 4096 if seq == 2 else 0)  # the time before goes on


@pytest.mark.parametrize("gap_s", [1, 3, 60])
def test_value_quiet_gaps_in_evt2(gap_s):
    times_us = [1_000_000, 1_000_000 + gap_s * 1_000_000]
    words = [w for t in times_us for w in (8 << 28 | t >> 6, 1 << 28 | (t & 63) << 22 | 5 << 11 | 6)]
    assert (decode_evt2(np.array(words, np.uint32))["t"] // 1000).tolist() == times_us
    pairs = [[word, 1] for word in words]
    assert (decode_evt21(np.array(pairs, np.uint32))["t"] // 1000).tolist() == times_us
