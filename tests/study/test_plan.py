from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from shared_components.errors import InputError
from shared_components.federation.federation_file import federation_from
from shared_components.federation.local import LocalEngine
from shared_components.federation.privacy import spent
from shared_components.study.client_stages import study_stages
from shared_components.study.plan import check_settings, duration, plan
from shared_components.study.rehearsal import blank_root
from shared_components.study.roles import plan_study
from shared_components.study.section_check import CONFIGS
from shared_components.study.settings import SECTIONS
from shared_components.study.stage import SECTION_OF
from tests.federation.tiny import federation

BUNDLES = Path(__file__).parents[2] / "bundles"
LABELS = {0: "background", 1: "brain"}
SMOKE = {  # the factory's smoke.yaml
    "image_size": 32,
    "channels": [8, 8, 8, 8],
    "discriminator_channels": [8, 8, 8, 8],
    "z_dim": 16,
    "w_dim": 16,
    "growth": {},
}


@pytest.fixture
def factory(tmp_path):
    """A federation file's content: a labelled client and an unlabelled one, whose images are empty files."""
    north = blank_root(tmp_path / "north", "north", LABELS)
    south = blank_root(tmp_path / "south", "south", LABELS, labelled=False)
    return {
        "name": "two",
        "bundle": str(BUNDLES / "factory"),
        "domains": ["north", "south"],
        "labels": LABELS,
        "clients": {
            "north": {"data_root": north, "domain": "north"},
            "south": {"data_root": south, "domain": "south"},
        },
        "rounds": 5,
        "updates_per_round": 6,
        "overrides": SMOKE,
        "output_dir": str(tmp_path / "out"),
        "study": {"train": {"phases": [0, 4, 6]}},
    }


def read(values, **changes):
    return federation_from({**values, **changes}, source=Path("f.yaml"))


