"""The model for scanners that nobody has seen: its training, and the tests that it is put to.

What reaches its training is the synthetic volumes of every domain, drawn by the factory (weights of all clients) and
labelled by the source model (weights of one); no image or label of any client. The test volumes of each client are
segmented at that client, those of an unseen scanner wherever they are.
"""

from __future__ import annotations

from shared_components.study.methods import segmenting, segmenting_together
from shared_components.study.settings import GENERALISATION
from shared_components.study.stage import Stage, make_stage, model_path, synthetic_root
from shared_components.study.study import EVERYBODY, Study

SYNTHETIC_VALIDATION = 6  # subjects drawn for choosing the model; real ones would have to leave their site


def generalisation_stages(study: Study) -> list[Stage]:
    """Training on the synthetic volumes, and every test that the model is put to.

    Beside it, the source client's models segment the unseen scanners' volumes, as they do the other clients'.
    """
    stages = [_training(study)]
    for name in (*study.roots, *study.unseen):
        stages += segmenting(study, name, GENERALISATION, EVERYBODY)
    for name in study.unseen:
        stages += segmenting(study, name, "source_model", study.source)
        stages += segmenting_together(study, name)
        if study.flag("baselines") and study.is_scored(name):
            stages += segmenting(study, name, "source_only", study.source)
    return stages


def synthetic_domains(study: Study) -> list[str]:
    """The domains in whose looks volumes are drawn, in the federation's order."""
    twins = study.section("synthesize").get("twin_domains")
    drawn = study.federation.domains if twins is None else (study.roots[study.source].domains[0], *twins)
    return [domain for domain in study.federation.domains if domain in drawn]


def _training(study: Study) -> Stage:
    domains = synthetic_domains(study)
    chosen = study.section("synthesize").get("validation", SYNTHETIC_VALIDATION)
    own = {
        "dataset_dir": [synthetic_root(study, domain) for domain in domains],
        "domains": domains,
        "held_out": None,
        "ckpt_path": model_path(study, EVERYBODY, GENERALISATION),
        "quiet": True,
        **({} if chosen else {"val_interval": 0}),
        **study.section(GENERALISATION),
    }
    needs = (f"{study.source}/synthetic",)
    return make_stage(
        study, EVERYBODY, GENERALISATION, ("train.yaml",), own, needs, bundle=study.segmentation
    )
