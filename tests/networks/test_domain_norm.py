"""Domain-specific batch norm."""

from __future__ import annotations

import pytest
import torch

from shared_components.networks.domain_norm import DomainBatchNorm2d, group_by_domain, known_groups


def test_group_by_domain_sorts_mixed_batches():
    groups = group_by_domain(torch.tensor([2, 0, 2]))
    assert [group.domain for group in groups] == [0, 2]
    assert [group.index.tolist() for group in groups] == [[1], [0, 2]]


def test_groups_that_are_known_already_are_taken_as_they_are():
    domain = torch.tensor([2, 0, 2])
    known = known_groups(domain, torch.device("cpu"))
    assert group_by_domain(known) is known.groups and torch.equal(known.domain, domain)
    norm, x = DomainBatchNorm2d(3, domains=3).eval(), torch.randn(3, 3, 5, 5)
    assert torch.equal(norm(x, known.groups), norm(x, group_by_domain(domain)))


@pytest.mark.parametrize("domain", [1, torch.tensor([1, 1, 1])])
def test_a_batch_of_one_domain_is_not_indexed(domain):
    assert group_by_domain(domain) == ((1, None),)


def test_each_domain_is_normalised_by_its_own_statistics():
    norm = DomainBatchNorm2d(3, domains=2)
    domain = torch.tensor([0, 1, 0, 1])
    x = torch.randn(4, 3, 5, 5) + 10 * domain[:, None, None, None]
    out = norm(x, group_by_domain(domain))
    for k in (0, 1):
        own = x[domain == k]
        mean = own.mean(dim=(0, 2, 3), keepdim=True)
        deviation = own.var(dim=(0, 2, 3), unbiased=False, keepdim=True)
        torch.testing.assert_close(out[domain == k], (own - mean) / (deviation + 1e-5).sqrt())


def test_running_statistics_stay_separate():
    norm = DomainBatchNorm2d(2, domains=3)
    norm(torch.randn(4, 2, 4, 4) + 5, group_by_domain(1))
    assert torch.all(norm.norms[1].running_mean > 0.3)
    assert torch.equal(norm.norms[0].running_mean, torch.zeros(2))
    assert torch.equal(norm.norms[2].running_mean, torch.zeros(2))


def test_only_domains_of_the_batch_get_gradient():
    norm = DomainBatchNorm2d(2, domains=3)
    norm(torch.randn(4, 2, 4, 4), group_by_domain(torch.tensor([0, 2, 0, 2]))).square().sum().backward()
    assert [n.weight.grad is not None for n in norm.norms] == [True, False, True]


def test_batch_statistics_at_test_time_leave_the_running_ones_alone():
    norm = DomainBatchNorm2d(2, domains=2, batch_statistics=True).eval()
    before = norm.norms[0].running_mean.clone()
    out = norm(torch.randn(8, 2, 4, 4) * 3 + 7, group_by_domain(0))
    torch.testing.assert_close(out.mean(dim=(0, 2, 3)), torch.zeros(2), atol=1e-5, rtol=0)
    assert torch.equal(norm.norms[0].running_mean, before)


def test_running_statistics_make_a_prediction_independent_of_its_batch():
    norm = DomainBatchNorm2d(2, domains=2).eval()
    x = torch.randn(4, 2, 4, 4)
    torch.testing.assert_close(norm(x, group_by_domain(0))[:1], norm(x[:1], group_by_domain(0)))


def test_copy_domain():
    norm = DomainBatchNorm2d(2, domains=2)
    norm(torch.randn(4, 2, 4, 4) + 5, group_by_domain(0))
    norm.copy_domain(0, 1)
    x = torch.randn(3, 2, 4, 4)
    norm.eval()
    assert torch.equal(norm(x, group_by_domain(0)), norm(x, group_by_domain(1)))


@pytest.mark.parametrize("domain", [2, -1])
def test_unknown_domain(domain):
    with pytest.raises(ValueError, match=r"expected one of 0\.\.1"):
        DomainBatchNorm2d(2, domains=2)(torch.randn(2, 2, 4, 4), group_by_domain(domain))
