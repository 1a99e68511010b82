from __future__ import annotations

import math
import re

import pytest
import torch

from shared_components.federation.arrivals import arrived, client_row, screen
from shared_components.federation.privacy import spent
from shared_components.federation.sites import Answer
from tests.federation.tiny import federation

GLOBAL = {"w": torch.ones(4), "n": torch.tensor(3)}
WELL = {"images": 2, "seconds": 0.5}


def answer(value=0.5, **values):
    tensors = {"w": torch.full((4,), value, dtype=torch.float16), "n": torch.tensor(5)}
    return Answer({**WELL, **values}, tensors)


@pytest.fixture
def halved(values):
    return federation(values, exchange={"down": "float32"})


@pytest.fixture
def noisy(values):
    return federation(values, exchange={"down": "float32"}, privacy={"clip": 1, "noise": 4})


def test_what_arrives_is_put_back_onto_the_global_weights(halved):
    updates, refused = arrived({"north": answer(), "south": answer(-1.0)}, halved, GLOBAL)
    assert refused == {} and updates["north"]["w"].dtype == torch.float32
    assert torch.equal(updates["north"]["w"], torch.full((4,), 1.5)) and updates["north"]["n"] == 5
    assert torch.equal(updates["south"]["w"], torch.zeros(4))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (Answer(failure="it died"), "it died"),
        (
            Answer(WELL, {"w": torch.zeros(4), "n": torch.tensor(3)}),
            "'w' is (4,) torch.float32, expected (4,) torch.float16",
        ),
        (
            Answer(WELL, {"w": torch.zeros(4, dtype=torch.float16)}),
            "'n' is missing, which the global model has",
        ),
        (Answer(WELL, {}), "'w' is missing"),
        (Answer({"seconds": 1.0}, answer().tensors), "expected its 'images', found none"),
        (answer(images=-1), "expected its number of images, from 0 to 1e+09, found -1"),
        (answer(images=math.nan), "expected its number of images, from 0 to 1e+09, found nan"),
        (answer(images=1e308), "expected its number of images, from 0 to 1e+09, found 1e+308"),
        (answer(images=10**400), "expected a number as its 'images', found 1000"),
        (answer(loss=10**400), "expected a number as its 'loss', found 1000"),
        (answer(epsilon=0.1), "expected a name of a column of its own for its metric, found 'epsilon'"),
        (answer(round=1.5), "expected a name of a column of its own for its metric, found 'round'"),
        (
            answer(update_norm=1e30),
            "expected a name of a column of its own for its metric, found 'update_norm'",
        ),
        (answer(**{"a\nb": 1.0}), "expected a name of a column of its own for its metric, found 'a"),
        (
            answer(**{f"m{i}": 1.0 for i in range(51)}),
            "expected at most 50 metrics, found 51; let its training",
        ),
        (answer(images="many"), "expected a number as its 'images', found 'many'"),
        (answer(loss="low"), "expected a number as its 'loss', found 'low'"),
        (answer(seconds=math.inf), "expected a number from 0 up as its 'seconds', found inf"),
    ],
)
def test_a_client_whose_answer_is_of_no_use_is_left_out_alone(halved, bad, message):
    updates, refused = arrived({"north": bad, "south": answer()}, halved, GLOBAL)
    assert list(updates) == ["south"] and list(refused) == ["north"]
    assert refused["north"].startswith(message) and "\n" not in refused["north"]


@pytest.mark.parametrize("released", [None, 0, 2.5, True])
def test_noise_without_a_count_is_refused(noisy, released):
    given = answer() if released is None else answer(released=released)
    updates, refused = arrived({"a": given}, noisy, GLOBAL)
    assert updates == {} and re.search(
        "number of updates that have left it|a number as its 'rel", refused["a"]
    )
    assert list(arrived({"a": answer(released=7)}, noisy, GLOBAL)[0]) == ["a"]


def test_rows_tell_bytes_on_the_wire_and_epsilon(halved, noisy):
    row = client_row(halved, 3, "north", answer(loss=0.25), GLOBAL)
    assert row == {
        "round": 3,
        "client": "north",
        "images": 2,
        "seconds": 0.5,
        "bytes_up": 4 * 2 + 8,
        "bytes_down": 4 * 4 + 8,
        "loss": 0.25,
    }
    assert client_row(halved, 3, "north", answer(), GLOBAL, norm=1 / 3)["update_norm"] == 0.333333
    row = client_row(noisy, 3, "north", answer(released=7), GLOBAL)
    assert row["epsilon"] == pytest.approx(spent(4.0, 7, 1e-5), rel=1e-5) and row["released"] == 7
    row = client_row(noisy, 3, "north", answer(released=7), GLOBAL, before=0.5)  # as two more
    assert row["epsilon"] == pytest.approx(spent(4.0, 9, 1e-5), rel=1e-5) and row["released"] == 7


