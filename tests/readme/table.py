"""What becomes of each documented command: not run, for a reason; checked without running; run, with fewer frames.

A command that no line of NOT_RUN names is run: a new one works as it stands, or is listed here with its reason.
"""

from __future__ import annotations

import re

NOT_RUN = {
    r"ros2( |$)|source /opt/ros|source install/": "needs a ROS 2 installation; launch files: tests/ros/test_launch.py",
    r"colcon|rosdep|export .*(ros2|ZENOH|\.\.\.|sysconfig|FASTDDS)|cd ros2_ws": "needs a ROS 2 installation or colcon",
    r"sudo |docker |python3 -m venv|source ~/": "changes the system or needs the network",
    r"pip |uv ": "installs from the network; the wheel: tests/test_wheel.py",
    r"make (demo|test|install|train|train-data)\b": "installs, renders or trains for minutes to hours",
    r"make (faults|fuzz|soak|docs|test-fast|lint|types)\b": "a run of its own in CI; its parts are tests here",
    r"make ": "prose, or a run of its own in CI",
    r"pytest|mypy|ruff|pre-commit|git ": "the tests and checks of this repository",
    r"(\w+=\S+ )?python benchmarks/": "measures for minutes",
    r"(\w+=\S+ )?any2seg bench": "measures for minutes; tests/core/cli/test_bench.py",
    r"mcap |sqlite3 ": "a tool of somebody else",
    r"python scripts/": "writes files of the repository; tests hold them up to date",
    r"any2seg engines|any2seg predict .*--runtime": "measure for minutes; tests/core/cli/test_engines.py",
    r"any2seg demo": "renders and replays for minutes; tests/ros/test_demo.py",
    r"any2seg (data convert|evaluate CHECKPOINT) \S*(muses|MUSES)": "needs MUSES; tests/core/data/test_convert.py",
    r"any2seg drive deliver .*--sequences 180": "renders for an hour; with one frame: the command with --seed 0",
    r"python -m any2seg_ros\.callback_cost": "measures; tests/ros/test_callback_cost.py",
    r"python -m any2seg_ros.score_node": "judges a node that runs; tests/ros/test_score_node.py",
    r"any2seg (evaluate --precision bfloat16|predict --calib$)": "a part of a command",
    r"any2seg (bag evaluate|predict) .*runs/train/own": "a step of many: test_your_vehicle.py",
    r"any2seg data (classes classes|init data/own)": "a step of many: test_your_vehicle.py",
    r"any2seg evaluate runs/train/": "needs a checkpoint that was trained for hours",
    r"any2seg figure .*=runs/study/": "needs the runs of a study; that of docs/evaluation.md is run",
    r"any2seg info a\.safetensors": "shows an error: there is no such file",
    r"any2seg .*(\[|<)": "a pattern, not a command",
    r"any2seg data (init|check) (my_data|FOLDER)": "needs a folder of the reader's; tests/core/data/test_propose.py",
    r"any2seg evaluate CHECKPOINT DATA --map":
        "needs truth of other classes; tests/core/evaluation/test_dataset_mapping.py",
    r"any2seg data check ROOT --suite FILE": "needs a tree of other sensors; tests/training/test_suites.py",
    r"any2seg bag inspect BAG --suite van\.yaml|any2seg-segment-node -p checkpoint:=van":
        "needs a suite of the reader's; tests/bags/test_suites.py, tests/ros/test_acceptance_suites.py",
    r"any2seg predict --sensor ": "needs files of the reader's; tests/core/cli/test_predict_suites.py",
    r"any2seg (predict|bag evaluate \S+) --model runs/exported|any2seg-segment-node .*runs/exported":
        "needs the folder of the export; tests/core/test_without_torch.py, tests/ros/test_without_torch.py",
    r"any2seg teach ": "needs a model of the camera, and trains; tests/training/teach",
    r"any2seg import ": "needs a model of another program; tests/core/imports",
    r"any2seg (predict|evaluate) .*runs/camera\.safetensors": "needs an imported model; tests/core/imports",
    r"any2seg drive fleet": "renders for minutes; tests/drive/test_fleet_writer.py",
    r"any2seg fleet index .*(s3:|https:|manifest)": "needs a bucket or a fleet; tests/core/fleet",
    r"any2seg fleet (compare|evaluate) |for drive in ": "needs evaluations, or judges for minutes; tests/core/fleet",
    r"any2seg (bag|fleet) view": "serves until it is ended; tests/core/view",
    r"any2seg calib": "tests/core/cli/test_calib.py",
    r"python examples/": "tests/examples",
}  # fmt: skip
"""Pattern at the beginning of a command -> why it is not run."""

