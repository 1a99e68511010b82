"""The published combination, from the bundle's own configs: pre-training, adaptation, inference."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow
from monai.fl.client import MonaiAlgo
from monai.fl.utils.exchange_object import ExchangeObject

from shared_components.errors import InputError, cause
from shared_components.networks.factory import export_generator
from shared_components.networks.generator import Generator

CONFIGS = Path(__file__).parents[2] / "bundles" / "adaptation" / "configs"
DOMAINS, LABELS = ["t1", "t2"], {0: "background", 1: "brain"}
TINY = {
    "domains": DOMAINS,
    "labels": LABELS,
    "image_size": 32,
    "spacing": None,
    "positions": 4,
    "device": "$torch.device('cpu')",
    "encoder_widths": [4, 4, 6, 8],
    "injection_resolutions": [8],
    "ramp_updates": 2,
    "classifier_width": 6,
    "classifier_hidden": 4,
    "batch_size": 2,
    "epoch_length": 2,
    "max_epochs": 1,
    "discriminator_channels": [8, 8, 6, 4],
    "quiet": True,
}


def write_root(root: Path, domain: str, labelled: bool) -> Path:
    """Two training volumes and one each for validation and test: a ball, bright in t1 and dark in t2."""
    random = np.random.default_rng(0)
    distance = np.linalg.norm(np.moveaxis(np.indices((32, 32, 6)), 0, -1) - [16, 16, 3], axis=-1)
    ball = (distance < 9).astype(np.uint8)
    items = {split: [] for split in ("training", "validation", "test")}
    root.mkdir(parents=True)
    for number, split in enumerate(("training", "training", "validation", "test")):
        image = ball * (1.0 if domain == "t1" else -1.0) + 0.1 * random.standard_normal(ball.shape)
        item = {"image": f"image{number}.nii.gz"}
        nib.save(nib.Nifti1Image(image.astype(np.float32), np.eye(4)), root / item["image"])
        if labelled or split != "training":
            item["label"] = f"label{number}.nii.gz"
            nib.save(nib.Nifti1Image(ball, np.eye(4)), root / item["label"])
        items[split].append(item)
    labels = {str(value): name for value, name in LABELS.items()}
    content = {"name": domain, "domain": domain, "modality": {"0": "MRI"}, "labels": labels, **items}
    (root / "dataset.json").write_text(json.dumps(content))
    return root


def workflow(kind: str, *files: str, **overrides) -> ConfigWorkflow:
    names = ["common.yaml", *files]
    return ConfigWorkflow(
        config_file=[str(CONFIGS / name) for name in names],
        workflow_type=kind,
        bundle_root=str(CONFIGS.parent),
        meta_file=None,
        logging_file=False,
        **(TINY | overrides),
    )


def factory_of(path: Path, domains: list[str]) -> None:
    torch.manual_seed(0)
    generator = Generator(
        32, len(domains), 4, channels=(8, 8, 6, 4), z_dim=8, w_dim=8, mapping_layers=2, mapping_lr=0.01
    )
    export_generator(generator, path, domains, LABELS, None, "RAS")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with two client data roots, a factory, and the model that two updates of pre-training give."""
    place = tmp_path_factory.mktemp("published")
    write_root(place / "source", "t1", labelled=True)
    write_root(place / "target", "t2", labelled=False)
    write_root(place / "labelled_target", "t2", labelled=True)
    factory_of(place / "factory.pt", DOMAINS)
    pretraining(place, "source.pt").run()
    return place


def pretraining(place: Path, model: str, **overrides) -> ConfigWorkflow:
    flow = workflow(
        "train",
        "pretrain.yaml",
        "published_network.yaml",
        "published_pretrain.yaml",
        dataset_dir=str(place / "source"),
        output_dir=str(place / f"{model}_run"),
        factory_path=str(place / "factory.pt"),
        ckpt_path=str(place / model),
        **overrides,
    )
    flow.initialize()
    return flow


def adaptation(place: Path, model: str, **overrides) -> ConfigWorkflow:
    settings = {
        "dataset_dir": str(place / "target"),
        "source_dir": str(place / "source"),
        "output_dir": str(place / f"{model}_run"),
        "factory_path": str(place / "factory.pt"),
        "source_model_path": str(place / "source.pt"),
        "ckpt_path": str(place / model),
    }
    flow = workflow(
        "train", "train.yaml", "published_network.yaml", "published.yaml", **(settings | overrides)
    )
    flow.initialize()
    return flow


