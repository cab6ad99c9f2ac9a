"""Configuration: YAML, overrides, and one clear line for every mistake."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from raised import user_error

from any2seg_training.config import TrainConfig, load_config
from any2seg_training.evaluate import main as evaluate_main
from any2seg_training.train import main, make_run_folder

CONFIGS = sorted((Path(__file__).parents[2] / "training" / "configs").glob("*.yaml"))
NEEDED = ["data=d", "out=o"]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_smoke_shipped_configs_load_and_open_with_their_command(path: Path):
    assert load_config([str(path)]).data
    first = path.read_text().splitlines()[0]
    assert first.startswith("# ")
    assert f" training/train.py training/configs/{path.name}" in first  # settings to vary may follow


def test_value_later_settings_win(tmp_path: Path):
    file = tmp_path / "a.yaml"
    file.write_text("data: here\nout: there\nlr: 0.1\nmodalities: [lidar, rgb]\n")
    config = load_config([str(file), "lr=0.2", "modality_dropout={RL: 2, L: 1}", "scale=[1, 1.5]", "max_minutes=null"])
    assert config.lr == 0.2
    assert config.modalities == ("rgb", "lidar")
    assert config.modality_dropout == {"RL": 2.0, "L": 1.0}
    assert config.scale == (1.0, 1.5)
    assert config.max_minutes is None
    assert config.steps == TrainConfig.model_fields["steps"].default


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([*NEEDED, "learning_rate=1"], ("key-unknown", "'learning_rate'", "data, ")),
        (["data=d"], ("key-missing", "out=")),
        ([*NEEDED, "lr=fast"], ("value-type", "lr='fast'")),
        ([*NEEDED, "crop_width=100"], ("value-range", "crop_width=100", "32")),
        ([*NEEDED, "fusion=mff_early", "mff_early={scale: {lidar: 2}}"], ("value-invalid", "mff_early", "1 or 0.5")),
        ([*NEEDED, "fusion=mff_early", "mff_early={scale: {lidar: 0.5}}", "crop_width=96"],
         ("value-invalid", "96x192 pixels", "multiples of 64")),
        ([*NEEDED, "mff_early={scale: {lidar: 0.5}}"], ("value-invalid", "mff_early", "fusion=mff")),
        ([*NEEDED, "fusion=mff_early", "encoder=timm/convnext_tiny"], ("value-invalid", "mit_b0")),
        ([*NEEDED, "fusion=mff_early", "teacher=t", "lambda_cr=1"], ("value-invalid", "lscd_level=4")),
        ([*NEEDED, "fusion=mff_early", "mff_early={scale: {lidar: 0.5}}", "lambda_p=1", "fisher.wrt=input"],
         ("value-invalid", "fisher.wrt=input")),
        ([*NEEDED, "scale=[2, 1]"], ("value-invalid", "scale", "(2.0, 1.0)")),
        ([*NEEDED, "modalities=[radar]"], ("sensor-unknown", "'radar'")),
        ([*NEEDED, "--lr", "3"], ("value-format", "'--lr'", "key=value")),
        ([*NEEDED, "lr=[1"], ("text-syntax", "lr=[1")),
        ([*NEEDED, "lr=2001-99-99"], ("text-syntax", "lr=2001-99-99")),
        ([*NEEDED, "modalities=[]"], ("value-invalid", "modalities=[]")),
        ([*NEEDED, "seed=-1"], ("value-range", "seed=-1")),
        (["absent.yaml"], ("file-missing", "absent.yaml")),
    ],
)
def test_exception_one_line_names_the_mistake(arguments: list[str], told: tuple[str, ...]):
    with user_error(*told) as caught:
        load_config(arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "idle", "used"),
    [
        ("teacher=t", "lambda_cr=0 and lambda_se=0", ["lambda_cr=1"]),
        ("lscd_temperature=0.1", "lambda_cr=0 and lambda_se=0", ["teacher=t", "lambda_se=1"]),
        ("lscd_level=2", "lambda_cr=0 and lambda_se=0", ["teacher=t", "lambda_cr=1"]),
        ("fisher.wrt=input", "lambda_p=0 and lambda_f=0", ["lambda_f=0.02"]),
        ("ohem_threshold=0.6", "loss=ce", ["loss=ohem"]),
        ("class_weight_limit=3", "class_weight_power=0", ["class_weight_power=0.5"]),
        ("dropout_warmup_steps=100", "modality_dropout=1", []),
        ("jitter_strength=0.1", "jitter_probability=0", []),
        ("unlabelled_batch_size=3", "method=supervised", ["method=mean_teacher"]),
        ("data.unlabelled=x", "method=supervised", ["method=m3l"]),
        ("m3l.warmup_steps=3", "method=supervised", ["method=mean_teacher"]),
        ("m3l.masking=0.5", "method=mean_teacher", ["method=m3l"]),
        ("m3l.labels=released", "method=mean_teacher", ["method=m3l"]),
    ],
)
def test_exception_a_setting_that_would_do_nothing(setting: str, idle: str, used: list[str]):
    name = setting.partition("=")[0]
    switched_off = idle.split(" and ")
    with user_error("value-invalid", name.partition(".")[0], idle):
        load_config([*NEEDED, *switched_off, setting])
    load_config([*NEEDED, *used, setting])


def test_value_what_a_recipe_sets_may_be_switched_off():
    config = load_config([*NEEDED, "agmm.sigma=unit", "compile_fusion=true", "fusion=linear"])
    assert config.agmm.weight == 0


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"\xff\xfe\x00", "text-syntax"),
        (b"- a\n- b\n", "file-content"),
        (b"1: [", "text-syntax"),
        (None, "file-unreadable"),
    ],
)
def test_exception_files_that_are_no_configuration(tmp_path: Path, content: bytes | None, code: str):
    file = tmp_path / "bad.yaml"
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)
    with user_error(code, "bad.yaml") as caught:
        load_config([str(file)])
    assert "\n" not in str(caught.value)


def test_exception_the_file_of_a_bad_key_and_the_key_that_was_meant(tmp_path: Path):
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text("data: d\nout: o\nlr: fast\n")
    second.write_text("lamda_p: 0.3\n")
    with user_error("value-type", "a.yaml", "lr='fast'"):
        load_config([str(first)])
    with user_error("value-type", "lr='faster'"):
        load_config([str(first), "lr=faster"])
    with user_error("key-unknown", "b.yaml", "'lamda_p'", "lambda_p", "lambda_f"):
        load_config([str(first), "lr=0.1", str(second)])
    with user_error("key-unknown", "'data.labeled_fraction'", "labelled_fraction?"):
        load_config([str(first), "lr=0.1", "data.labeled_fraction=1%"])


def test_exception_run_folder_that_is_a_file(tmp_path: Path):
    (tmp_path / "run").write_bytes(b"x")
    with user_error("output-unwritable", "out=", "run"):
        make_run_folder(tmp_path / "run")
    assert (tmp_path / "run").read_bytes() == b"x"


def test_exception_an_interrupted_training_says_how_to_go_on(monkeypatch, capsys: pytest.CaptureFixture[str]):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("any2seg_training.train.train", interrupt)
    assert main([*NEEDED, "device=cpu"]) == 130
    assert "resume=true" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_exception_evaluate_without_the_device(capsys: pytest.CaptureFixture[str]):
    assert evaluate_main(["checkpoint=c.safetensors", "data=d", "device=cuda"]) == 2
    assert "device 'cuda' is not available" in capsys.readouterr().err


def test_exception_command_lines_exit_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["nonsense"]) == 2
    assert main([f"data={tmp_path / 'none'}", f"out={tmp_path / 'run'}", "device=cpu"]) == 2
    assert evaluate_main([f"checkpoint={tmp_path / 'no.safetensors'}", f"data={tmp_path}"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 3
    assert "no such folder or recording" in errors[1]
    assert "no.safetensors" in errors[2]
    assert not (tmp_path / "run").exists()
