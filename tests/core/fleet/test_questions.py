"""Ready questions, on tables whose answers can be counted by hand."""

import pytest
from raised import user_error
from store_tables import IDS, frames_table, recordings_table, topics_table

from any2seg_core.fleet.comparison import compare_evaluations
from any2seg_core.fleet.questions import drift, failures, worst
from any2seg_core.fleet.store import FleetStore

S = 1_000_000_000


def store_of(folder, recordings, topics=()):
    store = FleetStore.create(folder)
    rows = [{"start_ns": 0, "duration_s": 20.0, **row} for row in recordings]
    store.write_index(recordings_table(rows), topics_table(topics))
    return store


def evaluate(store, name, parts, **columns):
    store.write_evaluation(name, columns.pop("document", {}))
    for recording_id, rows in parts.items():
        store.write_part(name, recording_id, frames_table(recording_id, rows, **columns))


def frames(missing_at, reason, seconds=20, per_s=2):
    """Two frames a second; `missing_at`: intervals of seconds without the sensor."""
    rows = []
    for number in range(seconds * per_s):
        at_s = number / per_s
        is_absent = any(start <= at_s < end for start, end in missing_at)
        rows.append({"stamp_ns": round(at_s * S), "used": "RL", "missing": [reason] if is_absent else []})
    return rows


def test_value_failures_join_what_index_and_evaluation_have_seen(tmp_path):
    recordings = [{"vehicle": "a", "weather": "rain"}, {"vehicle": "a", "weather": "sun"}, {"vehicle": "b"}]
    topic = {"topic": "/x", "rate_hz": 10.0, "longest_gap_s": 0.1, "clock_offset_s": 0.02}
    topics = [
        {**topic, "recording_id": IDS[0], "sensor": "rgb", "frozen_s": 6.0},
        {**topic, "recording_id": IDS[1], "sensor": "lidar", "clock_offset_s": -37.0},
        {**topic, "recording_id": IDS[2], "sensor": "lidar", "longest_gap_s": 4.0},
        {**topic, "recording_id": IDS[2], "sensor": "rgb", "frozen_s": 0.9},
        {**topic, "recording_id": IDS[2], "sensor": None, "longest_gap_s": 9.0},
        {**topic, "recording_id": IDS[1], "sensor": "depth", "rate_hz": 0.5, "longest_gap_s": 2.0},
    ]
    store = store_of(tmp_path / "store", recordings, topics)
    found = failures(store).records()
    of_index = {(row["vehicle"], row["sensor"], row["kind"]): (row["drives"], row["seconds"]) for row in found}
    expected = {("a", "lidar", "other_clock"): (1, 20.0), ("a", "rgb", "frozen"): (1, 6.0),
                ("b", "lidar", "dead"): (1, 4.0)}  # fmt: skip
    assert of_index == expected
    assert {row["kind"]: row["weather"] for row in found} == {"other_clock": "sun", "frozen": "rain", "dead": None}
    parts = {
        IDS[0]: frames([(2, 5), (8, 8.5), (10, 12)], "rgb: black"),  # half a second does not count
        IDS[2]: frames([(6, 10)], "lidar: dead"),
    }
    evaluate(store, "b0", parts)
    rows = failures(store).records()
    both = {(row["vehicle"], row["sensor"], row["kind"]): (row["times"], row["seconds"]) for row in rows}
    known = {key: (1, seconds) for key, (_, seconds) in expected.items()}
    assert both == known | {("a", "rgb", "black"): (2, 5.0)}
    assert [row["seconds"] for row in rows] == sorted((row["seconds"] for row in rows), reverse=True)
    (dead,) = [row for row in rows if row["kind"] == "dead"]
    assert (dead["at_s"], dead["longest_in"]) == (6.0, "/bags/002")
    assert len(failures(store, least_s=30.0).rows) == 1  # the clock is wrong however long it is


def test_value_a_sound_fleet_has_no_failure(tmp_path):
    topics = [{"recording_id": IDS[0], "topic": "/x", "sensor": "rgb", "rate_hz": 5.0, "longest_gap_s": 0.2,
               "clock_offset_s": 0.0, "frozen_s": 0.0}]  # fmt: skip
    store = store_of(tmp_path / "store", [{}], topics)
    evaluate(store, "b0", {IDS[0]: frames([], "")})
    assert failures(store).rows == []
    with user_error("value-range", "0"):
        failures(store, least_s=0)


