#!/usr/bin/env bash
# Train the demo weights anew and put them in their places, bundles/*/models/demo*.pt:
#   bash scripts/demo_weights.sh
# Further arguments go to: scripts/federate.py study scripts/demo.yaml
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/help.sh"

source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

out=outputs/demo

# the factory, and the adaptation to T1
.venv/bin/python scripts/phantoms.py heads --output_dir "$out/data" --labelled t2
.venv/bin/python scripts/federate.py study scripts/demo.yaml --resume "$@"
cp "$out/factory/factory.pt" bundles/factory/models/demo.pt
cp "$out/clients/south/adaptation/model.pt" bundles/adaptation/models/demo.pt

# the segmentation of brains, from labelled heads, and of spinal cords, from those of six hospitals
configs=bundles/segmentation/configs
segmentation() { # name of the demo, data roots, further arguments
    .venv/bin/python -W ignore -m monai.bundle run --bundle_root bundles/segmentation \
        --config_file "['$configs/common.yaml','$configs/train.yaml','$configs/$1.yaml']" \
        --dataset_dir "$2" --output_dir "$out/$1" --ckpt_path "$out/$1/model.pt" \
        --max_epochs 40 --warm_up_epochs 24 "${@:3}"
    cp "$out/$1/model.pt" "bundles/segmentation/models/$1.pt"
}
.venv/bin/python scripts/phantoms.py heads --output_dir "$out/heads" --label_all
.venv/bin/python scripts/phantoms.py heads --output_dir "$out/patients" --label_all --patients --seed 1
h=$out/heads p=$out/patients
segmentation demo "['$h/t1','$h/t2_labelled','$h/pet_labelled','$p/t1','$p/t2_labelled','$p/pet_labelled']" \
    --looks strong --convolution_probability 0.3 --unlabelled_updates False --teacher_epochs "[]" --val_interval 4

.venv/bin/python scripts/prepare_data.py spinal-cord --output_dir "$out/cords" --labelled all
c=$out/cords
segmentation demo_cords "['$c/ceitec','$c/ucl','$c/nwu','$c/philips','$c/juntendo','$c/milan']" \
    --looks mild --teacher_epochs "[25,33]" --val_interval 2
ls -l bundles/*/models/demo*.pt
