"""Factories that are trained here: on eight slices until it knows them by heart, and on ever new ones."""

from __future__ import annotations

import json

import pytest
import torch
from PIL import Image

from shared_components.audit.audit import audit_factory
from shared_components.audit.client_slices import client_slices, drawn_slices, mean_difference
from shared_components.audit.figures import read_figures
from shared_components.audit.page import is_flagged, sentence, tells_members
from shared_components.data import datalist
from shared_components.errors import InputError
from tests.audit.blobs import DEPTH, blobs, description, fit, small_generator, write_root

UPDATES = 200
SETTINGS = {"percentiles": (0, 100)}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_root(tmp_path_factory.mktemp("root") / "a", {"training": 2, "validation": 6, "test": 6})


def audited(generator, root, folder):
    return audit_factory(generator, description(generator), root, folder, **SETTINGS)["a"]


@pytest.fixture(scope="module")
def overfitted(root):
    """It has seen eight slices, two hundred times: one for each sign of a latent and quarter of the height."""
    own = client_slices(datalist(root, "training"), description(small_generator()), SETTINGS)

    def wanted(z, height):
        return own.images[(z[:, 0] > 0).long() * DEPTH + (height * DEPTH).long().clamp(max=DEPTH - 1)]

    return fit(small_generator(), wanted, UPDATES)


@pytest.fixture(scope="module")
def found(overfitted, root, tmp_path_factory):
    """Folder and figures of the overfitted factory's audit."""
    folder = tmp_path_factory.mktemp("overfitted")
    return folder, audited(overfitted, root, folder)


def test_an_overfitted_factory_is_flagged(found):
    figures = found[1]
    assert is_flagged(figures) and not tells_members(figures), "two volumes are too few to tell members"
    assert max(figures["memorised_image"].value, figures["memorised_features"].value) > 0.15
    nearer = figures["nearer_to_training_image"]
    assert figures["membership_image"].value > 0.95 and nearer.value > 0.9 and nearer.low > nearer.real == 0.5
    assert figures["nearest_distance_image"].value < figures["nearest_distance_image"].real
    assert "COPIES" in sentence(figures) and "Do not hand it on" in sentence(figures)


def test_an_honest_factory_is_not(root, tmp_path):
    figures = audited(fit(small_generator(), lambda z, height: blobs(z), UPDATES), root, tmp_path)
    assert not is_flagged(figures) and not tells_members(figures)
    assert "No sign of copies" in sentence(figures) and "weak evidence" in sentence(figures)


def test_its_files_are_numbers_a_page_and_a_picture_for_the_client(found):
    folder, figures = found
    assert sorted(file.name for file in folder.iterdir()) == ["audit.csv", "audit.md", "worst_pairs_0.png"]
    assert read_figures(folder / "audit.csv")["a"].keys() == figures.keys()
    page = (folder / "audit.md").read_text()
    assert page.splitlines()[0] == sentence(figures)
    assert "must not leave it" in page and "worst_pairs_0.png" in page
    assert Image.open(folder / "worst_pairs_0.png").size == ((3 * 17 - 1) * 3, (8 * 17 - 1) * 3)


def test_quality_stands_beside_its_floor(found):
    figures = found[1]
    assert figures["frechet"].value > figures["frechet"].real > 0
    assert figures["coverage"].value < figures["coverage"].real
    assert figures["training_slices"].value == 2 * DEPTH and figures["held_out_volumes"].value == 12
    assert figures["training_patients"].value == 2 and figures["held_out_patients"].value == 12
    assert figures["neighbour_difference"].value == pytest.approx(
        figures["neighbour_difference"].real, rel=0.3
    )


def test_volumes_of_one_patient_are_one_patient(overfitted, tmp_path):
    root = write_root(tmp_path / "root", {"training": 4, "test": 4})
    file = root / "dataset.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    for split in ("training", "test"):
        for number, entry in enumerate(content[split]):
            entry["patient"] = f"{split}{number % 2}"
    file.write_text(json.dumps(content), encoding="utf-8")
    figures = audited(overfitted, root, tmp_path / "out")
    assert figures["training_volumes"].value == 4 and figures["training_patients"].value == 2
    assert "may be the difference of two patients" in sentence(figures)


def test_without_held_out_volumes_nothing_is_claimed(overfitted, tmp_path):
    root = write_root(tmp_path / "root", {"training": 2})
    figures = audited(overfitted, root, tmp_path / "out")
    assert "memorised_image" not in figures and "frechet" not in figures
    assert "cannot be told" in sentence(figures) and not is_flagged(figures)
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["audit.csv", "audit.md"]


def test_without_training_images_there_is_nothing_to_audit(tmp_path):
    root, generator = write_root(tmp_path / "root", {"test": 2}), small_generator()
    with pytest.raises(InputError, match="expected training images"):
        audited(generator, root, tmp_path / "out")


def test_slices_are_drawn_at_real_heights_and_the_same_for_a_seed(overfitted):
    heights = torch.tensor([0.2, 0.7])
    at, drawn = drawn_slices(overfitted, 0, heights, 70, seed=3)
    assert drawn.shape == (70, 1, 16, 16) and set(at.tolist()) == set(heights.tolist())
    assert drawn.abs().max() <= 1
    assert torch.equal(drawn, drawn_slices(overfitted, 0, heights, 70, seed=3)[1])


def test_neighbours_are_slices_whose_numbers_follow_on_each_other():
    images = torch.tensor([0.0, 0.5, 0.7, 0.2])[:, None, None, None].expand(-1, 1, 4, 4)
    assert mean_difference([(images, [0, 1, 5, 6])]) == pytest.approx((0.5 + 0.5) / 2)
    assert mean_difference([(images[:2], [0, 1]), (images, [0, 1, 2, 3])]) == pytest.approx(1.7 / 4)
    assert torch.isnan(torch.tensor(mean_difference([(images, [0, 2, 4, 6])])))