def test_an_update_that_does_not_count_has_still_left_its_client(noisy):
    row = client_row(noisy, 3, "north", answer(released=7, loss=1.0), GLOBAL, "too\nlarge", 2.0)
    assert row["left_out"] == "too large" and row["bytes_up"] == 0 and row["bytes_down"] == 24
    assert (row["images"], row["seconds"]) == (0, 2.0) and "loss" not in row
    assert row["epsilon"] == pytest.approx(spent(4.0, 7, 1e-5), rel=1e-5)
    assert "epsilon" not in client_row(noisy, 3, "north", Answer(failure="died"), GLOBAL, "died")


BEFORE = {"w": torch.zeros(4), "steps": torch.tensor(3)}


def update(size: float, **changes) -> dict[str, torch.Tensor]:
    """An update whose difference from the global weights has a norm of ``size``."""
    return {"w": torch.full((4,), size / 2), "steps": torch.tensor(4), **changes}


def test_sound_updates_all_count():
    refused, norms = screen({"a": update(1.0), "b": update(50.0), "c": update(2.0)}, BEFORE, 100)
    assert refused == {} and norms == {"a": 1.0, "b": 50.0, "c": 2.0}


@pytest.mark.parametrize(
    ("sizes", "largest", "refused"),
    [
        ((1.0, 1.0, 101.0), 100, "c"),
        ((1.0, 1.0, 99.0), 100, ""),
        ((1.0, 1e6), 100, "b"),  # of two the smaller one is the median
        ((1.0, 1e6, 1e6), 100, ""),  # the majority is taken at its word
        ((1.0, 2.0, 1e6, 1e7), 100, "cd"),
        ((1e6,), 100, ""),  # alone there is nothing to compare with
        ((0.0, 0.0, 1.0), 100, ""),  # a median of nothing measures nothing
        ((1.0, 1.0, 1e6), None, ""),
    ],
)
def test_size_is_measured_by_the_lower_median(sizes, largest, refused):
    updates = {name: update(size) for name, size in zip("abcd", sizes, strict=False)}
    found, norms = screen(updates, BEFORE, largest)
    assert "".join(found) == refused and norms.keys() == updates.keys() - found.keys()
    for reason in found.values():
        assert "times as large as the round's median update, more than largest_update (100)" in reason


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"w": torch.tensor([0.0, torch.nan, 0.0, 0.0])}, "its update: 'w' holds NaN or infinite values"),
        ({"w": torch.full((4,), torch.inf)}, "its update: 'w' holds NaN or infinite values"),
        ({"w": torch.zeros(5)}, r"'w' is (5,) torch.float32, expected (4,) torch.float32"),
        ({"w": torch.zeros(4).double()}, r"'w' is (4,) torch.float64, expected (4,) torch.float32"),
        ({"other": torch.zeros(4)}, "sent 'other', which the global model lacks"),
    ],
)
def test_wrong_updates_are_told_and_do_not_count_in_the_median(wrong, reason):
    found, _ = screen({"a": update(1.0, **wrong), "b": update(1.0), "c": update(1000.0)}, BEFORE, 100)
    assert list(found) == ["a", "c"] and found["a"].startswith(reason)


def test_what_is_missing_is_told():
    short = update(1.0)
    del short["steps"]
    assert screen({"a": short, "b": update(1.0)}, BEFORE, 100)[0]["a"].startswith("'steps' is missing")


@pytest.mark.parametrize(
    ("sizes", "earlier", "refused"),
    [
        ((101.0,), (1.0, 1.0), "a"),  # one client a round: the run's updates are what there is
        ((99.0,), (1.0, 1.0), ""),
        ((101.0,), (1e3, 1.0, 1e3), ""),  # whatever single one was small
        ((50.0,), (0.1,), "a"),  # of two the smaller one is the median
        ((1.0, 101.0), (1e6, 1e6), "b"),  # two speak for themselves
        ((101.0, 0.0), (1.0, 0.0, 1.0), "a"),  # who changes nothing speaks for nobody
    ],
)
def test_an_update_that_is_alone_in_its_round_is_measured_by_those_of_earlier_ones(sizes, earlier, refused):
    updates = {name: update(size) for name, size in zip("ab", sizes, strict=False)}
    found, _ = screen(updates, BEFORE, 100, earlier)
    assert "".join(found) == refused
    whose = "round" if all(sizes) and len(sizes) > 1 else "run"
    assert all(f"as the {whose}'s median update" in reason for reason in found.values())
