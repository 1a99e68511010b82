"""What a package says of itself: its README, the licence of its data, its requirements and metadata."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from shared_components.errors import InputError
from shared_components.packaging.settings import RUN_IDS
from shared_components.packaging.versions import required_packages
from shared_components.packaging.weights import is_factory, parsed
from shared_components.yaml_files import references

NOT_STATED = "not stated by whoever made this package"
NOT_MEASURED = (
    "These weights come without figures. Score them on labelled volumes of your own before any use."
)
WIRING = ("imports", "initialize", "run")

DATA_LICENSE = """The weights in "models" were trained on: {trained_on}.
Whether and to whom weights may be given is for whoever is responsible for those images to decide.

"shared_components/data/phantoms/colin27" holds the Colin 27 average brain, to try the package with; its own licence
(BSD 3-clause) stands beside it. The other phantoms are drawn from formulas: they hold no one's data. No other image or
label is in this package.
"""


def data_license(trained_on: str) -> str:
    """``docs/data_license.txt``."""
    return DATA_LICENSE.format(trained_on=trained_on.rstrip("."))


def requirements(metadata: Mapping[str, Any]) -> str:
    """``requirements.txt``: what the metadata asks for, in pip's words."""
    return "".join(f"{name}=={version}\n" for name, version in required_packages(metadata).items())


def readme(template: str, **values: str) -> str:
    """A template with every ``{{name}}`` replaced.

    Raises:
        InputError: the template has a name without a value.
    """
    absent = sorted(set(re.findall(r"{{(\w+)}}", template)) - set(values))
    if absent:
        raise InputError(f"docs/package.md: expected {sorted(values)} in double braces, found {absent[0]}")
    return re.sub(r"{{(\w+)}}", lambda match: values[match[1]], template)


def settings_table(config: Mapping[str, Any]) -> str:
    """Markdown table of the plain values of a config."""
    rows = [f"| `{key}` | `{_shown(value)}` |" for key, value in config.items() if _is_setting(key, value)]
    return "\n".join(["| setting | value |", "|---|---|", *rows])


def _is_setting(key: str, value: Any) -> bool:
    plain = not references(value) and "_target_" not in str(value) and not str(value).startswith("$")
    return plain and key not in RUN_IDS and key not in WIRING and "$" not in str(value)


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if not isinstance(value, Mapping) else str(dict(value))


def package_metadata(
    metadata: Mapping[str, Any], config: Mapping[str, Any], trained_on: str, notes: Sequence[str] = ()
) -> dict[str, Any]:
    """The bundle's metadata with classes, tensor formats and data source of these weights.

    Args:
        metadata: of the bundle.
        config: the package's inference config.
        trained_on: what the weights were trained on, in words.
        notes: sentences before the intended use.
    """
    content = copy.deepcopy(dict(metadata))
    content["intended_use"] = " ".join([*notes, content["intended_use"]])
    content["data_source"] = f"Weights: {trained_on.rstrip('.')}. {content['data_source']}"
    tensors = content["network_data_format"]
    image, pred = tensors["inputs"]["image"], tensors["outputs"]["pred"]
    if is_factory(config):
        image["num_channels"], size, slices = parsed(config, "z_dim", "image_size", "slices")
        pred["spatial_shape"] = [size, size, slices]
        return content
    labels = _class_names(config)
    shown = ", ".join(f"{value} {name}" for value, name in labels.items())
    content["label_classes"] = f"whole numbers: {shown}"
    content["pred_classes"] = f"one channel of scores per label: {shown}"
    image["spatial_shape"] = pred["spatial_shape"] = slice_shape(config)
    pred["num_channels"] = len(labels)
    pred["channel_def"] = {str(channel): name for channel, name in enumerate(labels.values())}
    return content


def _class_names(config: Mapping[str, Any]) -> dict[int, str]:
    """Label value to class name."""
    return {int(value): str(name) for value, name in parsed(config, "labels").items()}


def slice_shape(config: Mapping[str, Any]) -> list[str | int]:
    """Height and width that the network takes, in the notation of the zoo's metadata.

    For whole slices multiples of twice the network's downsampling, so that the smallest slice (n = 1) leaves the
    coarsest feature map more than the one pixel of which instance norm could make nothing.
    """
    window, multiple, size = parsed(config, "window", "multiple", "image_size")
    return [f"{2 * multiple}*n"] * 2 if min(window) < 0 else [size, size]
