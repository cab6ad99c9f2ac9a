"""The study trains what is missing, reads what is there, and stops before anything is trained where it cannot work."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_data import write_deliver
from raised import user_error

import any2seg_training.study as study
from any2seg_core.vocabulary.modalities import VEHICLE
from any2seg_training.config import load_config
from any2seg_training.study import (
    STUDIES,
    StudyConfig,
    arguments,
    columns,
    figures,
    main,
    needs_teacher,
    read_study,
    run_study,
    spread,
    write_table,
)

TINY = {
    "height": 64, "width": 96, "crop_height": 64, "crop_width": 64, "head_width": 16, "batch_size": 2, "workers": 0,
    "threads": 1, "device": "cpu", "steps": 1, "compile_fusion": False, "bf16": False,
}  # fmt: skip


def configuration(tmp_path: Path, **changes: object) -> StudyConfig:
    return StudyConfig(**({"data": tmp_path / "data", "out": tmp_path / "out", "seeds": (3,)} | changes))


@pytest.mark.parametrize("name", sorted(path.stem for path in STUDIES.glob("*.yaml")))
def test_value_every_variant_is_a_configuration_of_one_budget(tmp_path: Path, name: str):
    config = configuration(tmp_path, study=name)
    opening = (STUDIES / f"{name}.yaml").read_text().splitlines()[0]
    assert opening == f"# python training/study.py study={name} data=data/drive out=runs/study/{name}"
    runs = {key: load_config(arguments(config, key, settings, 3)) for key, settings in read_study(config).items()}
    assert {(run.steps, run.lr, run.seed) for run in runs.values()} == {(1200, 1e-3, 3)}
    assert len({run.batch_size for run in runs.values()}) == 1


def test_value_names_of_the_fusion_study_say_what_is_in_them(tmp_path: Path):
    config = configuration(tmp_path)
    variants = read_study(config)
    assert next(iter(variants)) == "mean_dropout"  # the control comes first
    for name, settings in variants.items():
        run = load_config(arguments(config, name, settings, 3))
        assert (run.modality_dropout == 1.0) == ("dropout" not in name)
        assert (run.lambda_p > 0) == (name.endswith(("rp", "rf", "_r")))
        assert (run.lambda_f > 0) == (name.endswith(("rf", "_r")))
        assert (run.lambda_se > 0) == needs_teacher(settings) == ("lscd" in name)


def test_smoke_two_variants_then_nothing_left_to_train(tmp_path: Path, monkeypatch, capsys):
    write_deliver(tmp_path / "data", {"train": 2, "val": 2}, (64, 96))
    config = configuration(tmp_path, variants=("mean_dropout", "rgb_only"), train=TINY | {"final_frames": 1})
    document = run_study(config)
    assert [run["variant"] for run in document["runs"]] == ["mean_dropout", "rgb_only"]
    table = (config.out / "study.md").read_text()
    assert "in the truth, 1 val frames, protocol drop; 1 steps each" in table
    row = next(line for line in table.splitlines() if line.startswith("| rgb_only"))
    assert row.split("|")[3:6] == ["  "] * 3  # no RDEL and no mean of 15 without the other sensors
    command = document["runs"][0]["command"]
    assert command.startswith("python training/train.py ")
    assert "seed=3" in command
    assert " /" not in command  # no place of this machine alone
    assert table.count("    python ") == 2
    monkeypatch.setattr(study, "run_script", lambda command: pytest.fail(f"trained again: {command}"))
    assert run_study(config) == document
    assert json.loads((config.out / "study.json").read_text()) == json.loads(json.dumps(document))
    given = [f"data={config.data}", f"out={config.out}", "seeds=[3]", "variants=[rgb_only]"]
    assert main([*given, "train={steps: 2}"]) == 2
    assert "had 1 steps, not 2" in capsys.readouterr().err


def test_value_equal_time_is_a_budget_too(tmp_path: Path, monkeypatch):
    """Runs of different lengths stand in one table, with the steps that each of them had."""
    write_deliver(tmp_path / "data", {"train": 2, "val": 1}, (64, 96))
    given = {"study": "subsets", "variants": ("dropout", "subsets_1")}
    trained = TINY | {"final_frames": 1, "max_minutes": 10}
    for name, steps in zip(given["variants"], (1, 2), strict=True):
        run_study(configuration(tmp_path, study="subsets", variants=(name,), train=trained | {"steps": steps}))
    monkeypatch.setattr(study, "run_script", lambda command: pytest.fail(f"trained again: {command}"))
    config = configuration(tmp_path, **given, train=trained | {"steps": 10**6})
    assert [run["steps"] for run in run_study(config)["runs"]] == [1, 2]
    lines = (config.out / "study.md").read_text().splitlines()
    assert any("; 10 minutes each;" in line for line in lines)
    rows = [line.split("|") for line in lines if line.startswith(("| dropout", "| subsets_1"))]
    assert [row[-5].strip() for row in rows] == ["1", "2"]


def test_value_an_interrupted_run_resumes_and_a_teacher_is_made_first(tmp_path: Path, monkeypatch):
    config = configuration(tmp_path, variants=("mff_lscd",))
    folder = config.out / "mff_lscd-3"
    folder.mkdir(parents=True)
    (folder / "last.pt").write_bytes(b"")
    commands: list[list[str]] = []
    monkeypatch.setattr(study, "run_script", commands.append)
    with user_error("checkpoint-missing", "final.safetensors"):  # nothing was trained here
        run_study(config)
    assert [Path(command[0]).name for command in commands] == ["cache_teacher.py", "train.py"]
    assert commands[1][-1] == "resume=true"
    assert f"teacher={config.out / 'teacher'}" in commands[1]


def test_value_a_variant_starts_from_the_weights_of_another_that_is_trained_first(tmp_path: Path, monkeypatch):
    config = configuration(tmp_path, study="few_labels", variants=("mff_m3l_5", "linear_start_1", "mff_supervised_5"))
    assert list(read_study(config)) == ["mff_start_5", "mff_m3l_5", "linear_start_1", "mff_supervised_5"]
    commands: list[list[str]] = []
    monkeypatch.setattr(study, "run_script", commands.append)
    with user_error("checkpoint-missing", "final.safetensors"):  # nothing was trained here
        run_study(config)
    assert f"out={config.out / 'mff_start_5-3'}" in commands[0]
    given = arguments(config, "mff_m3l_5", read_study(config)["mff_m3l_5"], 3)
    assert load_config(given).init == config.out / "mff_start_5-3" / "final.safetensors"
    assert load_config(arguments(config, "mff_start_5", read_study(config)["mff_start_5"], 3)).init is None
    run = {"seed": 3, "command": "", "steps": 4, "minutes": 1.0, "results": {"frames": 1, "subsets": {}}}
    run["suite"] = VEHICLE.to_document()
    runs = [run | {"variant": "a", "after": None}, run | {"variant": "b", "after": "a"}]
    write_table(tmp_path, {"study": "few_labels", "steps": 4, "max_minutes": None, "runs": runs})
    assert "- b goes on from the weights of a\n" in (tmp_path / "study.md").read_text()


def test_value_a_start_of_a_start_is_trained_before_it(tmp_path: Path):
    config = configuration(tmp_path, study="long_start", variants=("clicks_agmm", "labels_m3l"))
    starts = [f"clicks_start_{number}" for number in (1, 2, 3)]
    assert list(read_study(config))[:4] == [*starts, "clicks_agmm"]
    variants = read_study(config)
    for name, before in (("clicks_start_3", "clicks_start_2"), ("labels_m3l", "labels_start_3")):
        run = load_config(arguments(config, name, variants[name], 3))
        assert run.init == config.out / f"{before}-3" / "final.safetensors"


def test_value_the_sweep_covers_what_is_named(tmp_path: Path):
    """Table 6 of Any2Seg and of M3L; the weights of functional entropy span two decades up to the paper's."""
    runs = {
        study: [
            load_config(arguments(configuration(tmp_path, study=study), name, settings, 3))
            for name, settings in read_study(configuration(tmp_path, study=study)).items()
        ]
        for study in ("switches", "distillation", "entropy", "alpha")
    }
    table_6 = {(run.mff.reweight, run.mff.select, run.mff.residual) for run in runs["switches"]}
    assert {(True, False, False), (True, True, False), (True, False, True), (True, True, True)} <= table_6
    terms = {(run.lambda_cr, run.lambda_se, run.lscd_temperature) for run in runs["distillation"]}
    assert {(1, 0, 1), (0, 1, 1), (1, 0, 0.1), (0, 1, 0.1)} <= terms
    for paper, name in ((0.3, "lambda_p"), (0.02, "lambda_f")):
        values = [getattr(run, name) for run in runs["entropy"]]
        assert max(values) == paper
        assert min(value for value in values if value) == pytest.approx(paper / 100)
    assert {0.4, 0.5, 0.6, 0.7, 0.8, 0.9} <= {run.linear.alpha for run in runs["alpha"]}


