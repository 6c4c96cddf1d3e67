#!/usr/bin/env bash
# Make a virtual environment and install into it: set_up.sh FOLDER PIP-ARGUMENTS...
# $PYTHON chooses the interpreter; without it the first that runs and is new enough is taken.
set -euo pipefail

venv=$1
shift

# Run it rather than look it up: a version manager's shim may be there and refuse.
new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1
}

# 3.11 first: constraints.txt is what was tested with it.
find_python() {
    local candidate
    for candidate in ${PYTHON:-python3.11 python3.12 python3.13 python3.10 python3 python}; do
        if new_enough "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    echo "Error: ${PYTHON:-no python3} is not a working Python of version 3.10 or newer." >&2
    echo "Install one (3.11 is what we test with), or name it: make TARGET PYTHON=/path/to/python3.11" >&2
    return 1
}

if ! new_enough "$venv/bin/python"; then
    python=$(find_python)
    echo "==> Making $venv with $("$python" --version)"
    if ! "$python" -m venv --clear "$venv"; then
        echo "Error: $python cannot make virtual environments (on Debian and Ubuntu: apt install python3-venv)." >&2
        exit 1
    fi
fi
echo "==> Installing into $venv: $*"
echo "    (the first time this fetches some large packages; expect a few minutes)"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
echo "==> $venv is ready"
