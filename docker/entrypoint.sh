#!/usr/bin/env bash
# Sources the distribution and the workspace, then becomes the command.
set -eo pipefail
# shellcheck source=/dev/null
source "/opt/ros/$ROS_DISTRO/setup.bash"
# shellcheck source=/dev/null
source /opt/any2seg/install/setup.bash
# `ros2` runs under the system's Python, which finds the environment of pip only this way; the workspace comes first.
PYTHONPATH="$PYTHONPATH:$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
export PYTHONPATH
exec "$@"
