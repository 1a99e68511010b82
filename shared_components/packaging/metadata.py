"""What a package says of itself: the bundle's metadata, with what its weights were trained for."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from shared_components.packaging.weights import is_factory, parsed


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
    labels = class_names(config)
    shown = ", ".join(f"{value} {name}" for value, name in labels.items())
    content["label_classes"] = f"whole numbers: {shown}"
    content["pred_classes"] = f"one channel of scores per label: {shown}"
    image["spatial_shape"] = pred["spatial_shape"] = slice_shape(config)
    pred["num_channels"] = len(labels)
    pred["channel_def"] = {str(channel): name for channel, name in enumerate(labels.values())}
    return content


def class_names(config: Mapping[str, Any]) -> dict[int, str]:
    """Label value to class name."""
    return {int(value): str(name) for value, name in parsed(config, "labels").items()}


def slice_shape(config: Mapping[str, Any]) -> list[str | int]:
    """Height and width that the network takes, in the notation of the zoo's metadata.

    For whole slices multiples of twice the network's downsampling, so that the smallest slice (n = 1) leaves the
    coarsest feature map more than the one pixel of which instance norm could make nothing.
    """
    window, multiple, size = parsed(config, "window", "multiple", "image_size")
    return [f"{2 * multiple}*n"] * 2 if min(window) < 0 else [size, size]