def test_value_the_table_says_what_each_run_took(tmp_path: Path, monkeypatch):
    """Steps, samples and processor time of a run; a checkpoint of an older version does not say the last."""
    write_deliver(tmp_path / "data", {"train": 2, "val": 1}, (64, 96))
    config = configuration(tmp_path, variants=("mff",), train=TINY | {"final_frames": 1, "accumulate": 3})
    run = run_study(config)["runs"][0]
    assert (run["steps"], run["samples"]) == (1, 6)  # of 2 samples three times
    assert 0.0 < run["processor_minutes"] < 5.0
    runs = [run, run | {"variant": "old", "processor_minutes": None}]
    write_table(tmp_path, {"study": "s", "steps": None, "max_processor_minutes": 2.5, "runs": runs})
    lines = (tmp_path / "study.md").read_text().splitlines()
    assert any("; 2.5 minutes of processor time each;" in line for line in lines)
    rows = [line.split("|") for line in lines if line.startswith(("| mff", "| old"))]
    assert [row[-4].strip() for row in rows] == ["6", "6"]
    assert [row[-2].strip() != "" for row in rows] == [True, False]


def test_value_figures_and_spread():
    results = {"subsets": {"R": {"miou_present": 12.0}}, "subset_mean": {"miou_present": 12.0}}
    assert figures(results, VEHICLE) == {"R": 12.0}
    results["subsets"] |= {"D": {"miou_present": 21.0}, "RD": {"miou_present": 30.0}}
    found = figures(results, VEHICLE)
    assert (found["MM-Robust"], found["mean of 3"], found["steps lowered of 2"]) == (21.0, 12.0, 0.0)
    expected = ["RD", "mean of 3", "MM-Robust", "R", "D", "steps lowered of 2", "by over 1"]
    assert columns([{"results": results}]) == expected
    four = {"subsets": dict.fromkeys(map(VEHICLE.subset_letters, VEHICLE.all_subsets()))}
    assert {"mean of 15", "steps lowered of 28"} < set(columns([{"results": four}]))
    assert spread([]) == ""
    assert spread([1.0]) == "1.0"
    assert spread([1.0, 2.0, 6.0]) == "3.0 ± 2.6"


def test_exception_before_anything_is_trained(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr(study, "run_script", lambda command: pytest.fail("trained"))
    given = [f"data={tmp_path}", f"out={tmp_path / 'out'}"]
    assert main([*given, "variants=[mff, magic]"]) == 2
    assert main([*given, "train={lerning_rate: 1}"]) == 2
    assert main([*given, "seeds=[]"]) == 2
    assert main([*given, "study=speed"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert "unknown variant 'magic': fusion has mean_dropout, rgb_only" in errors[0]
    assert "unknown key 'lerning_rate'" in errors[1]
    assert "unknown study 'speed': known are " in errors[3]
    assert len(errors) == 4
    assert not (tmp_path / "out").exists()


def test_exception_a_run_that_fails_names_its_command(tmp_path: Path):
    with user_error(
        "process-failed", "code 2", "train.py", "drive_b0_short.yaml", "mean-3", "seed=3", "mean_predictions"
    ):
        run_study(configuration(tmp_path, variants=("mean",)))
