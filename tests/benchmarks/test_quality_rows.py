from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from shared_components.benchmarks.quality_bench import Bench
from shared_components.benchmarks.quality_rows import ROWS, row_stages, row_tables
from shared_components.benchmarks.quality_scenarios import SCENARIOS
from shared_components.benchmarks.runs import FederationStage
from shared_components.data.spinal_cord import make_spinal_cord
from shared_components.federation.federation_file import federation_from
from shared_components.study.roles import plan_study
from shared_components.study.source_model import source_weights
from shared_components.study.stage import Stage


def bench(folder: Path, labelled: tuple[str, ...]) -> Bench:
    make_spinal_cord(folder / "data", labelled, few=3)
    scenario = SCENARIOS["spine"]
    values = scenario.values(folder / "data", seed=0)
    own = {"bundle": str(Path("bundles/factory").resolve()), "output_dir": str(folder / "study")}
    return Bench(
        plan_study(federation_from({**values, **own}, folder / "file.yaml")), scenario, folder / "data"
    )


@pytest.fixture(scope="module")
def one(tmp_path_factory) -> Bench:
    return bench(tmp_path_factory.mktemp("one"), ("ceitec",))


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Bench:
    return bench(tmp_path_factory.mktemp("two"), ("ceitec", "ucl"))


def trainings(stages: list[Stage]) -> dict[str, Stage]:
    return {stage.key: stage for stage in stages if not stage.name.endswith("_predictions")}


def test_rows_are_stages_of_the_study_in_a_folder_that_it_does_not_read(one):
    stages = row_stages(one, list(ROWS))
    keys = [*one.study_stages, *(stage.key for stage in stages)]
    assert max(Counter(keys).values()) == 1
    assert all(set(stage.needs) <= set(keys) for stage in stages)
    assert {stage.folder.relative_to(one.study.folder).parts[0] for stage in stages} == {"rows"}


def test_every_row_has_as_many_updates_of_the_segmenter(one):
    """As many as the source model and the adaptation have together."""
    made = trainings(row_stages(one, list(ROWS)))
    epoch, source, rest = one.lengths.epoch, one.lengths.source, one.lengths.adaptation
    study = one.study.settings
    assert source == 50 * study["pretrain"]["max_epochs"] and rest == sum(study["train"]["phases"][1:]) > 0
    whole = (source + rest) // epoch
    assert made["milan/supervised-1"].overrides["max_epochs"] == whole
    assert made["ceitec/histogram_ucl"].overrides["max_epochs"] == whole
    for key, looks, convolution in SOURCES:
        overrides = made[f"ceitec/{key}"].overrides
        values = [overrides[name] for name in ("max_epochs", "looks", "convolution_probability")]
        assert values == [whole, looks, convolution]
    assert made["ucl/few"].overrides["max_epochs"] == rest // epoch  # after the plain source model's
    assert "ceitec/source_only" in made["ucl/few"].needs
    assert sum(made["ucl/few_adaptation"].overrides["phases"][1:]) == rest
    assert [sum(made[f"ucl/{key}"].overrides["phases"][1:]) for key in TRANSLATIONS] == [rest, rest]
    assert made["ceitec/published_source"].overrides["max_epochs"] == source // epoch
    assert made["ucl/published"].overrides["max_epochs"] == rest // epoch
    together = made["all/pseudo"]
    assert isinstance(together, FederationStage)
    assert (together.overrides["rounds"], together.overrides["updates_per_round"]) == (whole, epoch)


SOURCES = (("plain", "none", 0), ("mild", "mild", 0), ("strong", "strong", 0), ("convolutions", "none", 0.5))
TRANSLATIONS = ("translation", "translation_self_trained")


def test_plain_rows_vary_no_intensities(one):
    made = trainings(row_stages(one, ["histogram", "few", "supervised", "pseudo"]))
    for key in ("ceitec/histogram_ucl", "ucl/few", "milan/supervised-2"):
        assert made[key].overrides["looks"] == "none"
    assert made["all/pseudo"].overrides["overrides"]["looks"] == "none"


def test_who_reads_what(one):
    stages = {stage.key: stage for stage in row_stages(one, list(ROWS))}
    data = one.data
    assert stages["ucl/few"].overrides["dataset_dir"] == str(data / "ucl_few")
    assert stages["ucl/few_predictions"].overrides["dataset_dir"] == str(data / "ucl")
    assert stages["milan/supervised-1"].overrides["dataset_dir"] == str(data / "milan_session1")
    assert "ucl/supervised-1" not in stages  # its only labels are its test's
    assert stages["ceitec/histogram_ucl"].overrides["dataset_dir"] == str(data / "ceitec")
    assert stages["ucl/quantiles_ucl"].overrides["dataset_dir"] == str(data / "ucl")
    assert stages["ucl/translation"].overrides["source_dir"] == str(data / "ceitec")
    clients = stages["all/pseudo"].overrides["clients"]
    assert clients["ceitec"]["data_root"] == [str(data / "ceitec")] or clients["ceitec"]["data_root"] == str(
        data / "ceitec"
    )
    assert str(clients["ucl"]["data_root"]) == str(stages["ucl/pseudo_root"].folder)


def test_published_row_injects_content_at_twice_the_lowest_resolution(one):
    made = trainings(row_stages(one, ["published"]))
    assert made["ucl/published"].overrides["injection_resolutions"] == [8]  # 64 px, five resolutions: 4, 8, …


def test_labelled_clients_train_together_where_there_are_several(one, two):
    assert not row_stages(one, ["fedavg", "fedprox", "fedbn"]) and not row_stages(two, ["plain", "strong"])
    stages = {stage.key: stage for stage in row_stages(two, ["fedavg", "fedprox", "fedbn"])}
    assert set(stages["all/fedprox"].overrides["clients"]) == {"ceitec", "ucl"}
    assert stages["all/fedbn"].overrides["overrides"]["network_def::norm"] == "batch"
    segmenting = stages["milan/fedbn_predictions"].overrides
    assert segmenting["network_def::norm"] == "batch"
    folder = two.study.folder / "rows" / "all"
    assert segmenting["ckpt_path"] == str(folder / "fedbn" / "run" / "clients" / "ceitec" / "adaptation.pt")
    assert stages["milan/fedavg_predictions"].overrides["ckpt_path"] == str(
        folder / "fedavg" / "run" / "adaptation.pt"
    )


def test_few_labels_train_on_the_model_that_several_have_trained(two):
    few = trainings(row_stages(two, ["few"]))["milan/few"]
    model = few.overrides["source_model_path"]
    assert model == source_weights(two.study, "source_only").path and model in few.reads


def test_tables_of_a_row_in_parts_are_found(tmp_path):
    names = ("supervised-1", "supervised-2", "few", "few_adaptation", "histogram", "plain")
    for name in names:
        (tmp_path / f"{name}_predictions").mkdir()
    found = Counter(key for key, _ in row_tables(tmp_path))
    assert found == {"supervised": 2, "few": 1, "few_adaptation": 1, "histogram": 1, "plain": 1}
