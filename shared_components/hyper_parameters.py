"""What each hyper-parameter of the bundles' configs may be, and the check of a config before anything is built.

An id means the same in every bundle. The limits leave room for what a large machine can train; what lies beyond is
a slip, such as a spacing in metres, that would compute for minutes or fill the memory before it fails.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser

from shared_components.errors import InputError, cause, shown
from shared_components.value_rules import (
    Rule,
    choice,
    either,
    flag,
    number,
    optional,
    rising,
    several,
    such,
    table,
    text,
    whole,
)
from shared_components.yaml_files import references

UNBUILDABLE = (  # what the parts of a config raise: MONAI's parser, components, expressions, torch
    *(RuntimeError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, AssertionError),
    *(ImportError, NameError, SyntaxError, OSError, MemoryError),
)
SPACING = number(0.05, 100, unit="mm")
WIDTHS = several(whole(1, 2048), 1, 12)
U_NET_WIDTHS = such(WIDTHS, "at least 2 of them", lambda value: len(value) > 1)
UPDATES = whole(1, 10**6)
SHARE = number(0, 1)
WEIGHT = number(0, 1e6)
RATE = number(0, 10, above=True)
BATCH = whole(1, 4096)
NAME = text(r"[^$@%].{0,199}|", "a text that is no expression")
FOLDERS = either(text(), several(text(), 1, 1000))
CORRECT_AXES = text(
    r"native|(?=.*[RL])(?=.*[AP])(?=.*[SI]).{3}",
    "'native' or one letter each of R/L, A/P and S/I (as in 'RAS')",
)


def _is_window(value: Sequence[int]) -> bool:
    return all(size == -1 or size >= 16 for size in value)


def _is_device(value: Any) -> bool:
    try:
        device = torch.device(value)
    except (RuntimeError, TypeError, ValueError):
        return False
    if device.type == "cpu":
        return not device.index
    known = device.type == "cuda" and torch.cuda.is_available()
    return known and (device.index or 0) < torch.cuda.device_count()


RULES: Mapping[str, Rule] = {
    # what a federation agrees on
    "domains": such(several(NAME, 1, 1000), "no two alike", lambda value: len(set(value)) == len(value)),
    "label_domains": several(NAME, 0, 1000),
    "flat_domains": several(NAME, 0, 1000),
    "source_domains": several(NAME, 1, 1000),
    "held_out": optional(NAME),
    "labels": such(
        table(whole(0, 255), NAME, 256),
        "counted from 0",
        lambda value: sorted(value) == list(range(len(value))),
    ),
    "image_size": whole(8, 4096),
    "spacing": optional(either(SPACING, several(SPACING, 2, 2))),
    "orientation": optional(CORRECT_AXES),
    "percentiles": such(several(number(0, 100), 2, 2), "the first below the second", rising),
    "positions": whole(1, 4096),
    "seed": whole(0, 2**32 - 1),
    "rank": whole(0, 10**6),
    # places
    "bundle_root": text(),
    "dataset_dir": FOLDERS,
    "output_dir": text(),
    "ckpt_path": such(
        text(),
        "of a model, such as OUT/model.pt, not the training's own checkpoint.pt",
        lambda path: Path(path).name != "checkpoint.pt",
    ),
    "export_path": text(),
    "source_model_path": optional(text()),
    "discriminator_path": optional(text()),
    "features_path": optional(text()),
    "factory_path": text(),
    "source_dir": FOLDERS,
    "twin_dir": optional(FOLDERS),
    "perceptual_network": optional(text()),
    # networks
    "channels": WIDTHS,
    "discriminator_channels": WIDTHS,
    "segmenter_channels": U_NET_WIDTHS,
    "encoder_channels": U_NET_WIDTHS,
    "translator_channels": U_NET_WIDTHS,
    "style_channels": WIDTHS,
    "anatomy_channels": whole(1, 1024),
    "discriminator_width": whole(1, 4096),
    "frozen_features": flag(),
    "z_dim": whole(1, 4096),
    "w_dim": whole(1, 4096),
    "mapping_layers": whole(1, 64),
    "mapping_lr": number(0, 1, above=True),
    "style_hidden": whole(1, 2**16),
    "style_dim": whole(1, 4096),
    "domain_dim": whole(1, 4096),
    "decoder_channels": whole(1, 2048),
    "decoder_hidden": whole(1, 2**16),
    "anatomy_activation": choice("softmax", "none"),
    "encoder_widths": several(whole(1, 2048), 4, 4),
    "encoder_blocks": several(whole(1, 64), 4, 4),
    "classifier_width": whole(1, 2048),
    "classifier_hidden": whole(1, 2048),
    "injection_resolutions": several(whole(1, 4096), 0, 12),
    "progressive": flag(),
    "batch_statistics": flag(),
    "paths": choice("both", "intra", "inter"),
    # how long, how fast
    "batch_size": BATCH,
    "epoch_length": UPDATES,
    "max_epochs": UPDATES,
    "phases": such(several(whole(0, 10**6), 3, 3), "not all 0", lambda value: sum(value) > 0),
    "learning_rate": RATE,
    "generator_lr": RATE,
    "discriminator_lr": RATE,
    "noise_rate": SHARE,
    "condition_rate": number(0, 1000),
    "final_lr": SHARE,
    "translator_lr": RATE,
    "weight_decay": number(0, 10),
    "plateau_factor": such(number(0, 1, above=True), "below 1", lambda value: value < 1),
    "plateau_patience": whole(0, 10**6),
    "clip_value": optional(number(0, 1e6, above=True)),
    "ramp_updates": whole(0, 10**6),
    "warm_up_epochs": whole(0, 10**6),
    "teacher_epochs": several(UPDATES, 0, 1000),
    "val_interval": whole(0, 10**6),
    "checkpoint_every": UPDATES,
    "picture_every": whole(0, 10**6),
    "growth": table(whole(2, 4096), whole(0, 10**6), 12),
    "fade": whole(0, 10**6),
    # losses
    "r1_gamma": WEIGHT,
    "r1_every": UPDATES,
    "ada_target": optional(SHARE),
    "ada_images": whole(1, 10**9),
    "ada_transforms": several(text(r"[a-z]{1,20}"), 0, 20),
    "path_length_weight": WEIGHT,
    "semantic_weight": WEIGHT,
    "semantic_share": SHARE,
    "semantic_condition": whole(0, 2**16),
    "common_rows": whole(0, 23),
    "pose_shift": SHARE,
    "encoded_share": SHARE,
    "rehearsal_weight": WEIGHT,
    "rehearsal_batch": BATCH,
    "rehearsed": optional(several(NAME, 1, 1000)),
    "path_length_every": UPDATES,
    "style_mixing": SHARE,
    "ema_decay": SHARE,
    "average": SHARE,
    "consistency_weight": WEIGHT,
    "twin_weight": WEIGHT,
    "image_weight": WEIGHT,
    "mask_weight": WEIGHT,
    "adversarial_weight": WEIGHT,
    "perceptual_weight": WEIGHT,
    "reconstruction_weight": WEIGHT,
    "regression_weight": WEIGHT,
    "prior_weight": WEIGHT,
    "domain_weight": WEIGHT,
    "rank_weight": WEIGHT,
    "segmentation_weight": WEIGHT,
    "focal_gamma": number(0, 100),
    "meta_learning": flag(),
    "inner_rate": number(0, 10),
    "second_order": flag(),
    "adapted": several(text(".{0,200}"), 0, 100),
    "shared_modules": several(text(".{0,200}"), 1, 100),
    "unlabelled_updates": flag(),
    # slices
    "own_share": SHARE,
    "own_labels": flag(),
    "self_training_rounds": whole(1, 100),
    "self_training_looks": choice("none", "mild", "strong"),
    "self_training_convolution": SHARE,
    "pseudo_confidence": SHARE,
    "teacher_paths": optional(several(text(), 0, 100)),
    "poses": flag(),
    "candidates": table(NAME, text(), 100),
    "shapes_paths": several(text(), 0, 1000),
    "margin": optional(number(0, 100)),
    "partner": optional(number(0, 1)),
    "most_slices": whole(1, 10**6),
    "pseudo_agreement": flag(),
    "twin_disagreement": SHARE,
    "class_weights": choice("none", "balanced"),
    "rare_per_batch": whole(0, 4096),
    "labelled_per_batch": optional(whole(0, 4096)),
    "quantiles_path": text(),
    "nodes": whole(2, 10**6),
    "source_slices": BATCH,
    "target_slices": BATCH,
    "labelled_target_slices": optional(whole(0, 4096)),
    "label_fraction": number(0, 1, above=True),
    "label_seed": whole(0, 2**32 - 1),
    "looks": choice("none", "mild", "strong"),
    "geometric_augmentation": flag(),
    "remap_probability": SHARE,
    "convolution_probability": SHARE,
    "keep_contrast": SHARE,
    "min_foreground": SHARE,
    "slices_per_volume": optional(whole(1, 10**5)),
    "cache": choice("memory", "disk", "none"),
    # drawing
    "domain": NAME,
    "source_domain": NAME,
    "target_domain": NAME,
    "labels_from": choice("model", "factory"),
    "twin_domains": optional(several(NAME, 0, 1000)),
    "volumes": whole(1, 10**5),
    "validation": whole(0, 10**5),
    "slices": whole(1, 4096),
    "thickness": number(0.01, 1000, unit="mm"),
    "drawn": whole(2, 10**6),
    "stacks": whole(1, 10**4),
    "directions": whole(1, 100),
    "strengths": several(number(-100, 100), 1, 25),
    "height": SHARE,
    # projecting
    "image_domain": optional(NAME),
    "to_domain": optional(NAME),
    "updates": UPDATES,
    "projection_rate": RATE,
    "ssim_weight": WEIGHT,
    "one_latent": flag(),
    "first": whole(0, 2**31),
    "noise": flag(),
    "truncation": number(0, 2),
    "direction": optional(whole(0, 4095)),
    "strength": number(-100, 100),
    "direction_rows": optional(
        such(several(whole(0, 100), 2, 2), "[first, last]", lambda value: value[0] <= value[1])
    ),
    # segmenting
    "split": choice("training", "validation", "test", "all"),
    "labelled": optional(flag()),
    "slice_batch": BATCH,
    "window": such(several(whole(-1, 4096), 2, 2), "-1 for all of it or 16 and more", _is_window),
    "overlap": such(number(0, 1), "below 1", lambda value: value < 1),
    "air_margin": optional(number(0, 1)),
    "multiple": whole(1, 4096),
    "downsampling": whole(1, 4096),
    "flips": such(several(whole(0, 1), 0, 2), "no two alike", lambda value: len(set(value)) == len(value)),
    "largest_component": either(
        flag(), several(either(whole(0, 255), several(whole(0, 255), 1, 255)), 0, 255)
    ),
    "probabilities": flag(),
    "scores_path": text(),
    # habits
    "device": Rule("cpu, or cuda or cuda:N where there is one", _is_device),
    "resume": flag(),
    "quiet": flag(),
    "amp": flag(),
    "channels_last": flag(),
    "compiled": optional(text(r"[a-z_]{1,40}", "a backend of torch.compile, such as inductor")),
    "progress": flag(),
}


def check_values(config: Mapping[str, Any]) -> None:
    """Check the values of a merged config, expressions and references resolved.

    Raises:
        InputError: every hyper-parameter that is not what it may be, named with its value and what is allowed.
    """
    faults = value_faults(config)
    if faults:
        raise InputError("; ".join(faults))


def value_faults(config: Mapping[str, Any]) -> list[str]:
    """A line for each hyper-parameter of a merged config that is not what it may be.

    What is wrong because it follows from a wrong value is left out. The config's expressions run, on a copy of it.
    """
    parser = ConfigParser(copy.deepcopy(dict(config)))
    faults = {id: fault for id in RULES if id in config for fault in _faults(parser, id)}
    if {"labels", "largest_component"} <= config.keys() - faults.keys():
        faults |= _strange_labels(parser)
    first = [fault for id, fault in faults.items() if not references(config[id]) & set(faults)]
    return first or list(faults.values())  # in a circle each follows from another


def _faults(parser: ConfigParser, id: str) -> Iterator[str]:
    try:
        value = parser.get_parsed_content(id)
    except UNBUILDABLE as error:
        yield f"{id}: {shown(parser[id])} cannot be resolved ({cause(error)}); expected {RULES[id].allowed}"
        return
    fault = RULES[id].fault(id, value)
    if fault is not None:
        yield fault


def _strange_labels(parser: ConfigParser) -> dict[str, str]:
    """A fault where the largest part of a label is to be kept that no class has."""
    labels, wanted = (parser.get_parsed_content(id) for id in ("labels", "largest_component"))
    known = sorted({int(value) for value in labels} - {0})
    named = np.hstack(wanted) if isinstance(wanted, list) and wanted else ()
    strange = [int(value) for value in named if value not in known]
    if not strange:
        return {}
    return {"largest_component": f"largest_component: expected labels of {known}, found {strange[0]}"}


def has_our_values(config: Mapping[str, Any]) -> bool:
    """Whether the ids of a config mean what :data:`RULES` says: it checks its own command line by them."""
    return "check_command_line" in str(config.get("initialize"))
