#!/usr/bin/env bash
# The whole flow on three hospitals made from one real head, on this machine, from nothing:
#   bash scripts/quickstart.sh              about ten minutes on two cores, after installation
#   bash scripts/quickstart.sh --smoke      every step at the smallest sizes, about a minute; trains nothing useful
#   bash scripts/quickstart.sh --force      start over; without it, a second run keeps what is finished
#   PYTHON=python3.12 bash scripts/quickstart.sh     the interpreter that .venv is made with
# Further arguments go to: scripts/federate.py study scripts/quickstart.yaml (--rounds 100, --seed 1, ...)
set -euo pipefail

name=quickstart
phantoms=()
arguments=()
for argument in "$@"; do
    if [[ "$argument" == --smoke ]]; then
        name=quickstart-smoke
        phantoms=(--subjects 2,1,1 --coarseness 3)
    else
        arguments+=("$argument")
    fi
done

source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

data="outputs/$name/data"
start=$SECONDS
echo "1/3 three clients' data in $data"
.venv/bin/python scripts/phantoms.py heads "$data" ${phantoms[@]+"${phantoms[@]}"}
echo "2/3 check of the data"
.venv/bin/python scripts/prepare_data.py check "$data"/t1 "$data"/t2 "$data"/pet
echo "3/3 factory, source model, synthetic volumes, adaptation, segmentations, scores, report"
.venv/bin/python scripts/federate.py study "scripts/${name//-/_}.yaml" --resume --nocheck \
    ${arguments[@]+"${arguments[@]}"}
echo "done in $(((SECONDS - start) / 60)) min $(((SECONDS - start) % 60)) s"
