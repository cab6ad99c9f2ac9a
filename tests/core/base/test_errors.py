import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from raised import user_error

from any2seg_core import load_calibration
from any2seg_core.base.error_codes import CODE_GROUPS, CODES, MESSAGE_REASONS, code_of
from any2seg_core.base.errors import MessageError, UserError
from any2seg_core.base.parallel import ordered_map
from any2seg_core.base.pictures import decode_picture
from any2seg_core.base.text_files import read_yaml
from any2seg_core.data.images import CorruptFileError
from any2seg_core.faults.kinds import load_faults


class SizeError(UserError):
    """With a constructor of its own."""

    def __init__(self, width: int, height: int) -> None:
        super().__init__(f"{width}x{height}", "size-mismatch")
        self.size = (width, height)


@pytest.mark.parametrize(
    "error",
    [UserError("a", "file-missing"), MessageError("a", "size"), CorruptFileError("a", "file-format"), SizeError(3, 5)],
    ids=lambda error: type(error).__name__,
)
def test_value_pickle_keeps_class_text_code_and_attributes(error):
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error) and str(again) == str(error) and vars(again) == vars(error)
    assert again.with_code == f"{error} [{again.code}]"


def test_value_an_error_of_a_worker_process_keeps_its_code(tmp_path):
    with user_error("file-missing", tmp_path / "a.yaml"):
        list(ordered_map(read_yaml, [tmp_path / "a.yaml", tmp_path / "b.yaml"], workers=2))
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool, user_error("message-codec"):
        pool.submit(decode_picture, np.zeros(3, np.uint8)).result()


def test_value_the_code_of_a_message_is_made_of_its_reason():
    assert {MessageError("a", reason).code for reason in MESSAGE_REASONS} == {f"message-{r}" for r in MESSAGE_REASONS}
    assert MessageError("a", "codec").reason == "codec"


def test_exception_unknown_codes_and_reasons_are_refused_at_once():
    with pytest.raises(KeyError, match="nonsense"):
        UserError("a", "nonsense")
    with pytest.raises(KeyError, match="nonsense"):
        MessageError("a", "nonsense")


def test_value_codes_are_unique_kebab_case_and_say_two_things():
    assert len(CODES) == sum(map(len, CODE_GROUPS.values()))
    assert all(code == code.lower() and code.replace("-", "").isalpha() for code in CODES)
    assert all(meaning.wrong and meaning.way_out for meaning in CODES.values())


def test_exception_errors_that_pass_others_on_keep_the_code(tmp_path: Path):
    (tmp_path / "plan.yaml").write_text("a: 1\na: 2\n")
    with user_error("key-twice", "plan.yaml"):
        load_faults(tmp_path / "plan.yaml")
    (tmp_path / "calibration.yaml").write_text("camera: {width: 10, height: 0, hfov_deg: 90}\n")
    with user_error("camera-size", "calibration.yaml"):
        load_calibration(tmp_path / "calibration.yaml")


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid")

    count: int = Field(1, ge=1)
    kind: Literal["a", "b"] = "a"
    text: str = ""

    @field_validator("text")
    @classmethod
    def _check(cls, text: str) -> str:
        if text == "twice":
            raise UserError("text twice", "value-twice")
        if text:
            raise ValueError("must be empty")
        return text


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"count": 0}, "value-range"),
        ({"count": "many"}, "value-type"),
        ({"count": None}, "value-type"),
        ({"count": 1.5}, "value-type"),
        ({"kind": "c"}, "value-unknown"),
        ({"size": 3}, "key-unknown"),
        ({"text": "x"}, "value-invalid"),
        ({"text": "twice"}, "value-twice"),
    ],
)
def test_value_codes_of_pydantic(given, code):
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate(given)
    assert code_of(caught.value) == code
