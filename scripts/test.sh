#!/usr/bin/env bash
# Lint, check types, then the whole test suite: bash scripts/test.sh [arguments of pytest]
#   bash scripts/test.sh tests/networks -k generator
#   bash scripts/test.sh --thorough            with whole runs that take minutes, whose parts are tested without
#   bash scripts/test.sh --thorough -m "not fresh"   the same, but for what has pip fill an environment of 2.5 GB
#   PYTHON=python3.12 bash scripts/test.sh     the interpreter that .venv is made with
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/help.sh"

EXTRA=test,privacy,nvflare
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

.venv/bin/ruff check .
.venv/bin/ruff format --check --quiet . || {
    echo "error: files are not formatted; run: .venv/bin/ruff format ." >&2
    exit 1
}
.venv/bin/mypy --no-error-summary
# a worker a core and one more, since tests over NVFlare wait; tests of one file share fixtures, so they stay together
workers=$(.venv/bin/python -c "import os; print(os.cpu_count() + 1)")
.venv/bin/python -m pytest --numprocesses "$workers" --dist loadfile --no-loadscope-reorder "$@"