def test_value_worst_takes_moments_that_are_apart(tmp_path):
    store = store_of(tmp_path / "store", [{"vehicle": "a", "start_ns": 10 * S}, {"vehicle": "b", "start_ns": 10 * S}])
    confidences = {IDS[0]: [0.9, 0.3, 0.2, 0.8], IDS[1]: [0.25, 0.5, 0.7, None]}
    agreements = {IDS[0]: [0.9, 0.9, 0.9, 0.1], IDS[1]: [0.5, 0.8, 0.8, 0.0]}
    parts = {
        each: [
            {"stamp_ns": (10 + at) * S, "used": "RL" if at < 3 or each == IDS[0] else "", "confidence": confidence,
             "agreement": {"R": agreement, "RL": 1.0}}
            for at, (confidence, agreement) in enumerate(zip(confidences[each], agreements[each], strict=True))
        ]
        for each in confidences
    }  # fmt: skip
    evaluate(store, "b0", parts)
    found = [(row["vehicle"], row["at_s"], row["confidence"]) for row in worst(store, count=3, apart_s=2.0).records()]
    expected = [("a", 2.0, 0.2), ("b", 0.0, 0.25), ("b", 2.0, 0.7)]  # at 1 and 3 s a is too near to its worst
    assert [(vehicle, at_s, pytest.approx(value)) for vehicle, at_s, value in expected] == found
    (first, *_) = worst(store, measure="agreement", count=1).records()
    assert (first["vehicle"], first["at_s"], first["agreement"]) == ("a", 3.0, pytest.approx(0.55))
    for wrong in ({"measure": "beauty"}, {"count": 0}, {"apart_s": 0.0}):
        with user_error("value-unknown" if "measure" in wrong else "value-range"):
            worst(store, **wrong)


def test_value_drift_by_week(tmp_path):
    dates = ["2026-03-02", "2026-03-08", "2026-03-09", None]  # Monday, Sunday, Monday
    store = store_of(tmp_path / "store", [{"vehicle": "ab"[at % 2], "date": date} for at, date in enumerate(dates)])
    scores = [(1.0, 0.5), (0.5, None), (0.25, 0.75), (0.0, 0.0)]
    parts = {IDS[at]: [{"reliability": {"rgb": rgb, "lidar": lidar}}] for at, (rgb, lidar) in enumerate(scores)}
    evaluate(store, "b0", parts)
    found = [(row["week"], row["vehicle"], row["frames"], row["rgb"], row["lidar"]) for row in drift(store).records()]
    assert found == [
        ("2026-03-02", None, 2, 0.75, 0.5), ("2026-03-09", None, 1, 0.25, 0.75), ("2026-03-02", "a", 1, 1.0, 0.5),
        ("2026-03-09", "a", 1, 0.25, 0.75), ("2026-03-02", "b", 1, 0.5, None),
    ]  # fmt: skip


def evaluated_twice(folder, gains, document=({}, {})):
    weathers = ["rain", "sun"]
    rows = [{"weather": weathers[at % 2], "time_of_day": "day"} for at in range(len(gains))]
    store = store_of(folder, rows)
    for name, own, told in (("old", [0.0] * len(gains), document[0]), ("new", gains, document[1])):
        parts = {
            IDS[at]: [{"stamp_ns": frame, "confidence": 0.5 + gain, "flicker": 0.1} for frame in range(1 + at)]
            for at, gain in enumerate(own)
        }
        evaluate(store, name, parts, document=told)
    return store


def test_value_compare_is_paired_over_recordings_and_by_weather(tmp_path):
    gains = [0.125, 0.25, 0.125, 0.25, 0.125, 0.25]  # rain, sun, rain, ...
    store = evaluated_twice(tmp_path / "store", gains)
    found = {(each.group, each.measure): each for each in compare_evaluations(store, "old", "new")}
    everything = found["all", "confidence"]
    assert (everything.recordings, everything.first, everything.second) == (6, 50.0, 68.75)
    assert everything.difference == 18.75  # of recordings, however many frames they have
    assert 12.5 < everything.low < 18.75 < everything.high < 25.0
    assert everything.is_significant
    rain = found["weather rain", "confidence"]
    assert (rain.recordings, rain.difference, rain.low, rain.high) == (3, 12.5, 12.5, 12.5)
    assert found["time of day day", "confidence"].recordings == 6
    same = found["all", "flicker"]
    assert (same.difference, same.is_significant) == (0.0, False)
    assert ("all", "miou") not in found  # there is no truth


def test_value_a_difference_by_chance_is_not_significant(tmp_path):
    store = evaluated_twice(tmp_path / "store", [0.1, -0.1, 0.05, -0.06])
    (found,) = [
        each for each in compare_evaluations(store, "old", "new") if each[:2] == ("all", "confidence")
    ]
    assert found.low < 0 < found.high
    assert not found.is_significant
    assert compare_evaluations(store, "old", "new") == compare_evaluations(store, "old", "new")


