"""The source model that everybody gets: one labelled client's, or trained by federation among all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from monai.bundle import ConfigParser

from shared_components.errors import InputError
from shared_components.federation.faults import DRIVEN_IDS, federation_faults
from shared_components.federation.federation import Federation
from shared_components.study.settings import MILD, PLAIN, SOURCE, VARIANTS
from shared_components.study.stage import known, merged_config, model_path
from shared_components.study.study import EVERYBODY, Study

CONFIGS = ("common.yaml", "pretrain.yaml")
FEDERATED, JOINT = "federated_source", "joint_source"  # names of models beside each labelled client's own
TOGETHER = {PLAIN: "federated_only", MILD: "federated_mild", SOURCE: FEDERATED}
"""Variant to its name where several clients train it together."""


class Weights(NamedTuple):
    """A trained model, for the stages that read it.

    Attributes:
        path: its file.
        needs: keys of the stages that write it.
        reads: files that no stage writes.
    """

    path: str
    needs: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()


def source_weights(study: Study, variant: str = SOURCE) -> Weights:
    """The model that the clients without labels get, in one of ``VARIANTS``; by default the one that labels the
    synthetic volumes, and that adaptation starts from.
    """
    if study.federates_source:
        return trained(study, EVERYBODY, TOGETHER[variant])
    return trained(study, study.source, variant)


def trained(study: Study, owner: str, model: str, site: str | None = None) -> Weights:
    """A model by who trains it (EVERYBODY: several together) and its name.

    Args:
        study: whose model it is.
        owner: a client or EVERYBODY.
        model: the stage that trains it, or one of ``TOGETHER``.
        site: where it is used: where norms stay private, a labelled client uses its own; others use the source's.
    """
    variant = next((variant for variant, name in TOGETHER.items() if name == model), None)
    if variant is not None:
        client = site if site in study.sources else study.source
        path = str(source_federation(study, variant).client_export_path(client))
        return Weights(path, reads=(path,))
    return Weights(model_path(study, owner, model), needs=(f"{owner}/{model}",))


def source_federations(study: Study) -> dict[str, Federation]:
    """Variant to the federation that trains it; none where one client trains the source model."""
    return {v: source_federation(study, v) for v in study.needed_variants} if study.federates_source else {}


def source_federation(study: Study, variant: str = SOURCE) -> Federation:
    """The federation of the labelled clients, which trains a variant of the source model in a folder of its own.

    One round for each epoch of the adaptation bundle's ``pretrain.yaml``, as long as it, unless ``federated_source``
    says otherwise; the learning rate decays over the rounds. The file's ``exchange``, ``privacy`` and limits hold, its
    ``aggregator``, which suits the factory, does not.

    Raises:
        InputError: ``federated_source`` or the bundle is unusable.
    """
    given = dict(study.settings.get("federated_source") or {})
    overrides = {**_overrides(study), **VARIANTS[variant]}
    epochs, updates = _numbers(study, overrides, ("max_epochs", "epoch_length"))
    clients = {name: study.federation.clients[name] for name in study.sources}
    return replace(
        study.federation,
        name=f"{study.federation.name}, {variant.replace('_', ' ')}",
        bundle=study.adaptation,
        configs=CONFIGS,
        clients=clients,
        rounds=given.get("rounds", epochs),
        updates_per_round=given.get("updates_per_round", updates),
        clients_per_round=len(clients),
        min_clients=study.federation.least_of(len(clients)),
        aggregator=given.get("aggregator") or {"_target_": "shared_components.federation.FedAvg"},
        overrides={key: value for key, value in overrides.items() if key not in DRIVEN_IDS},
        workers=min(study.federation.workers, len(clients)),
        start=None,
        output_dir=str(study.folder / variant),
        budgets=study.budgets,
        study={},
    )


def check_source_federation(study: Study) -> None:
    """What can be wrong with it, before anything is trained.

    Raises:
        InputError: every fault.
    """
    if study.settings.get("federated_source") and not study.federates_source:
        raise InputError(
            f"study: 'federated_source' is for two labelled clients or more, found {', '.join(study.sources)}; "
            "leave it out, or label more"
        )
    faults = _source_faults(source_federation(study)) if study.federates_source else []
    if faults:
        raise InputError("; ".join(f"study: federated_source: {fault}" for fault in faults))


def _source_faults(federation: Federation) -> list[str]:
    faults = federation_faults(federation)
    noisy = federation.privacy is not None and federation.privacy.noise
    if not faults and noisy and federation.make_aggregator().personal:
        faults.append(
            f"with {federation.aggregator['_target_'].split('.')[-1]} the model that the other clients get holds norms "
            "of one client's own, without the noise of 'privacy'; take FedAvg or FedProx, or leave out the noise"
        )
    return faults


def pretraining(study: Study, clients: Iterable[str]) -> dict[str, Any]:
    """Overrides of ``pretrain.yaml``; without labels for validation there is none."""
    labelled = all(study.roots[name].items("validation", labelled=True) for name in clients)
    return {"quiet": True, **({} if labelled else {"val_interval": 0}), **study.section("pretrain")}


def _overrides(study: Study) -> dict[str, Any]:
    shared = {**study.agreed, **study.section("overrides")}
    return {**known(shared, study.adaptation, CONFIGS), **pretraining(study, study.sources)}


def _numbers(study: Study, overrides: Mapping[str, Any], ids: Iterable[str]) -> list[Any]:
    """What the bundle's config with some overrides says."""
    config = merged_config(tuple(str(Path(study.adaptation) / "configs" / name) for name in CONFIGS))
    parser = ConfigParser({**{k: v for k, v in config.get().items() if k != config.meta_key}, **overrides})
    return [parser.get_parsed_content(id) for id in ids]


def variants_at(study: Study, client: str) -> list[str]:
    """Variants of the source model that are a labelled client's own, to be used there and tried everywhere."""
    alone = study.chooses and client == study.source and not study.federates_source
    return study.needed_variants if alone else [SOURCE]
