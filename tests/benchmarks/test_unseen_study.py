from __future__ import annotations

import pytest

from shared_components.benchmarks.unseen_places import Place, UnseenBench
from shared_components.benchmarks.unseen_stages import unseen_stages
from shared_components.study.client_stages import study_stages
from shared_components.study.generalisation import MODEL
from shared_components.study.roles import plan_study
from shared_components.study.study import EVERYBODY
from tests.federation.tiny import make_root


@pytest.mark.parametrize(
    ("scenario", "size", "settings"),
    [
        ("cardiac", {}, (48, 3.7)),
        ("cardiac", {"smoke": True}, (32, 6.0)),
        ("spine_unseen", {"fast": True}, (64, 0.7)),
        ("spine_unseen", {"smoke": True}, (32, 1.4)),
    ],
)
def test_held_out_domain_takes_no_part_and_the_model_is_scored_where_it_lies(
    tmp_path, scenario, size, settings
):
    bench = UnseenBench(scenario, tmp_path, **size)
    held_out, *others = bench.scenario.domains
    for domain in bench.scenario.domains:
        make_root(bench.data(0) / domain, domain, images=2, seed=0)
    place = Place(bench, 0, held_out, "synthetic")
    training, evaluation = unseen_stages(place)
    study = plan_study(training.federation())
    stages = study_stages(study)
    assert set(study.roots) == set(others) and study.source == others[0] and not study.targets
    assert str(place.data / held_out) not in training.reads and len(training.reads) == 2 + len(others)
    model = study.place(EVERYBODY, MODEL) / "model.pt"
    assert evaluation.overrides["ckpt_path"] == str(model)
    assert (study.agreed["image_size"], study.agreed["spacing"]) == settings
    assert model.parent in [stage.folder for stage in stages]
    lengths = study.section("generalisation")
    assert lengths.get("max_epochs") == {"fast": 7, "smoke": 2}.get(next(iter(size), ""))
