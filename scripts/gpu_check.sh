#!/usr/bin/env bash
# Try every bundle on a GPU, in under 8 minutes: training and inference at the smallest and at the published sizes,
# agreement with the CPU, time and memory of updates with and without mixed precision, several clients on one GPU.
# A line is printed as each part ends, and stands in outputs/gpu_check/gpu_check.md; the exit status is 1 if one failed.
#   bash scripts/gpu_check.sh                          on an NVIDIA GPU
#   bash scripts/gpu_check.sh --device cpu --smoke     the check itself, in about a minute, without one
#   bash scripts/gpu_check.sh --help                   the other options
# A machine without a package index needs a torch of its own, with numpy, scipy, PyYAML, pillow, matplotlib, tqdm and
# tensorboard. Five wheels (5.4 MB) are carried to it; ITK, NVFlare and pytest are not needed:
#   python -m pip download --no-deps --dest wheels monai==1.6.1 pytorch-ignite==0.5.5 nibabel==5.4.2 fire==0.7.1 termcolor
#   python3 -m pip install --no-index --no-deps --target site wheels/*       there (or unzip them into site)
#   SITE=$PWD/site bash scripts/gpu_check.sh
# PYTHON names the interpreter: .venv's by default, else python3.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ -z "${PYTHON:-}" ]]; then
    PYTHON=python3
    [[ -x .venv/bin/python ]] && PYTHON=.venv/bin/python
fi
export PYTHONPATH="$PWD${SITE:+:$SITE}${PYTHONPATH:+:$PYTHONPATH}"
export MPLBACKEND=Agg PYTHONUTF8=1
exec "$PYTHON" -W ignore -m shared_components.benchmarks.gpu "$@"
