from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from shared_components.errors import InputError
from shared_components.files import load_tensors, save_tensors
from shared_components.networks.discriminator import Discriminator
from shared_components.networks.factory import (
    FactoryNetwork,
    carried_over,
    description_as_set,
    domain_index,
    export_generator,
    factory_description,
    load_generator,
)
from shared_components.networks.generator import Generator
from shared_components.networks.style_layers import rms_normalise
from shared_components.networks.weights import filled


@pytest.fixture
def generator() -> Generator:
    return Generator(24, 2, 4, channels=(8, 8, 6, 4), z_dim=8, w_dim=12, mapping_layers=2, mapping_lr=0.01)


def exported(generator, tmp_path):
    return export_generator(
        generator,
        tmp_path / "factory.pt",
        ["north", "south"],
        {0: "a", 1: "b"},
        4.5,
        "RAS",
        percentiles=(0.5, 99.5),
    )


def test_average_follows_the_generator(generator):
    network = FactoryNetwork(generator, Discriminator(24, 2, 4, (8, 8, 6, 4), width=12))
    before = network.generator_ema.constant.clone()
    assert torch.equal(before, generator.constant)
    with torch.no_grad():
        generator.constant.add_(1.0)
    network.update_average(0.75)
    assert torch.allclose(network.generator_ema.constant, before + 0.25)
    assert not any(p.requires_grad for p in network.generator_ema.parameters())


def test_a_factory_file_rebuilds_the_generator(generator, tmp_path):
    path = exported(generator, tmp_path)
    loaded = load_generator(path)
    condition = torch.randn(2, 8), torch.tensor([0, 1]), torch.tensor([0.2, 0.9])
    assert torch.equal(loaded(*condition, "none"), generator(*condition, "none"))
    assert factory_description(path)["spacing"] == 4.5 and domain_index(path, "south") == 1
    with pytest.raises(InputError, match=r"'east'.*name one of them"):
        domain_index(path, "east")


def test_a_file_says_which_domains_are_single_slices_where_the_training_could_not(generator, tmp_path):
    described = (["a", "b"], {0: "x"}, 4.0, "RAS")
    loaded = load_generator(
        export_generator(generator, tmp_path / "factory.pt", *described, flat_domains=["b"])
    )
    assert [loaded.is_flat(domain) for domain in (0, 1)] == [False, True] and not generator.is_flat(1)
    with pytest.raises(InputError, match="flat_domains: expected some of a, b, found 'c'"):
        export_generator(generator, tmp_path / "factory.pt", *described, flat_domains=["c"])


@pytest.mark.parametrize(
    ("spacing", "stated"), [(None, None), (4, 4.0), ([5, 4.5], [5.0, 4.5]), ((4, 4), 4.0)]
)
def test_a_factory_file_states_one_or_two_pixel_sizes(generator, tmp_path, spacing, stated):
    path = export_generator(generator, tmp_path / "factory.pt", ["a", "b"], {0: "x"}, spacing, "RAS")
    assert factory_description(path)["spacing"] == stated


def test_a_pixel_size_that_is_none_is_refused(generator, tmp_path):
    with pytest.raises(InputError, match="spacing: expected one or two positive numbers"):
        export_generator(generator, tmp_path / "factory.pt", ["a", "b"], {0: "x"}, [4.0, 0.0], "RAS")


def test_a_factory_of_the_values_that_are_set_is_described(generator, tmp_path):
    path = exported(generator, tmp_path)
    assert description_as_set(path, 24, [4.5, 4.5], "RAS", None, [0.5, 99.5]) == factory_description(path)


def test_a_file_of_an_earlier_version_goes_with_any_percentiles(generator, tmp_path):
    path = export_generator(generator, tmp_path / "factory.pt", ["a", "b"], {0: "x"}, 4.5, "RAS")
    assert "percentiles" not in description_as_set(path, 24, 4.5, "RAS", percentiles=[5, 95])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((32, 4.5, "RAS"), r"pt: image_size: expected 24, with which .* found 32; give the factory's"),
        ((24, [4.5, 4], "RAS"), r"pt: spacing: expected 4\.5, with which .* found \[4\.5, 4\.0\]; give"),
        ((24, None, "RAS"), r"pt: spacing: expected 4\.5, with which .* found None; give"),
        ((24, 4.5, None), r"pt: orientation: expected RAS, with which .* found native; give"),
        (
            (24, 4.5, "RAS", None, (0, 99.5)),
            r"pt: percentiles: expected \[0\.5, 99\.5\], .* found \[0\.0, 99",
        ),
        ((24, 6, "LPS"), r"pt: spacing: expected 4\.5, .*; orientation: expected RAS, .* found LPS; give"),
    ],
)
def test_a_factory_of_other_values_is_refused(generator, tmp_path, values, message):
    with pytest.raises(InputError, match=message):
        description_as_set(exported(generator, tmp_path), *values)