def test_exception_evaluations_that_cannot_be_compared(tmp_path):
    store = evaluated_twice(tmp_path / "store", [0.1], ({"classes": ["a"]}, {"classes": ["a", "b"]}))
    with user_error("label-space-mismatch", "old", "new"):
        compare_evaluations(store, "old", "new")
    with user_error("value-twice", "old"):
        compare_evaluations(store, "old", "old")
    with user_error("value-unknown", "none"):
        compare_evaluations(store, "old", "none")
    evaluate(store, "other", {IDS[0]: [{"stamp_ns": 99}]}, document={"classes": ["a"]})
    with user_error("value-conflict", "other"):
        compare_evaluations(store, "old", "other")


def test_value_of_vehicles_and_weathers_that_nobody_knows_nothing_is_said(tmp_path):
    rows = [{"date": "2026-03-02"}, {"date": "2026-03-02", "vehicle": "a", "weather": "rain"}]
    topics = [{"recording_id": IDS[at], "topic": "/x", "sensor": "rgb", "frozen_s": 5.0} for at in (0, 1)]
    store = store_of(tmp_path / "store", rows, topics)
    evaluate(store, "b0", {IDS[at]: [{"reliability": {"rgb": 0.5, "lidar": None}}] for at in (0, 1)})
    assert [(row["vehicle"], row["frames"]) for row in drift(store).records()] == [(None, 2), ("a", 1)]
    assert {row["vehicle"]: row["weather"] for row in failures(store).records()} == {None: None, "a": "all"}


def test_value_a_sensor_of_one_message_is_dead_and_a_moment_belongs_to_its_recording(tmp_path):
    topics = [
        {"recording_id": IDS[0], "topic": "/x", "sensor": "rgb", "longest_gap_s": 19.0},  # no rate
        {"recording_id": IDS[1], "topic": "/x", "sensor": "rgb", "rate_hz": 10.0, "longest_gap_s": 4.0},
    ]
    store = store_of(tmp_path / "store", [{}, {}], topics)
    evaluate(store, "b0", {IDS[1]: frames([(6, 10)], "rgb: dead")})
    (row,) = failures(store).records()
    assert (row["drives"], row["seconds"], row["longest_in"], row["at_s"]) == (2, 23.0, "/bags/000", None)


def test_value_moments_of_another_clock_are_told_by_log_time(tmp_path):
    """Stamps of a simulation, which begin at 90 s; what a vehicle's own clock is early or late by counts."""
    start_ns = 1_600_000_000 * S
    rows = [{"start_ns": start_ns, "end_ns": start_ns + 20 * S}] * 2
    store = store_of(tmp_path / "store", [{**row, "vehicle": "ab"[at]} for at, row in enumerate(rows)])
    parts = {IDS[at]: [{**row, "stamp_ns": row["stamp_ns"] + begin_ns, "confidence": 0.5 + number / 100}
                       for number, row in enumerate(frames([(4, 7)], "lidar: dead"))]
             for at, begin_ns in enumerate((90 * S, start_ns + S // 4))}  # fmt: skip
    parts[IDS[1]][0]["confidence"] = 0.9
    evaluate(store, "b0", parts)
    assert {row["vehicle"]: row["at_s"] for row in failures(store).records()} == {"a": 4.0, "b": 4.25}
    assert [(row["vehicle"], row["at_s"]) for row in worst(store, count=2).records()] == [("a", 0.0), ("b", 0.75)]


def test_value_a_stamp_that_comes_twice_is_one_moment_and_one_pair(tmp_path):
    """As after a simulation was begun again; one of the two moments has no labels."""
    store = store_of(tmp_path / "store", [{}])
    rows = [{"stamp_ns": 5, "used": "RL", "confidence": 0.25}, {"stamp_ns": 5, "used": ""},
            {"stamp_ns": 5, "used": "R", "confidence": 0.75}]  # fmt: skip
    evaluate(store, "old", {IDS[0]: rows})
    evaluate(store, "new", {IDS[0]: [{**row, "confidence": row.get("confidence") and 1.0} for row in rows]})
    assert [(row["used"], row["confidence"]) for row in worst(store, "old").records()] == [("RL", 0.25)]
    (found,) = [each for each in compare_evaluations(store, "old", "new") if each.measure == "confidence"]
    assert (found.first, found.second, found.recordings) == (50.0, 100.0, 1)


def test_value_an_evaluation_without_labels_has_no_worst_moment(tmp_path):
    store = store_of(tmp_path / "store", [{}])
    evaluate(store, "b0", {IDS[0]: [{"used": ""}]})
    assert worst(store).rows == [] == drift(store).rows
    assert [row["kind"] for row in failures(store).records()] == []