def model(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["model"]


def test_pretraining_has_what_monai_asks_for(place):
    assert not pretraining(place, "unused.pt").check_properties()


def test_adaptation_has_what_monai_asks_for(place):
    assert not adaptation(place, "unused.pt").check_properties()


@pytest.mark.parametrize("adversarial_weight", [0.0, 0.1])
def test_adaptation_changes_the_adapted_parts_alone(place, adversarial_weight):
    adaptation(place, "changed.pt", adversarial_weight=adversarial_weight).run()
    before, after = model(place / "source.pt"), model(place / "changed.pt")
    changed = {name.split(".")[1] for name in after if not torch.equal(before[name], after[name])}
    assert changed == {"encoder", "injection", "target_classifier"}


def test_interrupted_and_resumed_equals_uninterrupted(place):
    whole = {"max_epochs": 3, "epoch_length": 1, "adversarial_weight": 0.1}
    schedule = {"train::handlers::1::epochs": 3}
    adaptation(place, "whole.pt", **whole, **schedule).run()
    adaptation(place, "part.pt", **(whole | {"max_epochs": 1}), **schedule).run()
    adaptation(place, "part.pt", resume=True, **whole, **schedule).run()
    expected, resumed = model(place / "whole.pt"), model(place / "part.pt")
    for name, tensor in expected.items():
        assert torch.equal(tensor, resumed[name]), name


def refusal(run: Callable[[], object]) -> str:
    """The cause for which something fails."""
    with pytest.raises((RuntimeError, InputError)) as error:
        run()
    return cause(error.value)


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        (
            {"source_dir": "labelled_target"},
            "image0.nii.gz: expected an image of domain t1, which 'source_domain' names",
        ),
        (
            {"dataset_dir": "source"},
            "image0.nii.gz: expected an image of domain t2, which 'target_domain' names",
        ),
        (
            {"domains": ["t2", "t1"]},
            "factory.pt: domains: expected ['t1', 't2'], with which the factory was trained",
        ),
        (
            {"target_domain": "t1", "dataset_dir": "source"},
            "target_domain: expected another than source_domain",
        ),
        ({"spacing": [2.0, 2.0]}, "factory.pt: spacing: expected None, with which the factory was trained"),
        ({"image_size": 64}, "factory.pt: image_size: expected 32, with which the factory was trained"),
        (
            {
                "source_domain": "t2",
                "source_dir": "labelled_target",
                "target_domain": "t1",
                "dataset_dir": "source",
            },
            "source.pt: trained with source_domain t1",
        ),
    ],
)
def test_what_does_not_fit_the_factory_or_the_domains_is_refused(place, changed, fault):
    """Slices of a third domain would count as target; the losses of source labels would be missing in silence."""
    for root in ("source_dir", "dataset_dir"):
        if root in changed:
            changed = changed | {root: str(place / changed[root])}
    assert fault in refusal(lambda: adaptation(place, "refused.pt", **changed).run())


def test_pretraining_on_slices_of_another_domain_is_refused(place):
    found = refusal(lambda: pretraining(place, "refused.pt", source_domain="t2").run())
    assert "expected an image of domain t2, which 'source_domain' names, found one of t1" in found


def test_a_resumed_adaptation_takes_no_other_settings(place):
    adaptation(place, "settled.pt").run()
    found = refusal(
        lambda: adaptation(place, "settled.pt", resume=True, max_epochs=2, learning_rate=0.5).run()
    )
    assert "settings.json: the run to resume had learning_rate: 0.001, now it is 0.5" in found


def test_monai_algo_trains_two_rounds(place):
    algo = MonaiAlgo(
        bundle_root=str(CONFIGS.parent),
        train_workflow=adaptation(place, "unused.pt"),
        config_evaluate_filename=None,
        send_weight_diff=False,
    )
    algo.initialize(extra={"CLIENT_NAME": "island"})
    start = {name: tensor.clone() for name, tensor in algo.trainer.network.state_dict().items()}
    weights = start
    for _ in range(2):
        algo.train(ExchangeObject(weights=weights), extra={})
        weights = {name: torch.as_tensor(w).clone() for name, w in algo.get_weights(extra={}).weights.items()}
    assert algo.trainer.state.epoch == 2
    changed = {name.split(".")[1] for name in weights if not torch.equal(weights[name], start[name])}
    assert changed == {"encoder", "injection", "target_classifier"}


def inference(place: Path, output: Path, **overrides) -> ConfigWorkflow:
    """Of the target's volumes, with a model that has just been adapted."""
    adaptation(place, "adapted.pt").run()
    return workflow(
        "infer",
        "inference.yaml",
        "published_network.yaml",
        "published_inference.yaml",
        dataset_dir=str(place / "target"),
        output_dir=str(output),
        factory_path=str(place / "factory.pt"),
        ckpt_path=str(place / "adapted.pt"),
        **overrides,
    )


def test_inference_writes_segmentations_on_the_inputs_grid(place):
    output = place / "segmentations"
    flow = inference(place, output)
    flow.initialize()
    assert not flow.check_properties()
    flow.run()
    (path,) = output.glob("*_seg.nii.gz")
    segmentation, image = nib.load(path), nib.load(place / "target" / "image3.nii.gz")
    assert segmentation.shape == image.shape
    np.testing.assert_array_equal(segmentation.affine, image.affine)
    assert set(np.unique(np.asarray(segmentation.dataobj))) <= set(LABELS)


def test_a_model_of_other_domains_is_refused(place):
    flow = inference(place, place / "refused", target_domain="t1")
    found = refusal(lambda: (flow.initialize(), flow.run()))
    assert "adapted.pt: trained with target_domain t2, but this config has t1" in found
