"""What of a study travels in its job, and the plan that each place makes of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared_components.errors import InputError
from shared_components.federation.nvflare.places import Place
from shared_components.study.client_data import ClientData, SiteDescription
from shared_components.study.nvflare.study_job import handed_out, job_parts, place_study, site_stages
from tests.study.test_generalisation import made as made_unseen
from tests.study.test_generalisation import values as unseen_values
from tests.study.test_several_labelled import made
from tests.study.test_several_labelled import values as several_values

__all__ = ["several_values", "unseen_values"]


def described(roots: dict[str, list[str]]) -> dict:
    return {name: SiteDescription.of(ClientData.load(own), "0" * 16).as_dict() for name, own in roots.items()}


def at(federation, place: Place | None = None):
    """The study as a place sees it: of the data of others, their descriptions alone."""
    roots = {name: list(client.data_roots) for name, client in federation.clients.items()}
    for name, root in federation.study.get("unseen", {}).items():
        roots[name] = [root]
    clients = {
        name: client if place and name == place.name else replace(client, data_roots=())
        for name, client in federation.clients.items()
    }
    job = replace(federation, clients=clients, output_dir=f"{federation.output_dir}/factory")
    return place_study(job, job_parts(federation), described(roots), place)


def test_a_model_of_all_images_in_one_place_is_refused(several_values):
    with pytest.raises(
        InputError, match="joint: needs all labelled images in one place; leave it out, or run"
    ):
        job_parts(made(several_values))


def test_every_place_plans_the_same_source_federation(several_values):
    federation = made(several_values, joint=False)
    root = federation.clients["west"].data_roots
    server, west = at(federation), at(federation, Place("west", "/west", root))
    assert server.federates_source and (server.sources, server.source) == (west.sources, west.source)
    assert list(handed_out(server)) == ["factory", "source_model"]
    keys = {stage.key for stage in site_stages(server)}
    assert {stage.key for stage in site_stages(west)} == keys
    assert {"south/adaptation", "west/federated_source_predictions"} <= keys
    assert "north/adaptation_of_south_predictions" not in keys  # that model stays at its site


def test_unseen_scanners_are_sites_whose_data_no_job_names(unseen_values):
    federation = made_unseen(unseen_values)
    root, parts = unseen_values["study"]["unseen"]["D"], job_parts(federation)
    assert parts.guests == ("D",) and parts.settings["unseen"] == {"D": None}
    assert root not in str(parts.values())
    server, own = at(federation), at(federation, Place("D", "/d", (root,)))
    assert not server.is_here("D") and own.is_here("D") and not own.is_here("north")
    keys = {stage.key for stage in site_stages(server) if stage.client == "D"}
    assert "D/generalisation_predictions" in keys
    assert "D/adaptation_of_south_predictions" not in keys
    (stage,) = (s for s in site_stages(own) if s.key == "D/generalisation_predictions")
    assert root in str(stage.overrides["dataset_dir"])


def test_a_site_that_tells_of_other_domains_than_the_federation_file_is_refused_everywhere(several_values):
    federation = made(several_values, joint=False)
    job, parts = replace(federation, output_dir=f"{federation.output_dir}/factory"), job_parts(federation)
    told = described({name: list(client.data_roots) for name, client in federation.clients.items()})
    told["south"] = {**told["south"], "domains": ["t1"]}
    for place in (None, Place("west", "/west", federation.clients["west"].data_roots)):
        with pytest.raises(
            InputError, match="client south: expected data of pet, as the federation file has"
        ):
            place_study(job, parts, told, place)


def test_a_lone_source_whose_site_demands_noise_stops_a_study_at_the_server_before_it_begins(several_values):
    study = {key: value for key, value in several_values["study"].items() if key != "federated_source"}
    federation = made({**several_values, "study": study}, joint=False)
    job, parts = replace(federation, output_dir=f"{federation.output_dir}/factory"), job_parts(federation)
    told = described({name: list(client.data_roots) for name, client in federation.clients.items()})
    told["west"] |= {"noisy": True}
    assert place_study(job, parts, told).federates_source
    counts = {split: {**count, "labelled": 0} for split, count in told["north"]["counts"].items()}
    told["north"] |= {"counts": counts}
    with pytest.raises(InputError, match=r"client west: its site demands noise, .* at one client alone"):
        place_study(job, parts, told)


def test_a_domain_that_is_an_expression_joins_no_stage(several_values):
    study = at(made(several_values, joint=False))
    evil = replace(study.roots["south"], domains=("$open('PWNED', 'w')",))
    with pytest.raises(
        InputError, match=r"stage south/\w+: twin_d\w+: expected a folder or a name, found .*open"
    ):
        site_stages(replace(study, roots={**study.roots, "south": evil}))
