import pytest
from raised import assert_refused

pytest.importorskip("rclpy")

from any2seg_ros import segment_cameras


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], ("argument-missing", "--cameras")),
        (["--cameras"], ("argument-missing", "--cameras")),
        (["--cameras", "front,front"], ("value-twice", "front,front")),
        (["--cameras", "2nd"], ("value-format", "'2nd'")),
        (["--cameras", "front", "--checkpoint", "a"], ("argument-unknown", "--checkpoint")),
    ],
)
def test_exception_names_that_are_no_good_are_one_line(arguments, told, capsys):
    with pytest.raises(SystemExit) as caught:
        segment_cameras.main(["segment_cameras", *arguments])
    assert caught.value.code == 2
    assert_refused(capsys.readouterr().err, *told)
