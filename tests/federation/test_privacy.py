from __future__ import annotations

import builtins
import math
import random
import time

import numpy as np
import pytest
import torch
from scipy import stats

from shared_components.errors import InputError
from shared_components.federation.aggregators.aggregation import l2_norm
from shared_components.federation.federation_file import read_federation
from shared_components.federation.privacy import Privacy, gaussian, spent
from tests.federation.tiny import federation


def known(seed=0):
    """Entropy that can be had again."""
    return random.Random(seed).randbytes


def update(scale=1.0, count=1000):
    generator = torch.Generator().manual_seed(4)
    return {name: scale * torch.randn(count, generator=generator) for name in ("a", "b")}


def test_an_empty_tensor_gets_no_noise():
    found = Privacy(clip=1.0, noise=2.0).protect({"none": torch.empty(0, 3), "w": torch.ones(2)})
    assert gaussian(0).shape == (0,) and found["none"].shape == (0, 3)


def test_noise_is_standard_normal():
    drawn = gaussian(200_001, known()).numpy()
    assert len(drawn) == 200_001 and drawn.dtype == np.float64
    assert stats.kstest(drawn, "norm").pvalue > 0.01
    # the standard deviation of n normal numbers has that of 1 / sqrt(2 n)
    assert abs(drawn.std() - 1) < 4 / math.sqrt(2 * len(drawn))
    assert abs(drawn.mean()) < 4 / math.sqrt(len(drawn))
    half = len(drawn) // 2  # both come of one pair of uniform numbers
    assert abs(np.corrcoef(drawn[:half], drawn[half : 2 * half])[0, 1]) < 4 / math.sqrt(half)
    assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 4 / math.sqrt(len(drawn))


def test_noise_is_finite_whatever_the_entropy():
    for byte in (b"\x00", b"\xff"):
        drawn = gaussian(5, lambda number, byte=byte: byte * number)
        assert drawn.isfinite().all() and drawn.abs().max() < 9


def test_noise_comes_from_the_operating_system_and_never_again():
    assert torch.equal(gaussian(100, known(1)), gaussian(100, known(1)))
    torch.manual_seed(0)
    random.seed(0)
    first = gaussian(100)
    torch.manual_seed(0)
    random.seed(0)
    assert not torch.equal(first, gaussian(100))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64])
def test_large_updates_are_scaled_to_the_clip_and_small_ones_left_alone(dtype):
    whole = {"w": torch.full((3, 5), 2.0, dtype=dtype), "empty": torch.zeros(0, dtype=dtype)}
    size = l2_norm(whole)
    assert size == pytest.approx(2 * math.sqrt(15))
    clipped = Privacy(clip=0.25).protect(whole)
    assert l2_norm(clipped) == pytest.approx(0.25, rel=1e-7) and clipped["w"].shape == (3, 5)
    assert clipped["w"].dtype == dtype
    assert torch.equal(Privacy(clip=size + 1e-3).protect(whole)["w"], whole["w"])
    nothing = {"w": torch.zeros(3)}
    assert torch.equal(Privacy(clip=1).protect(nothing)["w"], nothing["w"])


def test_the_norm_is_of_all_tensors_together():
    clipped = Privacy(clip=1.0).protect({"a": torch.tensor([3.0]), "b": torch.tensor([[4.0]])})
    assert [float(clipped[name]) for name in "ab"] == pytest.approx([0.6, 0.8])


@pytest.mark.parametrize("scale", [1e-9, 1.0])
def test_noise_has_the_stated_deviation_on_every_coordinate(scale):
    count, privacy = 100_000, Privacy(clip=0.5, noise=3.0)
    given = update(scale, count)
    clipped = Privacy(clip=0.5).protect(given)
    noise = {name: tensor - clipped[name] for name, tensor in privacy.protect(given, known()).items()}
    for tensor in noise.values():
        assert abs(float(tensor.std()) / 1.5 - 1) < 4 / math.sqrt(2 * count)
        assert (tensor != 0).all()
    assert abs(float(torch.corrcoef(torch.stack(list(noise.values())))[0, 1])) < 4 / math.sqrt(count)


def test_updates_that_are_not_finite_are_refused():
    with pytest.raises(InputError, match="privacy: the update holds NaN or infinite values"):
        Privacy(1.0).protect({"w": torch.tensor([math.inf, 0])})


def exact_delta(epsilon, multiplier):
    """Of the Gaussian mechanism of sensitivity 1: Balle and Wang 2018, equation 6, in SciPy."""
    a, b = 1 / (2 * multiplier), epsilon * multiplier
    return stats.norm.cdf(a - b) - math.exp(epsilon) * stats.norm.cdf(-a - b)


