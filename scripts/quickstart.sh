#!/usr/bin/env bash
# The whole flow on six real hospitals, of which one has labels, on this machine, from nothing:
#   bash scripts/quickstart.sh              16–17 minutes after installation on two cores
#                                           without AVX-512
#   bash scripts/quickstart.sh --data heads three hospitals made from one real head instead
#   bash scripts/quickstart.sh --smoke      every step at the smallest sizes, with such heads, a minute or two; trains
#                                           nothing useful
#   bash scripts/quickstart.sh --force      start over; without it, a second run keeps what is finished
#   PYTHON=python3.12 bash scripts/quickstart.sh     the interpreter that .venv is made with
# Further arguments go to: scripts/federate.py study scripts/quickstart.yaml, or heads.yaml (--seed 1, ...)
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/help.sh"

smoke=
kind=
phantoms=()
arguments=()
while (($#)); do
    case "$1" in
        --smoke)
            smoke=-smoke
            phantoms=(--subjects 2,1,1 --coarseness 3)
            ;;
        --data)
            kind="${2:-none}"
            if (($# > 1)); then shift; fi
            ;;
        --data=*) kind="${1#--data=}"; kind="${kind:-none}" ;;
        *) arguments+=("$1") ;;
    esac
    shift
done
case "${kind:-default}$smoke" in
    default-smoke | heads-smoke) name=quickstart-smoke kind=heads ;;
    default | spine) name=quickstart kind=spine ;;
    heads) name=heads ;;
    *)
        echo "error: --data: expected heads, or spine without --smoke, found '${kind/none/}'" >&2
        exit 2
        ;;
esac

source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

data="outputs/$name/data"
start=$SECONDS
if [[ "$kind" == spine ]]; then
    echo "1/3 six hospitals' data in $data"
    [[ -f "$data/milan/dataset.json" ]] || .venv/bin/python scripts/prepare_data.py spinal-cord --output_dir "$data" --force
else
    echo "1/3 three clients' data in $data"
    .venv/bin/python scripts/phantoms.py heads --output_dir "$data" ${phantoms[@]+"${phantoms[@]}"}
fi
echo "2/3 check of the data"
.venv/bin/python scripts/prepare_data.py check "$data"/*/
echo "3/3 factory, source models, synthetic volumes, what each client without labels may use, the choice, scores, report"
.venv/bin/python scripts/federate.py study "scripts/${name//-/_}.yaml" --resume --nocheck \
    ${arguments[@]+"${arguments[@]}"}
echo "done in $(((SECONDS - start) / 60)) min $(((SECONDS - start) % 60)) s"
