#!/usr/bin/env bash
# Train the demo weights anew and put them in their places, bundles/*/models/demo.pt:
#   bash scripts/demo_weights.sh            about a quarter of an hour on two cores, after installation
# Further arguments go to: scripts/federate.py study scripts/demo.yaml
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/help.sh"

source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

out=outputs/demo
.venv/bin/python scripts/phantoms.py heads --output_dir "$out/data" --labelled t2
.venv/bin/python scripts/federate.py study scripts/demo.yaml --resume "$@"
cp "$out/factory/factory.pt" bundles/factory/models/demo.pt
cp "$out/clients/south/adaptation/model.pt" bundles/adaptation/models/demo.pt
cp "$out/generalisation/model.pt" bundles/segmentation/models/demo.pt
ls -l bundles/*/models/demo.pt