SETTINGS_ONLY = re.compile(
    r"(?:\w+=\S+ )?(?:python|torchrun)\b.*?(?:training/|any2seg_training\.)(\w+)(?:\.py)?\b(.*)", re.DOTALL
)
"""Training takes hours: its settings are read and nothing is trained. Groups: script, its arguments."""

PLACEHOLDERS = {
    "CHECKPOINT": "checkpoints/drive_b0.safetensors", "CONFIG": "training/configs/drive_b0.yaml",
    "RECORDING": "runs/drive", "BAG": "runs/drive", "ROOT": "data/drive", "/data/DELIVER": "data/DELIVER",
}  # fmt: skip
"""Words that a reader replaces -> what stands for them here."""

FEWER = {
    r"--install-completion$": "--install-completion bash && true",  # a run of tests need not stand below a shell
    r"drive frame frame": "drive frame another",  # the home has a folder of that name, for `predict`
    r"(^any2seg bag \w+ )runs/night": r"\1runs/drive",
    r"--seconds \d+": "--seconds 0.2", r"(drive bag \S+)$": r"\1 --seconds 0.2", r"--sequences \d+": "--sequences 1",
    r"(^any2seg calibrate .*)--split test": r"\1--split val --frames 2",  # the home has no test split
    r"(^any2seg robustness .*)$": r"\1 --frames 1 --fault night --severity 1 --skip-noise",
    r"--frames 10": "--frames 1", r"sunny:20,night:10": "sunny:0.2,night:0.2", r"(drive bag \S+ --semantic-lidar)":
    r"\1 --seconds 0.2", r"(^any2seg bag evaluate .*)$": r"\1 --subsets all,L --every 4",
    r"(deliver .*--seed 0)$": r"\1 --frames 1", r"--workers 8": "--workers 1", r"--rate 0\.5": "--rate 2",
}  # fmt: skip
"""The same with less to compute: a command is run with these replacements, and otherwise as it stands."""

PROMISED = {
    r"any2seg drive frame (\w+)": r"\1/truth.png",
    r"any2seg predict .*-o (\S+)": r"\1",
    r"any2seg bag evaluate .*--record (\S+)": r"\1",
    r"any2seg bag evaluate (?:runs/)?(\w+)": r"runs/evaluate/\1/frames.jsonl",
    r"any2seg bag extract .*--out (\S+)": r"\1/img",
    r"any2seg data sparse \S+ (\S+)": r"\1",
    r"any2seg drive deliver (\S+)": r"\1/semantic",
    r"any2seg drive bag (\S+)": r"\1/metadata.yaml",
    r"python bags/make_drive.py (\S+)": r"\1/metadata.yaml",
    r"any2seg (?:evaluate|compare) .*--out (\S+)": r"\1/report.html",
    r"any2seg robustness .*--out (\S+)": r"\1/robustness.md",
    r"any2seg (?:features|figure|calibrate|switch) .*-o (\S+)": r"\1",
    r"any2seg fleet worst .*--out (\S+)": r"\1/report.html",
    r"any2seg fleet select .*--out (\S+)": r"\1",
    r".*> (\S+)$": r"\1",
}
"""Pattern -> what a command leaves behind: the first that fits."""

NODES = re.compile(r"(?:\.venv/bin/)?any2seg-segment|python -m any2seg_ros\.|any2seg bag replay")
"""Commands that talk ROS: test_node_commands.py."""


def reason_not_to_run(command: str) -> str:
    """Why a command is not run; empty where it is."""
    return next((why for pattern, why in NOT_RUN.items() if re.match(pattern, command)), "")


def filled(command: str) -> str:
    """A command with something in place of its placeholders."""
    command = command.replace(" [key=value ...]", "")
    for word, stand_in in PLACEHOLDERS.items():
        command = re.sub(rf"(?<![\w/.]){re.escape(word)}(?![\w/.])", stand_in, command)
    return command


def runnable(command: str) -> str:
    """What is run: names of commands alone ask for their help."""
    command = filled(command)
    if re.fullmatch(r"any2seg( (bag|data|drive|fleet))?( \w+)?", command) and command != "any2seg info":
        return f"{command} --help"
    for pattern, fewer in FEWER.items():
        command = re.sub(pattern, fewer, command)
    return command


def promised(command: str) -> str:
    """What it leaves behind; empty for what only prints."""
    if command.endswith("--help"):
        return ""
    for pattern, path in PROMISED.items():
        if found := re.match(pattern, command):
            return found.expand(path)
    return ""
