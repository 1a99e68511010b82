"""The demo weights, run as the README says, on the real head that the project ships."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow
from monai.metrics import compute_dice

from shared_components.benchmarks.inference import SHIPPED
from tests.bundles.tiny import BUNDLES

CORDS = SHIPPED.parents[1] / "spinal_cord"
CORD = "milan_ses1_run1.nii.gz"


def run(bundle: str, demo: str = "demo", **overrides) -> None:
    configs = [str(BUNDLES / bundle / "configs" / f"{name}.yaml") for name in ("common", "inference", demo)]
    places = {name: str(value) for name, value in overrides.items()}
    flow = ConfigWorkflow(configs, workflow_type="inference", bundle_root=str(BUNDLES / bundle), **places)
    flow.initialize()
    flow.run()
    flow.finalize()


@pytest.mark.parametrize("bundle", ["adaptation", "segmentation"])
def test_the_brain_of_the_real_head_is_found(bundle, tmp_path):
    run(bundle, dataset_dir=SHIPPED / "head_2mm.nii.gz", output_dir=tmp_path)
    found, true = (
        np.asarray(nib.load(file).dataobj)
        for file in (tmp_path / "head_2mm_seg.nii.gz", SHIPPED / "brain_mask_2mm.nii.gz")
    )
    dice = compute_dice(torch.from_numpy(found)[None, None], torch.from_numpy(true)[None, None])
    assert dice > (0.95 if bundle == "segmentation" else 0.88)


def test_grey_and_white_matter_of_a_real_cord_are_found(tmp_path):
    run("segmentation", "demo_cords", dataset_dir=CORDS / "images" / CORD, output_dir=tmp_path)
    found, true = (
        torch.from_numpy(np.asarray(nib.load(file).dataobj).astype(np.int64))
        for file in (tmp_path / CORD.replace(".nii.gz", "_seg.nii.gz"), CORDS / "labels" / CORD)
    )
    white, grey = (compute_dice((found == k)[None, None], (true == k)[None, None]).item() for k in (1, 2))
    assert white > 0.9
    assert grey > 0.8


def test_the_factory_draws_one_anatomy_in_three_looks(tmp_path):
    for domain in ("t1", "t2", "pet"):
        run("factory", domain=domain, output_dir=tmp_path, volumes="$1", slices="$9")
    t1, t2, pet = (
        nib.load(tmp_path / f"{domain}_0000_synthetic.nii.gz").get_fdata() for domain in ("t1", "t2", "pet")
    )
    body = [(volume[..., 2:7] > -0.7) for volume in (t1, t2, pet)]
    assert all(0.15 < part.mean() < 0.7 for part in body)  # a head, with air about it
    for other in body[1:]:  # in the same place
        assert 2 * (body[0] & other).sum() / (body[0].sum() + other.sum()) > 0.75
    assert np.abs(t1 - t2).mean() > 0.05 and np.abs(t1 - pet).mean() > 0.05  # in another look