def test_files_that_are_no_factory_are_refused(generator, tmp_path):
    with pytest.raises(InputError, match="found none"):
        load_generator(tmp_path / "none.pt")
    save_tensors(tmp_path / "other.pt", {"model": {}})
    with pytest.raises(InputError, match="expected a factory file"):
        load_generator(tmp_path / "other.pt")
    content = load_tensors(exported(generator, tmp_path))
    content["description"]["generator"]["w_dim"] = 16
    save_tensors(tmp_path / "misfit.pt", content)
    with pytest.raises(InputError, match="do not fit the file's own description"):
        load_generator(tmp_path / "misfit.pt")


@pytest.mark.parametrize(
    ("name", "fault"),
    [("w_dim", "do not fit the file's own description"), ("mapping_layers", "no generator can be built")],
)
def test_no_network_is_made_that_a_file_asks_for_and_does_not_hold(generator, tmp_path, name, fault):
    content = load_tensors(exported(generator, tmp_path))
    content["description"]["generator"][name] = 10**9  # w_dim: more bytes than there are
    save_tensors(tmp_path / "misfit.pt", content)
    with pytest.raises(InputError, match=rf"misfit\.pt: .*{fault}"):
        load_generator(tmp_path / "misfit.pt")


@pytest.mark.parametrize("domain", ["../../outside", "/abs", "..", "a\\b", "", 3])
def test_names_of_domains_become_folders(generator, tmp_path, domain):
    content = load_tensors(exported(generator, tmp_path))
    content["description"]["domains"] = ["north", domain]
    save_tensors(tmp_path / "strange.pt", content)
    with pytest.raises(InputError, match=r"strange\.pt: a domain: expected a name"):
        factory_description(tmp_path / "strange.pt")


def test_a_file_of_an_earlier_version_draws_its_bins_at_their_centres(generator, tmp_path):
    content = load_tensors(exported(generator, tmp_path))
    del content["model"]["slices_seen"]
    save_tensors(tmp_path / "earlier.pt", content)
    loaded = load_generator(tmp_path / "earlier.pt")
    assert not loaded.is_flat(0)
    z, domain, bins = torch.randn(4, 8), torch.tensor([0, 1, 0, 1]), torch.arange(4)
    hot = torch.cat([F.one_hot(domain, 2), F.one_hot(bins, 4)], dim=1).float()
    embedded = rms_normalise(loaded.condition.linear(hot))
    w = loaded.mapping_network(torch.cat([rms_normalise(z), embedded], dim=1))
    assert torch.equal(loaded.mapping(z, domain, (bins + 0.5) / 4), w)


def test_the_average_knows_what_the_generator_has_seen(generator):
    network = FactoryNetwork(generator, Discriminator(24, 2, 4, (8, 8, 6, 4), width=12))
    generator.remember(torch.tensor([1, 1]), torch.tensor([torch.nan, torch.nan]))
    assert generator.slices_seen.tolist() == [[0, 0], [1, 0]] and int(generator.updates) == 1
    network.update_average(0.9)
    assert network.generator_ema.is_flat(1) and not network.generator_ema.is_flat(0)


CHANNELS = (8, 8, 6, 4)
Z, DOMAIN, HEIGHT = torch.randn(4, 8), torch.tensor([0, 1, 0, 1]), torch.tensor([0.1, 0.5, 0.9, torch.nan])


def network(domains: int, seed: int, w_dim: int = 12, encoding: int = 0) -> FactoryNetwork:
    torch.manual_seed(seed)
    sizes = {"z_dim": 8, "w_dim": w_dim, "mapping_layers": 2, "mapping_lr": 0.01, "encoding": encoding}
    generator = Generator(24, domains, 4, channels=CHANNELS, **sizes)
    return FactoryNetwork(generator, Discriminator(24, domains, 4, CHANNELS, width=12))


@pytest.fixture
def before() -> FactoryNetwork:
    found = network(2, 0)
    found.generator.remember(DOMAIN, HEIGHT)
    found.update_average(0.9)
    return found


def description(of: FactoryNetwork) -> dict:
    return {"generator": dict(of.generator.arguments), "domains": ["a", "b"]}


def test_domains_that_were_known_are_drawn_and_judged_as_before(before):
    after = network(4, 1)
    filled(after, carried_over(before.state_dict(), {}, network=after), "start")
    with torch.no_grad():
        image = before.generator(Z, DOMAIN, HEIGHT, "none")
        assert torch.allclose(after.generator(Z, DOMAIN, HEIGHT, "none"), image, atol=1e-5)
        logits = [of.discriminator(image, DOMAIN, HEIGHT) for of in (before, after)]
        assert torch.allclose(*logits, atol=1e-5)
    for domain in (0, 1):
        assert after.generator.is_flat(domain) == before.generator.is_flat(domain)
    assert after.generator.slices_seen.tolist() == [[0, 1], [1, 1], [0, 0], [0, 0]]


