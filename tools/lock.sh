#!/bin/sh
# Write requirements/*.txt again from pyproject.toml: exact versions with hashes, for every platform.
# dev.txt holds all of runtime.txt and more, in the same versions. No index address goes into a file:
# where packages come from is the machine's own setting. Arguments go to the resolver, for example
# `sh tools/lock.sh --upgrade`.
set -eu
cd "$(dirname "$0")/.."

.venv/bin/python -m pip install --quiet "$(sed -n 's/^lock = \["\(.*\)"\]$/\1/p' pyproject.toml)"

compile() {
    output=$1
    shift
    .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-header --no-emit-index-url --no-emit-find-links --output-file "$output" "$@" pyproject.toml
}

mkdir -p requirements
compile requirements/runtime.txt --all-extras "$@"
compile requirements/dev.txt --all-extras --group dev --constraints requirements/runtime.txt "$@"