def test_a_study_is_told_stage_by_stage_and_nothing_is_written(factory, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    text = plan(read(factory))
    assert sorted(tmp_path.rglob("*")) == before
    lines = text[text.index("what it will do") :].splitlines()
    assert lines[0] == "what it will do, and very roughly how long on this machine:"
    steps = {line.split()[0]: line for line in lines[1:] if "/" in line or "  factory" in line}
    taught = ["south/self_trained_near", "south/self_trained_all", "south/self_trained"]
    sources = ["north/source_only", "north/source_mild", "north/source_model"]
    assert list(steps) == ["factory", *sources, "north/synthetic", "south/adaptation", *taught]
    assert "  and at each other client the choice of its model, seconds each" in lines
    assert "  and at each labelled client the shapes of its labels, in numbers, seconds each" in lines
    assert "5 rounds of 6 updates at each client, 30 updates, about " in steps["factory"]
    assert "trains, 800 updates, about " in steps["north/source_model"]
    assert "trains, 10 updates" not in steps["south/adaptation"]  # epochs are whole: 50
    assert "trains, 50 updates, about " in steps["south/adaptation"]
    assert "all training together about" in lines[-1]


def test_the_model_for_anyone_is_rehearsed_on_volumes_that_are_still_to_be_drawn(factory, tmp_path):
    unseen = blank_root(tmp_path / "D", "D", LABELS)
    description = Path(unseen) / "dataset.json"
    content = json.loads(description.read_text())
    description.write_text(json.dumps({**content, "test": content["validation"], "validation": []}))
    study = {"generalisation": {}, "unseen": {"D": unseen}, "inference": {"slice_batch": 2}, "choose": False}
    lines = plan(read(factory, study=study)).splitlines()
    assert any(line.split()[:4] == ["all/generalisation", "trains,", "1000", "updates,"] for line in lines)
    assert "  and 4 stages that segment test volumes" in lines
    assert "  and at each client the audit of the factory on its own images, seconds each" in lines
    study["generalisation"] = {"teacher_epochs": [0]}
    with pytest.raises(InputError, match=r"study: generalisation: teacher_epochs: .* found \[0\]"):
        plan(read(factory, study=study))
    study |= {"generalisation": {}, "inference": {"window": [0, 0]}}
    with pytest.raises(InputError, match=r"study: source_model_predictions, .*: window: .* found \[0, 0\]"):
        plan(read(factory, study=study))


def test_federated_training_alone(values, factory):
    lines = plan(federation(values)).splitlines()  # a bundle of another kind is not timed
    assert lines[-2].endswith("tiny_bundle  3 rounds of 3 updates at each client, 9 updates")
    assert "no time for all" in lines[-1]
    assert "source_model" not in plan(read(factory), study=False)
    lines = plan(federation(values, clients_per_round=1)).splitlines()
    assert f"3 rounds of 3 updates at 1 client of {len(values['clients'])}, 9 updates" in lines[-2]
    lines = plan(federation(values, rounds=1, updates_per_round=1)).splitlines()
    assert lines[-2].endswith("1 round of 1 update at each client, 1 update")


def test_what_is_exchanged_is_told_first(factory, values):
    lines = plan(read(factory, exchange={"down": "float32"})).splitlines()
    assert lines[0] == "what each client and the coordinator exchange in a round:"
    rows = {line.split()[0]: line.split()[1:] for line in lines[2:5]}
    assert list(rows) == ["generator", "generator_ema", "all"]
    tensors, numbers = (int(rows["all"][column].replace(",", "")) for column in (0, 1))
    assert tensors == 2 * int(rows["generator"][0]) and numbers > 10_000
    assert rows["all"][4] == "float16+bool+int64" and rows["all"][7] == "float32+bool+int64"
    assert "stays at the client: discriminator, optimisers" in lines[7]
    assert (
        "(source model, synthetic volumes, shapes of labels, scores) gets no clipping and no noise"
        in lines[9]
    )
    assert lines[10].startswith("what it will do")
    tiny = plan(federation(values)).splitlines()  # its network is built, its data are not read
    assert [line.split()[0] for line in tiny[2:5]] == ["model.0", "model.1", "all"]
    assert "stays at the client: model.2, optimisers" in tiny[7]


def test_what_had_left_before_counts_in_the_epsilon_that_is_told(values, tmp_path):
    noisy = {
        "privacy": {"clip": 1, "noise": 8},
        "aggregator": {"_target_": "shared_components.federation.FedBN"},
    }
    anew = [line for line in plan(federation(values, **noisy)).splitlines() if "epsilon" in line]
    begun = LocalEngine(federation(values, **noisy, rounds=1), quiet=True).run()
    going_on = federation(values, **noisy, start=str(begun), output_dir=str(tmp_path / "later"))
    told = [line for line in plan(going_on).splitlines() if "epsilon" in line]
    more = f"  with what had left before, where this goes on from, up to epsilon {spent(8, 4, 1e-5):.3g} at the end"
    assert told == [*anew, more]


def test_what_does_not_go_together_with_the_network_is_told(factory, values):
    with pytest.raises(
        InputError, match=r"^tiny: 1 problem in the settings\nprivacy: noise can make the running"
    ):
        plan(federation(values, privacy={"clip": 1, "noise": 1}))
    with pytest.raises(
        InputError, match=r"^aggregator: FedBN keeps the tensors of normalisation layers, of which"
    ):
        plan(read(factory, aggregator={"_target_": "shared_components.federation.FedBN"}))
    with pytest.raises(
        InputError, match=r"federation::export writes 'generator_ema\.\S+', which federation::shared"
    ):
        plan(read(factory, overrides={"federation::shared": ["generator"]}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"overrides": {**SMOKE, "batch_size": 0}},
            "two: 1 problem in the settings\noverrides: batch_size: expected",
        ),
        (
            {"overrides": {**SMOKE, "image_size": 36}},
            "overrides: image_size: 36 does not fit: .* 4 channels",
        ),
        ({"overrides": {**SMOKE, "network": "@nope"}}, "overrides: network: '@nope' does not fit: .*`@nope`"),
        (
            {"study": {"train": {"phases": [0, 0, 0]}}},
            r"study: adaptation: phases: .*not all 0, found \[0, 0, 0\]",
        ),
        (
            {"study": {"pretrain": {"learning_rate": "1e-3"}}},
            "study: source_model: learning_rate: .* a text, write",
        ),
        ({"study": {"inference": {"window": [0, 0]}}}, None),  # no test volumes: no stage segments
        (
            {"study": {"synthesize": {"volumes": 0}}},
            "study: synthetic: volumes: expected a whole number from 1",
        ),
        (
            {"study": {"synthesize": {"twin_domains": ["nort"]}}},
            r"'nort' is unknown \(did you mean 'north'\?\)",
        ),
        (
            {"study": {"synthesize": {"twin_domains": "north"}}},
            r"twin_domains must list domains, such as \[\w+\], found 'north'",
        ),
        (
            {"study": {"synthesize": {"twin_domains": []}}},
            r"twin_domains: '\w+' is missing, whose twins client '\w+' adapts with; add it",
        ),
        ({"study": {"overrides": {"segmenter_channels": [4]}}}, "segmenter_channels: .*at least 2 of them"),
        (
            {"study": {"pretrain": {"segmenter_channels": [4, 8, 8, 8]}}},
            r"study: 'segmenter_channels' shapes the segmenter, .* differs: \[4, 8, 8, 8\] in .*source_model.*; set it "
            "under 'study: overrides'",
        ),
        (
            {"study": {"train": {"labelled_per_batch": 99}}},
            "labelled_per_batch: 99 does not fit: .* 0 to batch_size",
        ),
        (
            {"study": {"train": {"ckpt_path": "x"}}},
            "study: train: 'ckpt_path' follows from the study; leave it out",
        ),
        ({"study": {"adaptation": ["x"]}}, r"study: 'adaptation' must be a text, found \['x'\]"),
        ({"study": {"source": {}}}, "study: 'source' must be a text, found {}"),
        ({"study": {"jobs": 10**9}}, "study: 'jobs' must be a whole number from 1 to 256, found 1000000000"),
    ],
)
def test_what_would_fail_in_the_run_is_told_before_it(factory, changes, message):
    if message is None:
        assert "all training together" in plan(read(factory, **changes))
        return
    with pytest.raises(InputError, match=message) as caught:
        plan(read(factory, **changes))
    assert len(str(caught.value).splitlines()) <= 2


