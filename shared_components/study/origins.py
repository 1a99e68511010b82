"""What came from where: whose images and labels are in which model, and what has left whom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from monai.bundle import ConfigParser

from shared_components.errors import counted
from shared_components.federation.bundle_workflow import bundle_config
from shared_components.federation.start import LABELLED, Start, start_of
from shared_components.study.settings import ADAPTATION
from shared_components.study.source_model import source_federation
from shared_components.study.study import Study


def origins(study: Study) -> list[str]:
    """A sentence for each thing that a study makes, in the order in which it makes them."""
    return list(_sentences(study))


def _sentences(study: Study) -> Iterator[str]:
    yield _factory(study)
    start = start_of(study.federation)
    if start is not None:
        maps = ", and so is what label maps of earlier clients taught it" if _draws_labels(start) else ""
        yield (
            f"It goes on from {start.words}, trained before: the images that this was trained on are in it, too{maps}."
        )
    yield _source_model(study)
    privacy = study.federation.privacy
    if study.federates_source and privacy is not None and privacy.noise:
        yield (
            "Its updates were clipped and given noise as the factory's were; the epsilon of a labelled client counts "
            "the updates of both, which tell of the same patients."
        )
    if study.flag("joint"):
        yield (
            f"Joint source model: images and labels of {_with_labels(study)}, read in one place; for comparison "
            "alone."
        )
    if study.targets and ADAPTATION in study.candidates:
        yield _synthetic(study)
        yield f"Adaptation: at {_each(study.targets)}, on its own images, which stay where they are."
    if study.chooses:
        shapes = f"means and deviations of shapes in the label maps of {joined(study.sources)}"
        went = (
            f"{shapes} went there for it, and no label map"
            if study.compares_shapes
            else "nothing went there for it"
        )
        yield (
            f"Choice: at {_each(study.targets)}, among {len(study.candidates)} models, on its own images and "
            f"without a label of its own; {went}."
        )
    few = [name for name in study.targets if study.has_few_labels(name)]
    if few:
        yield f"Beside synthetic labels, the adaptation uses those of its own client: {_with_counts(study, few)}."
    if study.generalises:
        yield f"Generalisation: synthetic volumes alone, drawn at {study.source} by the factory."


def _teaching(study: Study) -> list[str]:
    """Clients whose label maps teach the factory to draw some."""
    parser = ConfigParser(bundle_config(study.federation))
    domains = parser.get_parsed_content(LABELLED) if LABELLED in parser else None
    return [name for name, data in study.roots.items() if data.labelled_in(domains or ())]


def _draws_labels(start: Start) -> bool:
    """Whether label maps taught a factory that is gone on from, by its generator or by its run's settings."""
    generator = start.description.get("generator")
    return bool(start.description.get(LABELLED) or (isinstance(generator, dict) and generator.get("classes")))


def _factory(study: Study) -> str:
    weights = f"Factory: weights of {joined(list(study.roots))}"
    if not _teaching(study):
        return f"{weights}; it reads no label of theirs."
    return (
        f"{weights}; the label maps of {joined(_teaching(study))} taught it to draw some, so what it has learnt of "
        "them is in it, and goes wherever it goes."
    )


def _labels_of_synthetic(study: Study) -> str:
    """Who labels synthetic volumes."""
    if study.section("synthesize").get("labels_from") == "factory":
        return "the factory itself"
    return "the federated source model" if study.federates_source else f"the source model of {study.source}"


def _source_model(study: Study) -> str:
    if not study.federates_source:
        others = [name for name in study.sources if name != study.source and name not in _teaching(study)]
        unused = f" Labels of {joined(others)} are in none of the others' models." if others else ""
        return f"Source model: images and labels of {_with_counts(study, [study.source])}.{unused}"
    federation = source_federation(study)
    aggregator = str(federation.aggregator["_target_"]).rpartition(".")[2]
    norms = ", each labelled client with norms of its own" if federation.make_aggregator().personal else ""
    return (
        f"Federated source model: images and labels of {_with_labels(study)}, which trained it together in "
        f"{federation.rounds} rounds of {federation.updates_per_round} updates ({aggregator}{norms}); weights alone "
        "were exchanged. It is the model of the last round: none was chosen by validation."
    )


def _synthetic(study: Study) -> str:
    labeller = _labels_of_synthetic(study)
    if study.publishes_model:
        return (
            f"Synthetic volumes: drawn by the factory and labelled by {labeller} at {_each(study.targets)}, "
            "for its own use; the model was handed over, and no volume."
        )
    return (
        f"Synthetic volumes: drawn by the factory and labelled by {labeller} at {study.source}, which handed them and "
        f"the model to {joined(study.targets)}."
    )


def _with_labels(study: Study) -> str:
    return _with_counts(study, study.sources)


def _with_counts(study: Study, names: Sequence[str]) -> str:
    """``north (16 labelled volumes) and west (9)``: training volumes."""
    numbers = [study.roots[name].labelled[0] for name in names]
    words = [counted(numbers[0], "labelled volume"), *map(str, numbers[1:])]
    return joined([f"{name} ({number})" for name, number in zip(names, words, strict=True)])


def _each(names: Sequence[str]) -> str:
    """``a``, or ``each of a and b``."""
    return names[0] if len(names) == 1 else f"each of {joined(names)}"


def joined(names: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)
