"""The forms of the meta-learning update that are timed are one and the same gradient, at published widths."""

from __future__ import annotations

import re

import pytest

from shared_components.benchmarks.component_speed import FORMS, SUBSET, _Update, meta_step
from shared_components.engines.meta_step import adapted_parameters
from shared_components.errors import InputError


@pytest.fixture(scope="module")
def update() -> _Update:
    return _Update(size=32, batch=2)


def test_the_published_subset_is_just_these_parameters(update):
    convolutions = [f"features.{n}.conv" for n in range(4)]
    style = [f"style_encoder.{name}" for name in (*convolutions, "dense", "style_head", "domain_head")]
    decoder = [
        f"decoder.{name}" for name in ("third", "to_image", "to_affine.0", "to_affine.2", "to_affine.4")
    ]
    layers = ["anatomy_encoder.final_conv", *style, "domain_classifier", *decoder]
    expected = {f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}
    expected |= {"decoder.first.weight", "decoder.second.weight"}  # a norm follows: no bias
    assert set(adapted_parameters(update.network, SUBSET)) == expected
    whole = {name for name, p in update.network.named_parameters() if p.requires_grad}
    assert set(adapted_parameters(update.network, ("",))) == whole
    assert not any(name.startswith("averaged_encoder") for name in whole)


def test_both_forms_of_the_subset_agree(update):
    assert update.difference(FORMS[0], FORMS[1]) < 1e-5
    assert update.difference(FORMS[1], FORMS[2]) > 1e-5  # what moves makes a difference
    assert update.difference(FORMS[2], FORMS[3]) > 1e-6  # and so does the second order


def test_it_prints_a_row_for_each_form(capsys):
    meta_step(size=32, batch=1, repeats=1, threads=1, memory=False)
    printed = capsys.readouterr().out
    rows = re.findall(r"^\| (.+?) \| ([\d.]+) \| ([\d.]+) \| nan \|$", printed, re.MULTILINE)
    assert [row[0] for row in rows] == list(FORMS)
    assert rows[0][2] == "1.00"
    assert "14.2 M parameters, 32 px" in printed


@pytest.mark.parametrize(("option", "least"), [("size", 16), ("batch", 1), ("repeats", 1), ("threads", 1)])
def test_numbers_that_are_too_small_are_told(option, least):
    with pytest.raises(InputError, match=f"{option}: expected a whole number from {least} up, found 0"):
        meta_step(**{option: 0})