@pytest.mark.parametrize(("noise", "updates"), [(0.8, 1), (10.0, 400), (4.0, 12), (50.0, 7)])
def test_epsilon_is_that_of_the_exact_formula_and_below_those_that_are_bounds(noise, updates):
    from dp_accounting import GaussianDpEvent
    from dp_accounting.rdp import RdpAccountant

    epsilon, sensitivity = spent(noise, updates, 1e-5), 2.0
    assert exact_delta(epsilon, noise / (sensitivity * math.sqrt(updates))) == pytest.approx(1e-5, rel=1e-5)
    rho = updates * sensitivity**2 / (2 * noise**2)  # zero-concentrated: Bun and Steinke 2016
    assert epsilon < rho + 2 * math.sqrt(rho * math.log(1e5))
    rdp = RdpAccountant().compose(GaussianDpEvent(noise / sensitivity), updates).get_epsilon(1e-5)
    assert 0.8 * rdp < epsilon <= rdp or epsilon < 0.05


def test_epsilon_is_that_of_composed_privacy_loss_distributions():
    from dp_accounting import GaussianDpEvent
    from dp_accounting.pld import PLDAccountant

    composed = PLDAccountant().compose(GaussianDpEvent(4.0 / 2), 9).get_epsilon(1e-6)
    assert spent(4.0, 9, 1e-6) == pytest.approx(composed, rel=1e-6)


def test_epsilon_grows_with_updates_and_falls_with_noise_and_delta():
    assert spent(1.0, 0, 1e-5) == 0
    by_updates = [spent(2.0, n, 1e-5) for n in (1, 2, 10, 400, 10**6)]
    by_noise = [spent(z, 10, 1e-5) for z in (1e-3, 0.5, 1.0, 5.0, 100.0, 1e6)]
    by_delta = [spent(2.0, 10, delta) for delta in (1e-9, 1e-5, 1e-2)]
    assert by_updates == sorted(by_updates) and len(set(by_updates)) == 5
    for values in (by_noise, by_delta):
        assert values == sorted(values, reverse=True) and all(map(math.isfinite, values))
    assert Privacy(1.0, noise=2.0).spent(10) == by_updates[2] and Privacy(1.0).spent(10) is None


def test_missing_accountant_is_named(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("dp_accounting"):
            raise ModuleNotFoundError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        InputError, match=r'dp-accounting, which is not installed: pip install -e "\.\[privacy\]"'
    ):
        spent(1.234, 5, 1e-5)


def test_a_million_numbers_are_protected_in_no_time():
    given, start = update(count=500_000), time.process_time()
    Privacy(1.0, noise=1.0).protect(given)
    assert time.process_time() - start < 1.0


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        (None, None),
        ({}, None),
        ({"clip": 2}, Privacy(2.0, 0.0, 1e-5, losses=True)),
        ({"clip": 2, "noise": 1}, Privacy(2.0, 1.0, 1e-5, losses=False)),
        ({"clip": 2, "noise": 1, "delta": 1e-6, "losses": True}, Privacy(2.0, 1.0, 1e-6, losses=True)),
    ],
)
def test_section_of_the_federation_file(values, tmp_path, section, expected):
    read = federation(values, privacy=section)
    assert read.privacy == expected
    (tmp_path / "resolved.yaml").write_text(read.as_yaml())
    assert read_federation(tmp_path / "resolved.yaml") == read


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"noise": 0.8}, "privacy: 'clip' is missing; without a bound on an update's norm no noise hides it"),
        ({"clip": 1, "nois": 1}, r"privacy: key 'nois' is unknown \(did you mean 'noise'\?\)"),
        ({"clip": 0}, "privacy: clip: expected a number above 0, up to 1e.09, found 0"),
        ({"clip": -1, "noise": 1}, "privacy: clip: expected a number above 0"),
        (
            {"clip": 1, "noise": -0.1},
            "privacy: noise: expected 0, or a number from 1e-20 to 1e.09, found -0.1",
        ),
        ({"clip": 1, "noise": 1e-160}, "privacy: noise: expected 0, or a number from 1e-20 to"),
        ({"clip": 1, "noise": math.nan}, "privacy: noise: expected 0, or a number from"),
        (
            {"clip": 1, "noise": 1, "delta": 0},
            "privacy: delta: expected a number above 0 and below 1, found 0",
        ),
        (
            {"clip": 1, "noise": 1, "delta": 1},
            "privacy: delta: expected a number above 0 and below 1, found 1",
        ),
        (
            {"clip": 1, "noise": 1, "delta": "1e-5"},
            "privacy: delta: .* found '1e-5'; this is a text, write 1.0e-05 without quotes",
        ),
        ({"clip": 1, "losses": "no"}, "privacy: losses: expected true or false, or null, found 'no'"),
        ({"clip": True}, "privacy: clip: expected a number above 0"),
        (0.8, "'privacy' must hold 'key: value' lines, found 0.8"),
    ],
)
def test_contradictions_are_refused(values, section, message):
    with pytest.raises(InputError, match=message) as caught:
        federation(values, privacy=section)
    assert len(str(caught.value).splitlines()) == 1
