"""Ways to train the factory together: what of it travels, how often, how it is averaged, what discriminators see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shared_components.errors import counted

UPDATES = 6  # of a client in a round, as in the quickstart
GROWN = 1 / 8  # share of the updates at half the size first, as in spine.yaml
AVERAGED = ["generator_ema"]
MODULES = ["generator", "generator_ema"]
ONE_ANATOMY = {"poses": True, "pose_shift": 0.3, "common_rows": "$2 * len(@channels) - 2"}
TRUNK = ["discriminator.from_image", "discriminator.blocks"]


@dataclass(frozen=True)
class FactoryRow:
    """One way to train.

    Attributes:
        text: for the table.
        federation: keys of the federation file.
        overrides: ids of the bundle's train config.
        updates: of a client in a round, at most its total; the rounds follow, so that the total stays.
        drawn: share of the clients that train in a round, 0: one of them; the rounds follow.
        labelled: the first domain's label maps teach the generator to draw one beside each image.
        joint: all images in one place, with as many updates as all clients have together.
        share: of these as many as one client has.
        grown: share of the updates at half the image size first.
    """

    text: str
    federation: Mapping[str, Any] = field(default_factory=dict)
    overrides: Mapping[str, Any] = field(default_factory=dict)
    updates: int = UPDATES
    drawn: float = 1.0
    joint: bool = False
    share: bool = False
    labelled: bool = False
    grown: float = GROWN


def server(**arguments: Any) -> dict[str, Any]:
    """A section of a federation file: an optimiser at the server."""
    target = "shared_components.federation.FedAvgM"
    return {"aggregator": {"_target_": target, "averaged": AVERAGED, **arguments}}


ROWS = {
    "default": FactoryRow("federated, as the bundle does it"),
    "grown": FactoryRow("federated, half of the updates at half the size", grown=1 / 2),
    "joint": FactoryRow("all images in one place", joint=True),
    "joint_grown": FactoryRow(
        "all images in one place, half of the updates at half the size", joint=True, grown=1 / 2
    ),
    "sequential": FactoryRow(
        "all images in one place, as many updates as one client", joint=True, share=True
    ),
    "posed": FactoryRow("all images in one place, poses", overrides={"poses": True}, joint=True),
    "common": FactoryRow(
        "all images in one place, poses, 6 common rows",
        overrides={"poses": True, "common_rows": 6},
        joint=True,
    ),
    "shifted": FactoryRow(
        "all images in one place, poses of 0.3, all rows common but the finest two",
        overrides=ONE_ANATOMY,
        joint=True,
    ),
    "federated_common": FactoryRow(
        "poses of 0.3, all rows common but the finest two, never at half the size, FedSubAvg",
        {"aggregator": {"_target_": "shared_components.federation.FedSubAvg"}},
        {**ONE_ANATOMY, "growth": {}},
    ),
    "rolling_common": FactoryRow(
        "poses of 0.3, all rows common but the finest two, never at half the size, server momentum 0.7, FedSubAvg",
        server(momentum=0.7, learning_rate=1.0, submodel=True),
        {**ONE_ANATOMY, "growth": {}},
    ),
    "submodel": FactoryRow(
        "each element averaged over those that moved it (FedSubAvg)",
        {"aggregator": {"_target_": "shared_components.federation.FedSubAvg"}},
    ),
    "both": FactoryRow(
        "FedSubAvg, discriminator exchanged too",
        {"aggregator": {"_target_": "shared_components.federation.FedSubAvg"}},
        {"federation::shared": [*MODULES, "discriminator"]},
    ),
    "fast": FactoryRow("server rate 2", server(momentum=0.0, learning_rate=2.0)),
    "faster": FactoryRow("server rate 4", server(momentum=0.0, learning_rate=4.0)),
    "quick": FactoryRow("server rate 2, FedSubAvg", server(momentum=0.0, learning_rate=2.0, submodel=True)),
    "rolling": FactoryRow(
        "server momentum 0.7, FedSubAvg", server(momentum=0.7, learning_rate=1.0, submodel=True)
    ),
    "noise": FactoryRow("strengths of the noise learn a tenth as fast", overrides={"noise_rate": 0.1}),
    "r1": FactoryRow("R1 three times as heavy", overrides={"r1_gamma": 1.0}),
    "ada": FactoryRow(
        "augmentation (ADA, 0.6 over 1500 slices)", overrides={"ada_target": 0.6, "ada_images": 1500}
    ),
    "frozen": FactoryRow("discriminators on frozen random features", overrides={"frozen_features": True}),
    "encoded": FactoryRow("condition told the clients' mean encodings", overrides={"semantic_condition": 99}),
    "discriminator": FactoryRow(
        "discriminator exchanged too (published)",
        overrides={"federation::shared": [*MODULES, "discriminator"]},
    ),
    "trunk": FactoryRow(
        "discriminator's trunk exchanged too", overrides={"federation::shared": [*MODULES, *TRUNK]}
    ),
    "generator": FactoryRow(
        "generator alone, no average",
        overrides={
            "federation::shared": ["generator"],
            "federation::export::generator": "$@network.generator",
        },
    ),
    "average": FactoryRow(
        "generator alone, averaged at the server",
        {"aggregator": {"_target_": "shared_components.federation.ServerAverage", "decay": 0.9}},
        {"federation::shared": ["generator"], "federation::export::generator": "$@network.generator"},
    ),
    "labels": FactoryRow(
        "default, drawing label maps (spine: the first hospital has other volumes)", labelled=True
    ),
    "small": FactoryRow(
        "discriminators of half the width", overrides={"discriminator_channels": [32, 32, 32, 16, 8]}
    ),
    "weights": FactoryRow("whole weights in float32, not differences", {"exchange": {"what": "weights"}}),
    "rare": FactoryRow("24 updates a round", updates=24),
    "often": FactoryRow("2 updates a round", updates=2),
    "half": FactoryRow("half of the clients drawn", drawn=0.5),
    "in_turn": FactoryRow("one client a round, in turn", drawn=0.0),
    "in_turn_grown": FactoryRow(
        "one client a round, in turn, half of the updates at half the size", drawn=0.0, grown=1 / 2
    ),
    "in_turn_both": FactoryRow(
        "one client a round, in turn, discriminator exchanged too",
        overrides={"federation::shared": [*MODULES, "discriminator"]},
        drawn=0.0,
    ),
    "in_turn_often": FactoryRow(
        "one client a round, in turn, 2 updates, discriminator exchanged too",
        overrides={"federation::shared": [*MODULES, "discriminator"]},
        updates=2,
        drawn=0.0,
    ),
    "in_turn_common": FactoryRow(
        "one client a round, in turn; poses of 0.3, all rows common but the finest two, never at half the size",
        overrides={**ONE_ANATOMY, "growth": {}},
        drawn=0.0,
    ),
    "in_turn_both_common": FactoryRow(
        "one client a round, in turn, discriminator exchanged too; poses of 0.3, all rows common but the finest two, "
        "never at half the size",
        overrides={**ONE_ANATOMY, "growth": {}, "federation::shared": [*MODULES, "discriminator"]},
        drawn=0.0,
    ),
    "momentum": FactoryRow("server momentum 0.6, rate 0.5", server(momentum=0.6, learning_rate=0.5)),
    "adam": FactoryRow(
        "server Adam (FedAdam)",
        {"aggregator": {"_target_": "shared_components.federation.FedAdam", "averaged": AVERAGED}},
    ),
}


def _lengths(row: FactoryRow, clients: int, updates: int) -> tuple[int, int, int]:
    """How many clients train in a round, the rounds, and the updates of a client in one."""
    drawn, each = max(1, round(clients * row.drawn)), min(row.updates, updates)
    return drawn, max(1, round(updates / each * clients / drawn)), each


def row_text(row: FactoryRow, clients: int, updates: int) -> str:
    """For the table; with the rounds where these do not give a client ``updates`` in rounds of the row's length."""
    drawn, rounds, each = _lengths(row, clients, updates)
    total = rounds * each * drawn / clients
    if (total, each) == (updates, row.updates):
        return row.text
    return f"{row.text} ({counted(rounds, 'round')} of {counted(each, 'update')}, {total:g} a client)"


