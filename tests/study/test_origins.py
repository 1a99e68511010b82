"""What is in a study's models is told, that of an earlier training included."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from shared_components.federation.start import read_start
from shared_components.files import save_tensors
from shared_components.study.client_data import SiteDescription
from shared_components.study.origins import origins
from shared_components.study.roles import plan_study
from shared_components.study.source_model import source_federation
from tests.study.test_several_labelled import made
from tests.study.test_several_labelled import values as several_values

__all__ = ["several_values"]


def test_a_factory_that_goes_on_is_told_and_the_source_model_begins_anew(several_values, tmp_path):
    file = save_tensors(tmp_path / "earlier.pt", {"model": {"generator.constant": torch.zeros(1)}})
    values = {**several_values, "output_dir": str(tmp_path / "out")}
    study = plan_study(made({**values, "start": str(file)}, joint=False))
    (line,) = [line for line in origins(study) if "goes on from" in line]
    assert line.startswith("It goes on from earlier.pt, trained before")
    carried = save_tensors(tmp_path / "start.pt", read_start(file, "factory").content([]))  # as a job has it
    federation = replace(study.factory_federation, start=str(carried))
    job = replace(study, federation=federation)
    assert line in origins(job)
    assert study.factory_federation.start == str(file) and source_federation(study).start is None
    assert not any("goes on from" in line for line in origins(plan_study(made(values, joint=False))))


def test_label_maps_that_teach_the_factory_are_told(several_values, tmp_path):
    values = {**several_values, "output_dir": str(tmp_path / "out")}
    plain = " ".join(origins(plan_study(made(values, joint=False))))
    assert "it reads no label" in plain and "labelled by the factory itself" not in plain
    study = plan_study(
        made(
            {**values, "overrides": {**values.get("overrides", {}), "label_domains": ["t1"]}},
            joint=False,
            synthesize={"labels_from": "factory"},
        )
    )
    told = " ".join(origins(study))
    assert "it reads no label" not in told and "labelled by the factory itself" in told
    assert "the label maps of north taught it to draw some" in told


def test_label_maps_of_clients_that_are_no_sources_are_told_too(several_values, tmp_path):
    overrides = {**several_values.get("overrides", {}), "label_domains": ["t2", "pet"]}
    values = {**several_values, "output_dir": str(tmp_path / "out"), "overrides": overrides}
    federation = made(values, without=("federated_source",), joint=False, sources=["north"])
    here = plan_study(federation)
    described = {name: SiteDescription.of(here.roots[name], "0" * 16) for name in ("south", "west")}
    for study in (here, plan_study(federation, described)):
        assert "the label maps of south and west taught it to draw some" in origins(study)[0]


@pytest.mark.parametrize(("classes", "told"), [(2, True), (0, False)])
def test_label_maps_in_a_factory_that_goes_on_are_told(several_values, tmp_path, classes, told):
    content = {
        "model": {"generator.constant": torch.zeros(1)},
        "description": {"generator": {"classes": classes}},
    }
    file = save_tensors(tmp_path / "earlier.pt", content)
    study = plan_study(made({**several_values, "start": str(file)}, joint=False))
    assert any("and so is what label maps of earlier clients taught it" in s for s in origins(study)) == told


def test_one_client_is_no_each_of_several(several_values, tmp_path):
    values = {**several_values, "output_dir": str(tmp_path / "out")}
    one = " ".join(origins(plan_study(made(values, joint=False, choose=True))))
    assert "labelled by the federated source model at south, for its own use" in one
    assert "Adaptation: at south, on its own images" in one and "Choice: at south, among 7 models" in one
    two = plan_study(made(values, without=("federated_source",), joint=False, sources=["north"], choose=True))
    assert "Choice: at each of south and west, among 7 models" in " ".join(origins(two))
