"""The coordinator's own part of a round, with clients whose answers are known."""

from __future__ import annotations

import torch

from shared_components.federation.coordinator import Coordinator
from shared_components.federation.rounds_log import read_rows
from shared_components.federation.run_folder import RunFolder
from shared_components.federation.sites import Answer, Sites
from tests.federation.tiny import federation

IMAGES = {"island": 2, "north": 3, "south": 4}
ENDS = {"island": 9.0, "north": 3.0, "south": 0.0}


class KnownSites(Sites):
    """Clients that end every round with weights of their own; ``asked``: rounds trained, and those they begin from."""

    def __init__(self, images: dict[str, int]) -> None:
        self.images = images
        self.asked: list[tuple[int, int]] = []
        self.states: dict[str, int] = {}

    def build(self, states):
        self.states = dict(states)
        return {name: Answer({"images": self.images[name]}) for name in states}

    def initial_weights(self, client):
        return Answer(tensors={"w": torch.ones(2)})

    def train(self, round, before, drawn):
        self.asked.append((round, before.round))
        return {
            name: Answer({"images": self.images[name], "seconds": 0.1}, {"w": torch.full((2,), ENDS[name])})
            for name in drawn
        }

    def remembered(self, round, clients):
        pass

    def export(self, committed, clients):
        return {name: Answer() for name in clients}


def coordinated(
    values, rounds: int, resume: bool = False, images: dict[str, int] = IMAGES
) -> tuple[KnownSites, RunFolder]:
    made, sites = federation(values, rounds=rounds), KnownSites(images)
    folder = RunFolder(made.output_dir)
    with folder.lock.held():
        committed = folder.open(made, resume=resume)
        Coordinator(made, folder, sites, quiet=True).go_on(committed)
    return sites, folder


def test_clients_count_by_their_images(values):
    _, folder = coordinated(values, rounds=1)
    assert folder.committed().weights["w"].tolist() == [3.0, 3.0]  # (2 · 9 + 3 · 3 + 4 · 0) / 9, not 12 / 3


def test_clients_that_took_no_step_do_not_count_unless_nobody_did(values):
    _, folder = coordinated(values, rounds=1, images={"island": 1, "north": 3, "south": 0})
    assert folder.committed().weights["w"].tolist() == [4.5, 4.5]  # (9 + 3 · 3) / 4
    assert [row["client"] for row in read_rows(folder.rounds_file)] == ["island", "north", "south"]
    _, folder = coordinated(
        values | {"output_dir": folder.root / "still"}, rounds=1, images=dict.fromkeys(IMAGES, 0)
    )
    assert folder.committed().weights["w"].tolist() == [4.0, 4.0]


def test_goes_on_with_the_round_after_the_last_whole_one(values):
    first, _ = coordinated(values, rounds=2)
    assert first.asked == [(1, 0), (2, 1)] and set(first.states.values()) == {0}
    second, folder = coordinated(values, rounds=3, resume=True)
    assert second.asked == [(3, 2)] and second.states == dict.fromkeys(IMAGES, 2)
    assert [row["round"] for row in read_rows(folder.rounds_file)] == ["1"] * 3 + ["2"] * 3 + ["3"] * 3
