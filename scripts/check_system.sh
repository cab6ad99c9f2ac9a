#!/usr/bin/env bash
# Checks what pip cannot install. As root on Debian or Ubuntu it installs what is missing; otherwise it stops with the
# exact command. Usage: PYTHON=python3 scripts/check_system.sh PACKAGE...
set -euo pipefail
python=${PYTHON:-python3}

version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || {
  echo "No Python found as '$python': install Python 3.10 to 3.13, or run make PYTHON=/path/to/python3." >&2
  exit 2
}
case "$version" in
  3.10|3.11|3.12|3.13) ;;
  *) echo "Python $version found, 3.10 to 3.13 needed: run make PYTHON=/path/to/python3.12." >&2; exit 2 ;;
esac

missing=()
"$python" -c 'import venv, ensurepip' 2>/dev/null || missing+=("python$version-venv")
if command -v dpkg-query >/dev/null; then
  for package in "$@"; do
    state=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing+=("$package")
  done
fi
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "Installing system packages: ${missing[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
else
  echo "System packages are missing. Install them and run make again:" >&2
  echo "  sudo apt-get update && sudo apt-get install -y ${missing[*]}" >&2
  exit 2
fi
