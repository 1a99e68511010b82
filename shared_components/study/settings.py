"""What may stand in the ``study`` section of a federation file, and the names that it uses.

Names of the models that a client without labels chooses among, from the one nearest to the labelled images on, are
those of the stages that make them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shared_components.errors import closest, shown, unknown
from shared_components.federation.faults import place_fault

PLAIN, MILD, SOURCE = "source_only", "source_mild", "source_model"
VARIANTS: dict[str, dict[str, Any]] = {  # of the source model, by how far the looks of its images are varied
    PLAIN: {"looks": "none"},
    MILD: {"looks": "mild"},
    SOURCE: {},  # as the bundle's config and the study's ``pretrain`` say: strongly
}
SELF_TRAINED, ADAPTATION = "self_trained", "adaptation"
TEACHERS = {  # self-trained candidate to the variants of the source model that teach it together
    "self_trained_near": (PLAIN, MILD),
    "self_trained_all": (PLAIN, MILD, SOURCE),
    SELF_TRAINED: (SOURCE,),
}
GENERALISATION = "generalisation"  # the stage that trains the model for scanners that nobody has seen
SHAPES = "shapes"  # the stage that describes a labelled client's labels
PREDICTIONS = "_predictions"  # how the names of stages that segment end
CANDIDATES = (*VARIANTS, *TEACHERS, ADAPTATION)
OF_SOURCE = (SOURCE, SELF_TRAINED, ADAPTATION)  # those that need one variant alone
SECTIONS = ("overrides", "pretrain", "synthesize", "train", "self_training", "inference", "generalisation")
FLAGS = {"baselines": True, "choose": True, "shapes": True, "matrix": True, "audit": True, "joint": False}
"""What a study does or leaves out, and by default."""
FEDERATED_SOURCE = ("rounds", "updates_per_round", "aggregator")
PUBLISHED = ("volumes", "model")
KEYS = (
    *("adaptation", "segmentation", "source", "sources", "jobs", "unseen"),
    *("federated_source", "publish", "candidates"),
    *FLAGS,
    *SECTIONS,
)
MOST_JOBS = 256
FOLLOWING = ("bundle_root", "dataset_dir", "output_dir", "domains", "labels", "ckpt_path", "factory_path")


def needed_variants(candidates: tuple[str, ...]) -> list[str]:
    """Variants of the source model that some candidates are or are made of."""
    needed = {SOURCE} if ADAPTATION in candidates else set()
    for name in candidates:
        needed |= {name} if name in VARIANTS else set(TEACHERS.get(name, ()))
    return [name for name in VARIANTS if name in needed]


def setting_faults(settings: Mapping[str, Any]) -> list[str]:
    """A line for each key that is unknown, follows from something else or holds what it may not."""
    faults = unknown("study: key", settings, list(KEYS))
    faults += [
        f"study: '{name}' must hold 'key: value' lines, found {shown(settings[name])}"
        for name in SECTIONS
        if not isinstance(settings.get(name) or {}, dict)
    ]
    if settings.get("unseen") and not isinstance(settings.get("generalisation"), dict):
        faults.append("study: 'unseen' is for a model of 'generalisation'; add generalisation: {}")
    faults += [
        f"study: '{key}' must be a text, found {shown(settings[key])}"
        for key in ("adaptation", "segmentation", "source")
        if key in settings and not isinstance(settings[key], str)
    ]
    faults += [
        f"study: {section}: '{key}' follows from the study; leave it out"
        for section in SECTIONS
        if isinstance(settings.get(section), dict)
        for key in settings[section]
        if key in FOLLOWING
    ]
    faults += [
        f"study: {section}: {place_fault(key, value)}"
        for section in SECTIONS
        if isinstance(settings.get(section), dict)
        for key, value in settings[section].items()
        if place_fault(key, value)
    ]
    faults += _federated_source_faults(settings)
    faults += _candidate_faults(settings.get("candidates"), settings.get("choose", True))
    if not isinstance(settings.get("sources") or [], list):
        faults.append(f"study: 'sources' must list clients, found {shown(settings['sources'])}")
    jobs, publish = settings.get("jobs", 2), settings.get("publish", PUBLISHED[0])
    if not isinstance(jobs, int) or isinstance(jobs, bool) or not 1 <= jobs <= MOST_JOBS:
        faults.append(f"study: 'jobs' must be a whole number from 1 to {MOST_JOBS}, found {shown(jobs)}")
    faults += [
        f"study: '{key}' must be true or false, found {shown(settings[key])}"
        for key in FLAGS
        if not isinstance(settings.get(key, True), bool)
    ]
    if publish not in PUBLISHED:
        faults.append(f"study: 'publish' must be {' or '.join(PUBLISHED)}, found {shown(publish)}")
    return faults


def _federated_source_faults(settings: Mapping[str, Any]) -> list[str]:
    """What its values may be, the federation that is made of them checks."""
    section = settings.get("federated_source") or {}
    if not isinstance(section, dict):
        return [f"study: 'federated_source' must hold 'key: value' lines, found {shown(section)}"]
    if section and "source" in settings:
        return [
            "study: 'source' is one client's model, 'federated_source' that of all labelled; leave one out"
        ]
    return unknown("study: federated_source: key", section, list(FEDERATED_SOURCE))


def _candidate_faults(named: Any, chooses: Any) -> list[str]:
    if named is None:
        return []
    if chooses is False:
        return ["study: 'candidates' are for a choice; leave them out, or choose: false"]
    if not isinstance(named, list) or not named:
        return [f"study: 'candidates' must list some of {', '.join(CANDIDATES)}, found {shown(named)}"]
    if any(named.count(name) > 1 for name in named):
        return [f"study: 'candidates' must be no two alike, found {shown(named)}"]
    return [
        f"study: candidates: {shown(name)} is unknown{closest(name, CANDIDATES)}"
        for name in named
        if name not in CANDIDATES
    ]


def synthesis_faults(settings: Mapping[str, Any], domains: Sequence[str]) -> list[str]:
    """Twins are drawn in a list of the federation's domains, where it is given."""
    section = settings.get("synthesize")
    drawn = section.get("twin_domains") if isinstance(section, dict) else None
    what = "study: synthesize: twin_domains"
    if drawn is not None and not isinstance(drawn, list):
        return [f"{what} must list domains, such as [{domains[0]}], found {shown(drawn)}"]
    return [
        f"{what}: domain {shown(domain)} is unknown{closest(domain, domains)}"
        for domain in drawn or ()
        if domain not in domains
    ]
