"""Whether the device computes what the CPU computes."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from monai.bundle import ConfigParser
from torch import Tensor, nn

from shared_components.benchmarks import BUNDLES, REPOSITORY
from shared_components.benchmarks.gpu.bundles import run_folder
from shared_components.benchmarks.gpu.place import CheckedPart, CheckPlace
from shared_components.losses.adversarial import r1_penalty

HEAD = REPOSITORY / "shared_components" / "data" / "phantoms" / "colin27" / "head_2mm.nii.gz"
TOLERANCE = 1e-3  # of the largest number of an output, or of a parameter's gradient
DICE = 0.999  # of the segmentations of two devices, at least
BATCH = 4


@dataclass(frozen=True)
class Agreement:
    """A network, its inputs, and how they become one tensor of outputs."""

    name: str
    network: nn.Module
    inputs: Sequence[Tensor]
    call: Callable[..., Tensor]

    def on(self, device: torch.device, amp: bool = False) -> tuple[Tensor, list[Tensor]]:
        """Outputs, and the gradients of the sum of their squares, on the CPU."""
        network = copy.deepcopy(self.network).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=amp):
            outputs = self.call(network, *(one.to(device) for one in self.inputs)).float()
        trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        gradients = torch.autograd.grad(outputs.square().sum(), trained, allow_unused=True)
        return outputs.detach().cpu(), [g.cpu() for g in gradients if g is not None]


def networks(place: CheckPlace) -> Iterator[CheckedPart]:
    """Outputs and gradients of every network at smoke size, in float32; the outputs in bfloat16 as a remark."""
    for case in _cases():
        with _float32():
            expected, slopes = case.on(torch.device("cpu"))
            found, others = case.on(place.device)
            rough, _ = case.on(place.device, amp=True)
        gaps = [_gap(expected, found), max(map(_gap, slopes, others))]
        remark = f"outputs {gaps[0]:.1e}, gradients {gaps[1]:.1e}, bfloat16 {_gap(expected, rough):.1e} apart"
        yield CheckedPart(case.name, remark=remark, well=max(gaps) < TOLERANCE)


def _gap(expected: Tensor, found: Tensor) -> float:
    """Largest difference, in units of the largest number."""
    return float((expected - found).abs().max() / expected.abs().max().clamp(min=1e-6))


@contextlib.contextmanager
def _float32() -> Iterator[None]:
    """Without the 19 bits of TF32, which convolutions on a GPU have by default."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def _cases() -> Iterator[Agreement]:
    torch.manual_seed(0)
    parser = _parser("factory")
    size, domain = parser["image_size"], torch.arange(BATCH) % 3
    image, position = torch.rand(BATCH, 1, size, size) * 2 - 1, torch.linspace(0, 1, BATCH)
    generator = parser.get_parsed_content("generator_def")
    latent = torch.randn(BATCH, generator.z_dim)
    yield Agreement(
        "generator", generator, (latent, domain, position, *generator.sample_noise(BATCH)), _drawn
    )
    discriminator = parser.get_parsed_content("discriminator_def")
    yield Agreement("discriminator, R1", discriminator, (image, domain, position), _judged)
    parser = _parser("adaptation")
    translator = parser.get_parsed_content("translator")
    translator.noise = 0.0  # the devices' random numbers differ
    for name, network in (
        ("segmenter", parser.get_parsed_content("network_def")),
        ("translator", translator),
    ):
        yield Agreement(f"adaptation, {name}", network, (image,), lambda net, x: net(x))
    network = _parser("segmentation").get_parsed_content("disentangled_network").eval()
    yield Agreement("segmentation, disentangled network", network, (image,), _disentangled)


def _parser(bundle: str) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config(
        [str(BUNDLES / bundle / "configs" / f"{n}.yaml") for n in ("common", "train", "smoke")]
    )
    return parser


def _drawn(generator: nn.Module, latent: Tensor, domain: Tensor, position: Tensor, *noise: Tensor) -> Tensor:
    return generator(latent, domain, position, noise)


def _judged(discriminator: nn.Module, image: Tensor, domain: Tensor, position: Tensor) -> Tensor:
    image = image.detach().clone().requires_grad_()
    with torch.autocast(image.device.type, enabled=False):
        logits = discriminator(image, domain, position)
        return torch.cat([logits.flatten(), r1_penalty(logits, image)[None]])


def _disentangled(network: nn.Module, image: Tensor) -> Tensor:
    out = network(image)
    return torch.cat([part.flatten().float() for part in (out.scores, out.reconstruction, out.domain_logits)])


def segmentations(place: CheckPlace) -> Iterator[CheckedPart]:
    """The shipped head, segmented with the demo weights by the CPU and by the device, with and without bfloat16."""
    names = ("inference.yaml", "demo.yaml")
    ways = {"cpu": "cpu", "device": place.device, "device, mixed precision": place.device}
    for bundle in ("adaptation", "segmentation"):
        labels = {}
        for number, (way, device) in enumerate(ways.items()):
            out = run_folder(place, f"{bundle}_head_{number}")
            values = {"dataset_dir": str(HEAD), "output_dir": out, "evaluator::amp": "mixed" in way}
            one = CheckPlace(torch.device(device), place.folder, place.smoke)
            cost = one.run(bundle, *names, **values)
            labels[way] = _volume(Path(out)) > 0
            agrees = _dice(labels["cpu"], labels[way])
            yield CheckedPart(
                f"{bundle}, {way}", *cost, f"Dice {agrees:.5f} with the CPU's", well=agrees >= DICE
            )


def _volume(folder: Path) -> np.ndarray:
    (file,) = sorted(folder.glob("*.nii.gz"))
    return np.asarray(nib.load(file).dataobj)


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / max(one.sum() + other.sum(), 1))


def volumes(place: CheckPlace) -> Iterator[CheckedPart]:
    """A volume that the factory's demo weights draw, by the CPU and by the device."""
    found = []
    for device in ("cpu", place.device):
        out = run_folder(place, f"volume_{torch.device(device).type}")
        one = CheckPlace(torch.device(device), place.folder, place.smoke)
        slices = 4 if place.smoke else 32
        values = {"output_dir": out, "volumes": 1, "slices": slices, "domain": "t2"}
        with _float32():
            cost = one.run("factory", "inference.yaml", "demo.yaml", **values)
        found.append(_volume(Path(out)))
        apart = float(np.abs(found[0] - found[-1]).max())
        yield CheckedPart(
            f"drawn on {device}", *cost, f"at most {apart:.1e} apart, of 2", well=apart < 2 * TOLERANCE
        )
