#!/bin/sh
# Makes a private virtual environment, .venv, with nox in it (once), and passes its arguments on to nox.
set -eu
cd "$(dirname "$0")"
has() { "$1" -c "import sys, $2; sys.exit(sys.version_info < (3, 11))" >/dev/null 2>&1; }
pick() { for python in python3 python3.14 python3.13 python3.12 python3.11 /usr/bin/python3; do has "$python" "$1" && return; done; false; }
fetch() { [ "$(id -u)${VHDX_NO_INSTALL:-}" = 0 ] && apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y python3-venv >/dev/null; }
if ! has .venv/bin/python nox; then
    if has .venv/bin/python pip; then :
    elif pick ensurepip || { fetch && pick ensurepip; }; then "$python" -m venv --clear .venv
    elif pick pip; then "$python" -m venv --clear --without-pip .venv && "$python" -m pip --python .venv/bin/python install -q pip
    else echo "$0: no Python 3.11 or newer that can make a virtual environment; run: sudo apt-get install python3-venv" >&2; exit 1; fi
    .venv/bin/python -m pip install -q 'nox>=2025.2.9'
fi
exec .venv/bin/python -m nox "$@"