def test_without_labels_a_training_is_planned_and_what_a_study_lacks_is_told(factory):
    alone = {"clients": {"south": factory["clients"]["south"]}, "study": {}}
    lines = plan(read(factory, **alone)).splitlines()
    assert sum("rounds of 6 updates" in line for line in lines) == 1
    assert lines[-1].startswith(
        "it can be run; for a study: two: expected at least one client with labels of training images, found none"
    )


def test_settings_alone_are_checked_without_building(factory):
    given = read(factory, overrides={**SMOKE, "batch_size": 0, "spacing": 0})
    with pytest.raises(
        InputError, match=r"2 problems in the settings\noverrides: spacing: .*\noverrides: batch_size"
    ):
        check_settings(given)
    check_settings(replace(given, overrides=SMOKE))


def test_a_study_is_checked_before_any_data(factory):
    odd = {"adaptation": 4, "source": 3, "sources": "north", "pretrain": {3: 1}, "unseen": [2]}
    for study, told in (
        (
            {"job": 2, "synthesize": 3},
            r"2 problems in the settings\nstudy: key 'job' is unknown.*\nstudy: 'synth",
        ),
        (odd, "5 problems in the settings\nstudy: 'unseen' is for .*\nstudy: 'adaptation' must be a text"),
    ):
        with pytest.raises(InputError, match=told):
            check_settings(read(factory, study=study))


def test_names_and_ids_of_a_study_are_checked_before_any_data(factory, tmp_path):
    study = {
        "source": "nroth",
        "sources": ["north", "suoth"],
        "pretrain": {"max_epoch": 1},
        "synthesize": {"volumes": 2, "twin_domains": ["nord"]},
        "inference": {"flips": True},
        "generalisation": {"max_epochs": 1},
        "unseen": {"west": str(tmp_path / "gone")},
    }
    Path(factory["clients"]["north"]["data_root"], "dataset.json").unlink()
    with pytest.raises(InputError) as caught:
        check_settings(read(factory, study=study))
    head, *lines = str(caught.value).splitlines()
    assert head == "two: 5 problems in the settings"
    assert lines == [
        "study: source: client 'nroth' is unknown (did you mean 'north'?)",
        "study: sources: client 'suoth' is unknown (did you mean 'south'?)",
        "study: synthesize: twin_domains: domain 'nord' is unknown (did you mean 'north'?)",
        "study: pretrain: 'max_epoch' is no id of the bundle's config (did you mean 'max_epochs'?)",
        f"study: unseen 'west': {tmp_path / 'gone'} is not a folder; check the path",
    ]


def test_every_section_of_a_study_takes_what_its_stages_have(factory):
    """What is found without any data is no other than what the stages themselves find."""
    ids = {"pretrain": "max_epochs", "synthesize": "volumes", "train": "phases", "self_training": "phases"}
    values = {"max_epochs": 1, "volumes": 1, "phases": [1, 1, 1]}
    study = {section: {id: values[id]} for section, id in ids.items()}
    check_settings(read(factory, study={**study, "inference": {"flips": True}, "generalisation": {}}))
    assert set(CONFIGS) == {*SECTIONS} - {"overrides"}


def test_what_is_looked_up_early_has_all_that_the_stages_have(factory):
    for stage in study_stages(plan_study(read(factory, study={"generalisation": {}}))):
        section = SECTION_OF.get(stage.name, "inference")
        looked_up = {file for _, *files in CONFIGS.get(section, ()) for file in files}
        assert section not in CONFIGS or {*stage.configs} <= {"common.yaml", *looked_up}, stage.key


def test_times_in_words():
    assert [duration(s) for s in (0.1, 59, 61, 3600, 6000)] == ["1 s", "59 s", "1 min", "60 min", "1.7 h"]
