# Sourced by quickstart.sh and test.sh: makes or reuses .venv in the repository's root and goes there.
#   PYTHON     interpreter that .venv is made with (3.11 or later), python3 by default
#   EXTRA      optional dependencies of pyproject.toml to install as well, such as test

cd "$(dirname "${BASH_SOURCE[0]}")/.."

require_python() {
    if ! "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        echo "error: $1: expected Python 3.11 or later, found $("$1" --version 2>&1 || true);" \
            "name one with PYTHON=/path/to/python3.11" >&2
        exit 2
    fi
}

if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then # absent, or left half-made
    require_python "${PYTHON:-python3}"
    echo "making .venv with $("${PYTHON:-python3}" --version)"
    "${PYTHON:-python3}" -m venv --clear .venv
fi
require_python .venv/bin/python

# Installing again takes seconds even where nothing has changed, so what was installed is noted.
stamp=".venv/installed${EXTRA:+-$EXTRA}"
wanted="$(cat requirements.txt pyproject.toml | .venv/bin/python -c \
    'import hashlib, os, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest(), os.getcwd())')"
if [[ "$(cat "$stamp" 2>/dev/null || true)" != "$wanted" ]]; then
    echo "installing the pinned requirements into .venv; PyTorch is the large one"
    # what is imported is compiled then, a tenth of all files
    .venv/bin/python -m pip install --disable-pip-version-check --no-compile --editable ".${EXTRA:+[$EXTRA]}"
    echo "$wanted" >"$stamp"
fi

unset PYTHONDONTWRITEBYTECODE # every process would compile torch and monai anew
export MPLBACKEND=Agg
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" # processes keep the cores busy; threads would be in their way
export PYTHONUTF8=1 # some libraries reset the locale, and with it the encoding in which files are read