def test_a_new_domain_begins_as_the_mean_of_the_known_conditions(before):
    after = network(3, 1)
    filled(after, carried_over(before.state_dict(), {}, network=after), "start")
    linear, old = after.generator.condition.linear, before.generator.condition.linear
    columns = linear.weight * linear.scale  # (w, K + P), as they are applied
    assert torch.allclose(columns[:, 2], (old.weight * old.scale)[:, :2].mean(dim=1), atol=1e-6)
    assert torch.allclose(columns[:, 3:], (old.weight * old.scale)[:, 2:], atol=1e-6)


def test_a_factory_file_gives_the_generator_and_its_average_and_no_discriminator(before):
    after = network(3, 1)
    found = carried_over(before.generator_ema.state_dict(), description(before), network=after)
    assert {name.split(".")[0] for name in found} == {"generator", "generator_ema"}
    assert torch.equal(found["generator.constant"], before.generator_ema.constant)
    assert found["generator_ema.condition.linear.weight"].shape == (12, 3 + 4)
    assert int(found["generator.updates"]) == int(before.generator_ema.updates)


def test_of_a_run_that_exchanged_the_generator_alone_it_is_the_average_too(before):
    exchanged = {k: v for k, v in before.state_dict().items() if k.startswith("generator.")}
    found = carried_over(exchanged, {}, network=network(3, 1))
    assert torch.equal(found["generator_ema.constant"], before.generator.constant)
    assert int(found["generator_ema.updates"]) == int(before.generator.updates)
    assert found["generator_ema.condition.linear.weight"].shape == (12, 3 + 4)
    with torch.no_grad():
        before.generator.constant += 1
    found = carried_over(before.state_dict(), {}, network=network(3, 1))
    # it has one of its own
    assert torch.equal(found["generator_ema.constant"], before.generator_ema.constant)


def test_a_file_of_an_earlier_version_knows_no_domain_as_seen(before):
    tensors = {k: v for k, v in before.generator_ema.state_dict().items() if k != "slices_seen"}
    after = network(3, 1)
    found = carried_over(tensors, description(before), network=after)
    assert found["generator.slices_seen"].tolist() == [[0, 0]] * 3


def test_of_as_many_domains_nothing_changes(before):
    found = carried_over(before.state_dict(), {}, network=network(2, 1))
    assert all(torch.equal(found[name], tensor) for name, tensor in before.state_dict().items())
    assert found.keys() == before.state_dict().keys()


def test_what_a_client_kept_alone_is_carried_over_alone(before):
    private = {k: v for k, v in before.state_dict().items() if k.startswith("discriminator.")}
    found = carried_over(private, {}, network=network(3, 1))
    assert found.keys() == private.keys() and found["discriminator.condition.linear.weight"].shape == (12, 7)


def test_another_size_is_named_as_its_id(before):
    other = network(3, 1, w_dim=16)
    message = r"'w_dim': expected 12, as the factory that it goes on from has it, found 16; set w_dim in 'overrides'"
    with pytest.raises(InputError, match=message):
        carried_over(before.generator_ema.state_dict(), description(before), network=other)


def test_a_newcomers_condition_starts_from_its_own_encoding_and_the_others_from_theirs():
    before = network(2, 0, encoding=3)
    before.generator.condition.encodings.copy_(torch.tensor([[0.6, 0.8, 0.0], [0.0, 0.0, 0.0]]))
    before.update_average(0.9)
    after = network(3, 1, encoding=3)
    filled(after, carried_over(before.state_dict(), {}, network=after), "start")
    condition = after.generator.condition
    assert condition.encodings[:2].tolist() == before.generator.condition.encodings.tolist()
    assert condition.encodings[2].tolist() == [0, 0, 0]
    with torch.no_grad():
        images = [of.generator_ema(Z, DOMAIN, HEIGHT, "none") for of in (before, after)]
        assert torch.allclose(*images, atol=1e-5)
        condition.encodings[2] = condition.encodings[0]  # a hospital like the first
        new, first = (condition(torch.tensor([k]), HEIGHT[1:2])[0] for k in (2, 0))
        own = [condition.learnt(torch.tensor([k]), HEIGHT[1:2])[0] for k in (2, 0)]
        assert torch.allclose(new - first, 0.2 * (own[0] - own[1]), atol=1e-6)


def test_a_factory_without_encodings_does_not_go_on_with_them(before):
    message = r"'semantic_condition': expected 0, .* found 3; set semantic_condition in 'overrides'"
    for known in (description(before), {"generator": {"size": 24}}):  # as files of earlier versions have it
        with pytest.raises(InputError, match=message):
            carried_over(before.generator_ema.state_dict(), known, network=network(3, 1, encoding=3))
