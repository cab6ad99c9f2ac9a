from __future__ import annotations

import pytest

from any2seg_core.errors import UserError
from any2seg_core.sync_parameters import load_params_file, sync_config


def test_value_seconds_become_nanoseconds_and_events_a_window():
    config = sync_config({"timeout_s": 0.07, "lidar.offset_s": -0.015}, ["lidar", "event"], 30_000_000)
    assert config.timeout_ns == 70_000_000
    assert config.reference_priority == ("event", "lidar")
    assert config.streams["lidar"].offset_ns == -15_000_000
    assert (config.streams["lidar"].kind, config.streams["event"].kind) == ("sample", "window")
    assert config.streams["event"].window_ns == 30_000_000


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"timeout_s": "soon"}, "timeout_s is 'soon'"),
        ({"rgb.max_age_s": float("nan")}, "rgb.max_age_s"),
        ({"rgb.noise_window_s": 0.2}, r"rgb\.noise_window_s is 0\.2: max_age_s allows 0\.15"),
        ({"reference_priority": ["radar"]}, "radar"),
        ({"timeout_without_reference_s": True}, "timeout_without_reference_s"),
    ],
)
def test_exception_bad_values_are_named(values, message):
    with pytest.raises(UserError, match=message):
        sync_config(values, ["rgb"], 50_000_000)


def test_value_params_file_with_nested_and_dotted_names(tmp_path):
    path = tmp_path / "p.yaml"
    lines = ["timeout_s: 0.1", "lidar: {offset_s: -0.02}", "rgb.max_age_s: 0.3"]
    path.write_text("/**:\n  ros__parameters:\n" + "".join(f"    {line}\n" for line in lines))
    assert load_params_file(path) == {"timeout_s": 0.1, "lidar.offset_s": -0.02, "rgb.max_age_s": 0.3}


@pytest.mark.parametrize("text", [None, "a: [", "a: 1", "- 1", "", "/**: {ros__parameters: 3}"])
def test_exception_params_file_names_itself(tmp_path, text):
    path = tmp_path / "p.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=r"p\.yaml") as caught:
        load_params_file(path)
    assert "\n" not in str(caught.value)
