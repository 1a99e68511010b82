"""The factory's networks as one module, and the file in which a trained factory travels, to more domains too."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from shared_components.data.volumes import in_plane_spacing
from shared_components.errors import InputError, folder_name_fault
from shared_components.files import load_tensors
from shared_components.networks.discriminator import Discriminator
from shared_components.networks.frozen_discriminator import FrozenDiscriminator
from shared_components.networks.generator import Generator
from shared_components.networks.weights import added_tensors, export_model, filled, refuse_misfit

DESCRIBED = {"generator", "domains", "labels", "spacing", "orientation"}  # what a factory file says of itself
PLAN = "the file's own description"
COPIES = ("generator", "generator_ema")  # of a factory file's one generator
# what a config calls arguments of the generator
IDS = {"size": "image_size", "encoding": "semantic_condition"}
LATER = {"encoding": 0, "common_rows": 0}  # arguments that files of earlier versions lack, with their values
CURES = {"classes": "label_domains"}  # and those that follow from another id


class FactoryNetwork(nn.Module):
    """Generator, discriminator and the exponential moving average (EMA) of the generator.

    Children: ``generator``, ``discriminator``, ``generator_ema``; a federation names those that it exchanges.

    Args:
        generator: the network that trains.
        discriminator: its critic.
    """

    def __init__(self, generator: Generator, discriminator: Discriminator | FrozenDiscriminator) -> None:
        super().__init__()
        self.generator = generator
        self.discriminator = discriminator
        self.generator_ema = copy.deepcopy(generator).requires_grad_(False)

    @torch.no_grad()
    def update_average(self, decay: float) -> None:
        """EMA ← decay · EMA + (1 - decay) · generator."""
        averages = list(self.generator_ema.parameters())
        torch._foreach_lerp_(averages, list(self.generator.parameters()), 1.0 - decay)
        for average, value in zip(self.generator_ema.buffers(), self.generator.buffers(), strict=True):
            average.copy_(value)

    def begin_average(self) -> None:
        """Where the generator comes trained and the average is as it was built, begin it as the generator is."""
        if int(self.generator.updates) and not int(self.generator_ema.updates):
            self.generator_ema.load_state_dict(self.generator.state_dict())

    def forward(self, z: Tensor, domain: Tensor, position: Tensor) -> Tensor:
        """Images of the averaged generator: ``z`` (B, z_dim), ``domain`` (B,), heights (B,) to (B, 1, S, S)."""
        return self.generator_ema(z, domain, position)


def export_generator(
    generator: Generator,
    path: str | os.PathLike,
    domains: Sequence[str],
    labels: Mapping[int, str],
    spacing: float | Sequence[float] | None,
    orientation: str | None,
    flat_domains: Sequence[str] = (),
    percentiles: Sequence[float] | None = None,
) -> Path:
    """Write the factory's deliverable: weights, how to rebuild the network, and what its slices mean.

    Args:
        generator: the EMA generator.
        path: file to write (replaced as a whole).
        domains: the federation's domain names, in index order.
        labels: the federation's label set.
        spacing: in-plane pixel size in mm, one number or two, None if slices were not resampled.
        orientation: axis codes of the volumes; the last letter is the slicing axis.
        flat_domains: those of single slices, if the generator has not counted what it was trained on.
        percentiles: intensities of a volume that became -1 and 1; None if nobody knows them.
    Raises:
        InputError: a spacing that is none, a flat domain that is none of the domains, weights that are not finite, or a
            file that cannot be written.
    """
    description = {
        "generator": dict(generator.arguments),
        "domains": [str(domain) for domain in domains],
        "labels": {int(value): str(name) for value, name in labels.items()},
        "spacing": _plain_spacing(spacing),
        "orientation": orientation,
        **({} if percentiles is None else {"percentiles": [float(value) for value in percentiles]}),
    }
    return export_model(_told_of(generator, domains, flat_domains), path, description)


def _told_of(generator: Generator, domains: Sequence[str], flat: Sequence[str]) -> Generator:
    """The generator, or a copy that knows which domains are single slices."""
    strange = [name for name in flat if name not in domains]
    if strange:
        raise InputError(f"flat_domains: expected some of {', '.join(domains)}, found {strange[0]!r}")
    if not flat:
        return generator
    told = copy.deepcopy(generator)
    told.slices_seen[[list(domains).index(name) for name in flat]] = told.slices_seen.new_tensor(
        [True, False]
    )
    return told


def _plain_spacing(spacing: float | Sequence[float] | None) -> float | list[float] | None:
    """Pixel size in mm as a factory file states it: one number where both are equal."""
    if spacing is None:
        return None
    first, second = in_plane_spacing(spacing)
    return first if first == second else [first, second]


def factory_description(path: str | os.PathLike) -> dict:
    """Domains, labels, spacing (mm), orientation and generator arguments of a factory file; and ``percentiles``, which
    files of earlier versions lack.

    Raises:
        InputError: the file is not a factory.
    """
    return _read(path)["description"]


def description_as_set(
    path: str | os.PathLike,
    image_size: int,
    spacing: float | Sequence[float] | None,
    orientation: str | None,
    domains: Sequence[str] | None = None,
    percentiles: Sequence[float] | None = None,
) -> dict:
    """:func:`factory_description` of a factory whose slices are as a config has them.

    Args:
        path: factory file.
        image_size: height and width of a slice, pixels.
        spacing: in-plane pixel size, mm, one number or two; None: the files' own.
        orientation: axis codes of the volumes; None counts as "native".
        domains: whose indices slices carry; None: they carry none.
        percentiles: intensities of a volume that become -1 and 1; None: not compared.
    Raises:
        InputError: the file is not a factory, or one that was trained with other values.
    """
    description = factory_description(path)
    pairs: dict[str, tuple[Any, Any]] = {
        "image_size": (description["generator"]["size"], image_size),
        "spacing": (_plain_spacing(description["spacing"]), _plain_spacing(spacing)),
        "orientation": (description["orientation"] or "native", orientation or "native"),
    }
    if domains is not None:
        pairs["domains"] = (list(description["domains"]), list(domains))
    if percentiles is not None and "percentiles" in description:
        pairs["percentiles"] = (list(description["percentiles"]), [float(value) for value in percentiles])
    faults = [
        f"{id}: expected {trained}, with which the factory was trained, found {found}"
        for id, (trained, found) in pairs.items()
        if trained != found
    ]
    if faults:
        cure = "give the factory's values, to the models that are trained with it too, or name another factory_path"
        raise InputError(f"{path}: {'; '.join(faults)}; {cure}")
    return description


def load_generator(path: str | os.PathLike) -> Generator:
    """Rebuild the frozen generator of a factory file, in evaluation mode.

    Raises:
        InputError: the file is missing, is not a factory, or its weights do not fit its description.
    """
    content = _read(path)
    arguments, weights = content["description"]["generator"], content["model"]
    try:
        if arguments["mapping_layers"] > len(weights):
            raise ValueError("more layers than tensors")
        with torch.device("meta"):  # nothing takes memory before it is known that the file has it
            planned = Generator(**arguments)
    except (TypeError, ValueError, LookupError, ArithmeticError, RuntimeError) as error:
        raise InputError(
            f"{path}: no generator can be built from the file's own description; export it again"
        ) from error
    lacking = added_tensors(planned).keys() - weights.keys()
    expected = {name: tensor for name, tensor in planned.state_dict().items() if name not in lacking}
    refuse_misfit(expected, weights, path, PLAN)
    return filled(Generator(**arguments), weights, path, PLAN).eval().requires_grad_(False)


def domain_index(path: str | os.PathLike, domain: str) -> int:
    """Index of a domain's name in a factory file.

    Raises:
        InputError: the factory does not know the domain.
    """
    known = factory_description(path)["domains"]
    if domain not in known:
        raise InputError(
            f"{path}: expected one of the factory's domains {known}, found {domain!r}; name one of them"
        )
    return known.index(domain)


def _read(path: str | os.PathLike) -> dict:
    content = load_tensors(Path(path))
    description = content.get("description")
    parts = content.get("model"), description
    if not all(isinstance(part, dict) for part in parts) or DESCRIBED - description.keys():
        raise InputError(
            f"{path}: expected a factory file (model and description); "
            "train bundles/factory, which exports factory.pt"
        )
    names = description["domains"] if isinstance(description["domains"], list) else []
    faults = [fault for fault in map(folder_name_fault, names) if fault]
    if faults:
        raise InputError(f"{path}: a domain: {faults[0]}; do not use a file that others may have changed")
    return content


def carried_over(
    tensors: Mapping[str, Tensor], description: Mapping[str, Any], *, network: nn.Module
) -> dict[str, Tensor]:
    """An earlier factory's tensors, by the names of ``network`` and in its shapes where it knows more domains.

    The generator draws the domains that it knew as before; a new one begins as the mean of their conditions. Of a run
    that exchanged the generator but not its average, the generator is taken for the average too.

    Args:
        tensors: name -> tensor: of a factory file, or of a network like this one, private or exchanged alike.
        description: of a factory file; empty for tensors of a network.
        network: a :class:`FactoryNetwork`.
    Raises:
        InputError: the factory file's generator is of other sizes.
    """
    if "generator" in description:
        _refuse_other_sizes(description["generator"], network.generator.arguments)
        tensors = {f"{copy}.{name}": tensor for copy in COPIES for name, tensor in tensors.items()}
    tensors = {**_average_from_generator(tensors), **tensors}
    present = {name.split(".", 1)[0] for name in tensors}
    added = {k: v for k, v in added_tensors(network).items() if k.split(".", 1)[0] in present}
    found = {**added, **tensors}
    for name, module in network.named_modules():
        if hasattr(module, "with_more_domains"):
            prefix = f"{name}." if name else ""
            own = {k.removeprefix(prefix): v for k, v in found.items() if k.startswith(prefix)}
            found |= {f"{prefix}{k}": v for k, v in module.with_more_domains(own).items()}
    return found


def _average_from_generator(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The average's names with the generator's tensors: an average as it was built would draw nothing."""
    trained, average = (f"{copy}." for copy in COPIES)
    return {average + k.removeprefix(trained): v for k, v in tensors.items() if k.startswith(trained)}


def _refuse_other_sizes(found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    found = {**LATER, **found}
    for key, value in expected.items():
        if key != "domains" and key in found and found[key] != value:
            name = IDS.get(key, key)
            raise InputError(
                f"start: '{name}': expected {found[key]}, as the factory that it goes on from has it, found {value}; "
                f"set {CURES.get(key, name)} in 'overrides', or name another start"
            )
