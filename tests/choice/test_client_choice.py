"""Which slices a choice looks at, and how often their volumes are decoded for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from shared_components.choice import choose, client_choice, write_shapes
from shared_components.choice.client_choice import (
    chosen_names,
    looked_at,
    picture,
    reason,
    rule,
    spaced_pairs,
    write_choice,
)
from shared_components.choice.criteria import Opinion, Verdict
from shared_components.choice.shapes import Known, implausibility, label_volumes
from shared_components.choice.shapes import shapes as described
from shared_components.data import slices
from shared_components.data.quantiles import mean_quantiles
from shared_components.data.slices import SliceDataset
from shared_components.errors import InputError
from shared_components.networks.weights import export_model
from shared_components.records import read_record
from tests.bundles.tiny import save


@pytest.fixture
def made(tmp_path):
    """Makes a dataset of volumes of so many slices, each with labels, of which one volume is held."""

    def dataset(*depths: int, cache: str = "none") -> SliceDataset:
        items = [written(tmp_path, number, depth) for number, depth in enumerate(depths)]
        return SliceDataset(items, ["t1"], 16, 4.0, cache=cache)

    return dataset


def written(folder: Path, number: int, depth: int) -> dict[str, str]:
    random, affine = np.random.default_rng(number), np.diag([4.0, 4.0, 6.0, 1.0])
    item = {"domain": "t1", "subject": str(number)}
    for key in ("image", "label"):
        item[key] = str(folder / f"{key}{number}.nii.gz")
        voxels = random.random((16, 16, depth)) * (100 if key == "image" else 1.99)
        save(Path(item[key]), voxels.astype(np.float32 if key == "image" else np.uint8), affine)
    return item


@pytest.fixture
def decoded(monkeypatch) -> list[str]:
    """Subjects in the order in which their volumes are decoded."""
    found, read = [], slices.read

    def noted(transform, item, *more, **named):
        found.append(Path(item["image"]).name.removeprefix("image")[0])
        return read(transform, item, *more, **named)

    monkeypatch.setattr(slices, "read", noted)
    return found


def test_volumes_are_whole_and_evenly_spaced(made):
    dataset = made(6, 6, 6, 6)
    images, volumes, places = looked_at(dataset, 12)
    assert volumes.tolist() == [0] * 6 + [2] * 6 and not places
    assert torch.equal(images, torch.stack([dataset[n]["image"] for n in (*range(6), *range(12, 18))]))


@pytest.mark.parametrize(
    ("most", "wanted"),
    [(4, [2, 3, 6, 7]), (3, [4, 5]), (1, [5]), (10, range(10)), (9, [1, 2, 3, 4, 5, 6, 7, 8])],
)
def test_of_a_larger_volume_evenly_spaced_pairs_are_taken(made, most, wanted):
    dataset = made(10)
    images, volumes, places = looked_at(dataset, most)
    assert volumes.tolist() == [0] * len(wanted)
    assert torch.equal(images, torch.stack([dataset[n]["image"] for n in wanted]))
    assert places == ({} if most == 10 else {0: list(wanted)})


def test_a_cut_volume_is_as_plausible_as_the_whole_one():
    grid = torch.arange(64)
    radius = (20 - (torch.arange(600) - 300).abs() / 12).clamp(min=0)[:, None, None]
    truth = ((grid[:, None] - 32) ** 2 + (grid[None] - 32) ** 2 <= radius**2).long()
    known = [
        {
            name: {"mean": value, "deviation": 0.0}
            for name, value in described(truth.numpy(), [1], 1.0).items()
        }
    ]
    for most in (400, 100, 40):
        own = spaced_pairs(600, most)
        assert len(own) == len(set(own)) == most
        assert implausibility([described(truth[own].numpy(), [1], 1.0, own)], known) < 0.05


def test_no_slices_are_too_few(made):
    with pytest.raises(InputError, match="most_slices: expected at least 1, found 0"):
        looked_at(made(3), 0)


@pytest.mark.parametrize(
    ("pass_over", "wanted"),
    [
        (lambda dataset: looked_at(dataset, 10), "02"),
        (lambda dataset: list(label_volumes(dataset)), "0123"),
        (lambda dataset: mean_quantiles(dataset, 3), "0123"),
    ],
)
def test_without_a_cache_each_volume_is_decoded_once_more(made, decoded, pass_over, wanted):
    dataset = made(5, 5, 5, 5)
    assert "".join(decoded) == "0123"
    decoded.clear()
    pass_over(dataset)
    assert "".join(decoded) == wanted


def test_where_no_shape_is_known_nothing_is_said_to_be_like_those_of_labelled_patients():
    found = {"plain": Verdict(0.0, 1.0, 0.9, 0.9), "adapted": Verdict(0.0, 2.0, 0.9, 0.9)}
    assert reason(found, ["adapted"]).startswith(
        "all candidates find shapes like those of labelled patients;"
    )
    unknown = reason(found, ["adapted"], known=False)
    assert unknown.startswith(
        "no shape of labelled patients is known, since none of their slices is annotated in full"
    )
    assert unknown.endswith("the borders of “adapted” lie on the clearest edges (2.00 deviations)")


@pytest.mark.parametrize(("slices", "columns"), [(1, 1), (3, 3), (60, 6)])
def test_the_picture_shows_no_slice_twice(slices, columns):
    images = torch.linspace(-1, 1, slices * 64).reshape(slices, 1, 8, 8)
    labels = torch.zeros(slices, 8, 8, dtype=torch.uint8)
    shown = picture(images, {"plain": Opinion(labels, torch.zeros(0), 1.0)}, ["plain"], 2)
    single = picture(images[:1], {"plain": Opinion(labels[:1], torch.zeros(0), 1.0)}, ["plain"], 2)
    assert shown.shape[1] == single.shape[1]
    assert shown.shape[2] == single.shape[2] + (columns - 1) * (144 + 2)


def above(level: float) -> nn.Module:
    """Class 1 where a slice is brighter than ``level``."""
    network = nn.Conv2d(1, 2, 1)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([0.0, 50.0]).reshape(2, 1, 1, 1))
        network.bias.copy_(torch.tensor([0.0, -50.0 * level]))
    return network


@pytest.mark.parametrize(
    ("margin", "partner", "best"),
    [
        (0.1, 1e-6, ("square",)),
        (100.0, None, ("square",)),
        (100.0, 1e-6, ("square",)),  # what finds the noise finds something else
    ],
)
def test_margin_and_partner_decide_who_answers(tmp_path, margin, partner, best):
    """One candidate finds a bright square, as it is labelled, the other half of the noise around it too."""
    voxels = np.random.default_rng(0).random((16, 16, 6)).astype(np.float32) * 20
    voxels[4:12, 5:12] += 80
    save(tmp_path / "image.nii.gz", voxels, np.diag([4.0, 4.0, 6.0, 1.0]))
    item = {"domain": "t1", "subject": "a", "image": str(tmp_path / "image.nii.gz")}
    dataset = SliceDataset([item], ["t1"], 16, 4.0)
    found = (torch.stack([one["image"] for one in dataset])[:, 0] > 0).numpy().astype(np.uint8)
    shapes = write_shapes([Known(found)], [1], 4.0, tmp_path / "shapes.json")
    paths = {
        name: str(export_model(above(level), tmp_path / f"{name}.pt"))
        for name, level in (("noise", -0.8), ("square", 0.0))
    }
    labels, out = {0: "background", 1: "square"}, tmp_path / "out"
    settings = {"margin": margin, "partner": partner, "progress": False}
    given = (paths, above(0.0), dataset, labels, 4.0, [str(shapes)], out, out / "model.pt")
    assert choose(*given, **settings) == best


def test_probabilities_of_a_candidate_are_not_kept(tmp_path, monkeypatch):
    kept = []

    def stop(opinions, *_):
        kept.extend(opinions.values())
        raise InterruptedError

    monkeypatch.setattr(client_choice, "verdicts", stop)
    given = square_and(tmp_path, 0.0)
    with pytest.raises(InterruptedError):
        choose(*given, margin=None, partner=None, progress=False)
    assert all(one.probabilities.untyped_storage().nbytes() == 0 for one in kept) and kept


def square_and(tmp_path, level: float) -> tuple:
    """Arguments of a choice between what finds a bright square and what finds all that is brighter than a level."""
    voxels = np.random.default_rng(0).random((16, 16, 6)).astype(np.float32) * 20
    voxels[4:12, 5:12] += 80
    save(tmp_path / "image.nii.gz", voxels, np.diag([4.0, 4.0, 6.0, 1.0]))
    item = {"domain": "t1", "subject": "a", "image": str(tmp_path / "image.nii.gz")}
    paths = {
        name: str(export_model(above(each), tmp_path / f"{name}.pt"))
        for name, each in (("other", level), ("square", 0.0))
    }
    dataset, out = SliceDataset([item], ["t1"], 16, 4.0), tmp_path / "out"
    return paths, above(0.0), dataset, {0: "background", 1: "square"}, 4.0, [], out, out / "model.pt"


def test_without_shapes_edges_alone_choose(tmp_path):
    given = square_and(tmp_path, level=-0.8)
    assert choose(*given, margin=None, partner=None, progress=False) == ("square",)
    record = read_record(tmp_path / "out/choice.json", "")
    assert record["margin"] is None and record["doubtful"] is True
    assert record["rule"] == "the one whose borders lie on the clearest edges wins"
    assert record["reason"].startswith(
        "labelled patients show another organ, whose shapes say nothing of this one: look"
    )
    assert all(verdict["plausible"] for verdict in record["candidates"].values())
    with pytest.raises(InputError, match="expected at least one file of shapes"):
        choose(*given, margin=0.5, progress=False)


@pytest.mark.parametrize(("level", "best"), [(0.1, 2), (-0.8, 1)])
def test_two_that_find_different_things_do_not_answer_together(tmp_path, level, best):
    given = square_and(tmp_path, level)
    found = choose(*given, margin=None, partner=1e-6, progress=False)
    reason = read_record(tmp_path / "out/choice.json", "")["reason"]
    assert len(found) == best
    assert ("finds something else (Dice" in reason) == (best == 1)
    assert ("so that both answer together" in reason) == (best == 2)


def test_candidates_of_another_training_are_not_chosen_among(tmp_path):
    save(
        tmp_path / "image.nii.gz", np.random.default_rng(0).random((16, 16, 3)).astype(np.float32), np.eye(4)
    )
    item = {"domain": "t1", "subject": "a", "image": str(tmp_path / "image.nii.gz")}
    labels = {0: "background", 1: "square"}
    shapes = write_shapes([Known(np.ones((3, 16, 16), np.uint8))], [1], 4.0, tmp_path / "shapes.json")
    path = export_model(above(0.0), tmp_path / "a.pt", {"domains": ["t2"], "labels": labels, "spacing": 6.0})
    given = ({"a": str(path)}, above(0.0), SliceDataset([item], ["t1"], 16, 4.0), labels, 4.0, [str(shapes)])
    settings = {"labels": labels, "spacing": 4.0}
    with pytest.raises(InputError, match=r"a\.pt: trained with spacing 6\.0, but this config has 4\.0"):
        choose(*given, tmp_path / "out", tmp_path / "out/model.pt", settings=settings, progress=False)
    assert not (tmp_path / "out").exists()


def test_the_record_states_the_rule_and_whether_candidates_disagree(tmp_path):
    found = {"plain": Verdict(0.2, 1.0, 0.9, 0.5), "adapted": Verdict(0.3, 0.9, 0.9, 0.9)}
    write_choice(tmp_path, found, ["plain", "adapted"], margin=0.4, partner=0.7)
    record = read_record(tmp_path / "choice.json", "")
    assert (record["margin"], record["partner"], record["disagree"], record["doubtful"]) == (
        0.4,
        0.7,
        True,
        False,
    )
    assert "more than 0.4 deviations less plausible" in record["rule"]
    assert "where its edges are at least 0.7 times as clear and both find the same" in record["rule"]
    assert rule(0.4, None).endswith("clearest edges wins")


def test_a_record_names_the_chosen():
    assert chosen_names({"chosen": ["a", "b"]}, "choice.json") == ["a", "b"]


@pytest.mark.parametrize("stated", [None, [], [1], {"a": 1}, "a"])
def test_a_record_that_names_nobody_is_refused(stated):
    with pytest.raises(InputError, match=r"choice\.json: 'chosen' expected a list of candidates, found"):
        chosen_names({"chosen": stated}, "choice.json")
