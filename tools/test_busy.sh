#!/bin/sh
# Run the whole suite again and again beside a program that keeps one core busy: what a test says
# must not depend on how busy the machine is. Ends with the first run that fails.
# TIMES: how many runs (5); PYTEST_ARGS: as for make test.
set -eu
cd "$(dirname "$0")/.."

.venv/bin/python -c 'while True: pass' &
busy=$!
trap 'kill "$busy"' EXIT
trap 'exit 130' INT TERM

run=1
while [ "$run" -le "${TIMES:-5}" ]; do
    echo "test-busy: run $run of ${TIMES:-5}"
    make --no-print-directory test
    run=$((run + 1))
done
echo "test-busy: ${TIMES:-5} runs, 0 failures"
