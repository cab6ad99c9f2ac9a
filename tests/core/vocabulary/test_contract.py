"""InputContract: defaults of the vehicle stay, other sets bring their own."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from any2seg_core.vocabulary.contract import InputContract
from any2seg_core.vocabulary.modalities import MCUBES, MUSES, VEHICLE, SensorSuite
from any2seg_core.vocabulary.sensor import Sensor


def test_value_the_default_is_the_vehicle_as_ever():
    contract = InputContract()
    assert contract.modalities == tuple(contract.normalisation) == tuple(contract.encodings) == VEHICLE.members
    assert contract.encodings == {
        "rgb": "rgb8",
        "depth": "hha-1",
        "event": "counts-recency-1",
        "lidar": "range-intensity-height-1",
    }
    assert contract.normalisation["rgb"].mean == (0.485, 0.456, 0.406)
    assert contract.normalisation["lidar"].std == (1.0, 1.0, 1.0)
    assert InputContract(modalities=("rgb", "lidar")).encodings == contract.encodings
    assert contract.suite is VEHICLE


def test_value_other_sets_bring_their_defaults_and_letters():
    materials = InputContract(modalities=MCUBES.members, label_space="mcubes-20")
    assert tuple(materials.normalisation) == tuple(materials.encodings) == ("rgb", "aolp", "dolp", "nir")
    assert materials.num_classes == 20
    assert materials.suite is MCUBES
    assert InputContract(modalities=("rgb",), label_space="mcubes-20").suite is MCUBES
    assert InputContract(modalities=("rgb", "lidar"), label_space="muses-19").suite is MUSES
    assert InputContract(modalities=("rgb", "depth"), label_space="muses-19").suite is VEHICLE
    assert InputContract.model_validate(materials.model_dump(mode="json")) == materials


def test_exception_incomplete_or_mixed():
    with pytest.raises(ValidationError, match="normalisation has no entry for dolp"):
        InputContract(modalities=("dolp",), normalisation={})
    with pytest.raises(ValidationError, match="no data set has depth, nir together"):
        InputContract(modalities=("depth", "nir"))
    with pytest.raises(ValidationError, match="in that order"):
        InputContract(modalities=("lidar", "rgb"))


def test_value_planes_that_messages_do_not_give_are_named():
    contract = InputContract()
    assert contract.encoding_notes(VEHICLE.members) == ()
    foreign = contract.model_copy(update={"encodings": contract.encodings | {"depth": "deliver-hha"}})
    (note,) = foreign.encoding_notes(VEHICLE.members)
    assert all(word in note for word in ("depth", "deliver-hha", "hha-1"))
    assert foreign.foreign_encodings(("rgb", "lidar")) == ()


def test_value_the_contract_keeps_the_whole_suite():
    front, thermal = Sensor("front", "F", "image"), Sensor("thermal", "T", "image", "thermal16", value_range=(1, 9))
    suite = SensorSuite("van", (front, Sensor("radar", "R", "points", value_range=(-20, 40)), thermal))
    contract = InputContract(suite=suite)
    assert contract.modalities == tuple(contract.normalisation) == ("front", "radar", "thermal")
    assert contract.normalisation["front"].mean == (0.485, 0.456, 0.406)
    assert contract.normalisation["thermal"].mean == (0.0, 0.0, 0.0)
    assert InputContract.model_validate_json(contract.model_dump_json()) == contract
    assert InputContract(suite=suite, modalities=("radar",)).suite == suite
    with pytest.raises(ValidationError, match="in that order"):
        InputContract(suite=suite, modalities=("thermal", "front"))
    with pytest.raises(ValidationError, match="'rgb' is not in the suite van"):
        InputContract(suite=suite, modalities=("rgb",))
    with pytest.raises(ValidationError, match="suite: unknown key 'colour'"):
        InputContract.model_validate(contract.model_dump() | {"suite": {"colour": "red"}})


def test_exception_a_contract_opens_no_file(tmp_path):
    path = tmp_path / "vehicle.yaml"
    path.write_text("name: eye\nsensors: {front: {kind: image, letter: F}}")
    for stored in (str(path), "/etc/passwd", "vehicle.yaml", "", "."):
        with pytest.raises(ValidationError, match="unknown sensor suite"):
            InputContract.model_validate({"suite": stored})
    assert InputContract.model_validate({"suite": "muses", "label_space": "muses-19"}).suite is MUSES


@pytest.mark.parametrize("suite", [VEHICLE, MUSES, MCUBES], ids=lambda suite: suite.name)
def test_value_checkpoints_from_before_mean_a_shipped_suite(suite):
    labels = {"vehicle": "deliver-25", "muses": "muses-19", "mcubes": "mcubes-20"}[suite.name]
    now = InputContract(suite=suite, label_space=labels).model_dump(mode="json")
    before = {key: value for key, value in now.items() if key != "suite"}
    assert InputContract.model_validate(before).suite is suite
