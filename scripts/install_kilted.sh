#!/usr/bin/env bash
# Installs what the ROS tests need into an environment, with ROS 2 Kilted from wheels in place of Jazzy.
# Usage: scripts/install_kilted.sh /path/to/venv/bin/python
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1

constraints=$(mktemp)
trap 'rm -f "$constraints"' EXIT
grep -v '^ros-' constraints.txt >"$constraints" # those are Jazzy's versions

# The names of the extra `ros` in pyproject.toml.
mapfile -t packages < <(grep -o '"ros-jazzy-[a-z-]*"' pyproject.toml | tr -d '"' | sed 's/jazzy/kilted/')
"$python" -m pip install --quiet torch -c "$constraints"
"$python" -m pip install --quiet ".[dev]" "${packages[@]}" -c "$constraints"
"$python" -m pip uninstall --quiet --yes any2seg # the checkout is what is tested