def federation_values(
    row: FactoryRow, clients: Mapping[str, str], updates: int, labelled: str = ""
) -> dict[str, Any]:
    """What a federation file says for a row, beside name, bundle, geometry and output folder.

    Args:
        row: the row.
        clients: domain to data root, one client for each.
        labelled: data root of the first domain with the labels of its training images.
        updates: of every client, in total, on the mean; as near to it as whole rounds come.
    """
    times = len(clients) if row.joint and not row.share else 1
    drawn, rounds, each = _lengths(row, len(clients), updates)
    grown = int(rounds * each * times * row.grown)  # the generator counts the updates of every round
    first = next(iter(clients))
    clients = {**clients, first: labelled} if row.labelled else clients
    named = {d: {"data_root": root, "domain": d} for d, root in clients.items()}
    joint = {"all": {"data_root": list(clients.values()), "domain": list(clients)}}
    values: dict[str, Any] = {
        "clients": joint if row.joint else named,
        "rounds": rounds,
        "updates_per_round": each * times,
        "overrides": {
            "growth": {2: grown},
            "fade": max(1, grown // 3),
            "picture_every": 0,
            **({"label_domains": [first]} if row.labelled else {}),
            **row.overrides,
        },
        **row.federation,
    }
    return values | ({"clients_per_round": drawn} if row.drawn < 1 else {})
