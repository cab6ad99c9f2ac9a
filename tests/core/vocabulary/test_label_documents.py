from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raised import user_error

from any2seg_core.vocabulary.contract import InputContract
from any2seg_core.vocabulary.label_documents import parse_space
from any2seg_core.vocabulary.labels import (
    LabelSpace,
    label_space,
    shipped_names,
    shipped_space,
    stored_label_space,
)

YARD = """\
name: yard-3
classes:
  - {name: ground, colour: [81, 0, 81], group: flat, raw: [1, 2]}
  - {name: crate, colour: [180, 140, 90], raw: 7, raw_colours: [[1, 2, 3], [4, 5, 6]]}
  - {name: person, raw: []}
other: crate
void: {raw: [0, 255], raw_colours: [[0, 0, 0]]}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "yard.yaml"
    path.write_text(text)
    return path


def test_value_every_key_of_a_file(tmp_path):
    space = label_space(write(tmp_path, YARD))
    assert space == label_space(str(tmp_path / "yard.yaml"))
    assert (space.name, space.classes, space.other) == ("yard-3", ("ground", "crate", "person"), "crate")
    assert space.groups == ("flat", "", "")
    assert space.raw == ((1, 2), (7,), ())
    assert space.colours[:2] == ((81, 0, 81), (180, 140, 90))
    assert space.file_colours == (((81, 0, 81),), ((1, 2, 3), (4, 5, 6)), (space.colours[2],))
    assert (space.void_raw, space.void_colours) == ((0, 255), ((0, 0, 0),))


def test_value_classes_may_be_names_alone_with_the_colours_of_pascal_voc(tmp_path):
    space = label_space(write(tmp_path, "name: a\nclasses: [ground, {name: crate, colour: [0, 128, 0]}, wall, sky]"))
    assert space.classes == ("ground", "crate", "wall", "sky")
    assert space.colours == ((128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128))  # the second one is taken


def test_value_300_classes_without_colours_are_all_different(tmp_path):
    space = label_space(write(tmp_path, f"name: many\nclasses: {json.dumps([f'c{k}' for k in range(300)])}"))
    assert len(set(space.colours)) == 300 and (0, 0, 0) not in space.colours


@pytest.mark.parametrize("name", shipped_names())
def test_value_shipped_spaces_come_back_from_their_document(name):
    space = shipped_space(name)
    assert LabelSpace.of_document(json.loads(json.dumps(space.to_document())), name) == space
    assert space.reference == name
    assert stored_label_space(name) is space


@pytest.mark.parametrize(
    ("text", "code", "named"),
    [
        ("", "file-content", ("empty",)),
        ("[1]", "file-content", ("list",)),
        ("classes: [a]", "key-missing", ("name",)),
        ("name: x", "key-missing", ("classes",)),
        ("name: x\nclasses: []", "value-range", ("classes",)),
        ("name: x\nclasses: [a]\ncolors: 3", "key-unknown", ("colors", "classes, other, void")),
        ("name: x\nclasses: [{name: a, color: [1, 2, 3]}]", "key-unknown", ("classes.0 (a).color", "colour")),
        ("name: x\nclasses: [a]\nvoid: {ids: [1]}", "key-unknown", ("void.ids", "raw_colours")),
        ("name: x\nclasses: [a]\nname: y", "key-twice", ("name", "line 3")),
        ("name: x\nclasses: [a, b, a]", "value-twice", ("'a'", "class 0", "class 2")),
        ("name: x\nclasses: [{name: a, colour: [1, 2, 3]}, {name: b, colour: [1, 2, 3]}]", "value-twice",
         ("colour [1, 2, 3]", "(a)", "(b)")),
        ("name: x\nclasses: [{name: a, colour: [1, 2, 256]}]", "value-range", ("classes.0 (a).colour.2", "256")),
        ("name: x\nclasses: [{name: a, colour: [1, 2, -1]}]", "value-range", ("-1",)),
        ("name: x\nclasses: [{name: a, colour: [1, 2]}]", "key-missing", ("colour.2",)),
        ("name: x\nclasses: [{name: a, colour: [1, 2, 3.5]}]", "value-type", ("3.5",)),
        ("name: x\nclasses: [{name: a, colour: red}]", "value-type", ("red",)),
        ("name: x\nclasses: [{name: a, raw: [4, 5]}, {name: b, raw: 5}]", "value-twice", ("raw id 5", "a", "b")),
        ("name: x\nclasses: [{name: a, raw: 5}]\nvoid: {raw: 5}", "value-twice", ("raw id 5", "a", "void")),
        ("name: x\nclasses: [{name: a, raw: 5}, b]", "key-missing", ("class b", "raw")),
        ("name: x\nclasses: [a]\nvoid: {raw: [255]}", "key-missing", ("void.raw",)),
        ("name: x\nclasses: [{name: a, raw: 65536}]", "value-range", ("65536",)),
        ("name: x\nclasses: [{name: a, raw: true}]", "value-type", ("True",)),
        ("name: x\nclasses: [{name: a, raw_colours: [[1, 2, 3]]}, {name: b, colour: [1, 2, 3]}]", "value-twice",
         ("[1, 2, 3]", "of a", "of b")),
        ("name: x\nclasses: [a]\nother: b", "value-unknown", ("'b'",)),
        ("name: x\nclasses: [no]", "value-type", ("classes.0", "False")),
        ("name: x y\nclasses: [a]", "value-invalid", ("x y",)),
        ('name: x\nclasses: ["a\\e[31m"]', "value-invalid", ("classes.0",)),
        ('name: x\nclasses: [{name: "a\\nb"}]', "value-invalid", (r"a\nb",)),
        ('name: x\nclasses: [{name: a, group: "b\\nc"}]', "value-invalid", ("classes.0 (a).group", r"b\nc")),
        ("name: x\nclasses: [{name: yes}]", "value-type", ("classes.0", "True", "quotation marks")),
        ("name: x\nclasses: [{name: a}, {name: on}]", "value-type", ("classes.1", "quotation marks")),
        ("name: x\nclasses: [a]\nother: off", "value-type", ("other", "quotation marks")),
        ("name: x\nclasses: [a, b", "text-syntax", ("line",)),
    ],
)  # fmt: skip
def test_exception_what_is_wrong_in_a_file_is_named(tmp_path, text, code, named):
    path = write(tmp_path, text)
    with user_error(code, path, *named) as caught:
        label_space(path)
    assert "\n" not in str(caught.value)


def test_exception_no_such_file_or_name(tmp_path):
    with user_error("file-missing", tmp_path / "none.yaml"):
        label_space(tmp_path / "none.yaml")
    with user_error("label-space-unknown", "'cityscapes'", "deliver-25", "cityscapes-19", "YAML"):
        label_space("cityscapes")


def test_value_a_contract_holds_the_whole_space(tmp_path):
    space = label_space(write(tmp_path, YARD))
    stored = json.loads(InputContract(label_space=space).model_dump_json())
    (tmp_path / "yard.yaml").unlink()
    contract = InputContract.model_validate(stored)
    assert contract.label_space == space
    assert contract.num_classes == 3
    assert stored["label_space"]["classes"][0] == {
        "name": "ground", "colour": [81, 0, 81], "group": "flat", "raw": [1, 2]
    }  # fmt: skip


def test_value_contracts_from_before_hold_a_name():
    assert InputContract.model_validate({"label_space": "muses-19"}).label_space is shipped_space("muses-19")


def test_exception_a_contract_opens_no_file(tmp_path):
    path = write(tmp_path, YARD)
    with pytest.raises(ValueError, match="unknown label space"):
        InputContract(label_space=str(path))


def test_value_same_classes_whatever_the_name_and_the_colours_are():
    assert shipped_space("muses-19").is_same(shipped_space("cityscapes-19"))
    one = LabelSpace("one", ("a", "b"), ((1, 2, 3), (4, 5, 6)))
    other = LabelSpace("one", ("a", "b"), ((1, 2, 3), (7, 8, 9)))
    assert one.is_same(other) and one != other
    assert not one.is_same(LabelSpace("one", ("b", "a"), ((1, 2, 3), (4, 5, 6))))


def test_value_two_spaces_of_one_name_are_told_apart():
    one = LabelSpace("yard", ("a", "b"), ((1, 2, 3), (4, 5, 6)))
    other = LabelSpace("yard", ("a", "b", "c"), ((1, 2, 3), (4, 5, 6), (7, 8, 9)))
    assert one.told_apart(one) is None
    assert one.told_apart(other) == ("yard (class 2 is none)", "yard (class 2 is c)")
    assert one.told_apart(shipped_space("mcubes-20")) == ("yard", "mcubes-20")
    assert one.reference == one.to_document()
    assert LabelSpace("deliver-25", ("a",), ((1, 2, 3),)).reference != "deliver-25"


@given(
    st.lists(st.tuples(st.booleans(), st.sets(st.integers(0, 65535), max_size=3)), min_size=1, max_size=30),
    st.booleans(),
)
def test_property_a_document_says_everything(entries, has_raw):
    classes = tuple(f"class {number}" for number in range(len(entries)))
    colours = tuple((number, 7, 255 - number) for number in range(len(entries)))
    seen: set[int] = set()
    raw = []
    for _, ids in entries:
        raw.append(tuple(sorted(ids - seen)))
        seen |= ids
    groups = tuple("moving" if grouped else "" for grouped, _ in entries)
    space = LabelSpace(
        "drawn", classes, colours, classes[-1], groups if any(groups) else (), tuple(raw) if has_raw else ()
    )
    assert LabelSpace.of_document(space.to_document(), "drawn") == space


@pytest.mark.parametrize("key", ["name", "group"])
@pytest.mark.parametrize(
    ("word", "code"),
    [("ä" * 100, ""), (" " + "a" * 100 + " ", ""), ("a" * 101, "value-range"), ("a\x07b", "value-invalid")],
)
def test_value_how_long_the_words_of_a_class_are(key, word, code):
    document = {"name": "yard", "classes": [{"name": "road"} | {key: word}]}
    if not code:
        assert getattr(parse_space(document, "yard.yaml").classes[0], key) == word.strip()
        return
    with user_error(code, "yard.yaml", key, word[:2].rstrip("\x07")):
        parse_space(document, "yard.yaml")


def test_exception_a_class_without_a_name():
    with user_error("value-range", "classes.0", "name"):
        parse_space({"name": "yard", "classes": [" "]}, "yard.yaml")
