"""What of a failure may leave a site."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared_components.data.dataset_json import dataset_head, write_dataset
from shared_components.errors import InputError
from shared_components.federation.nvflare.failures import WITHHELD, told_outside
from shared_components.federation.sites import note_failure

KIT = Path("/srv/kit")


@pytest.fixture
def root(tmp_path) -> str:
    """A data root whose files, folders, subjects and patients have names."""
    for name in ("images/SMITH_1954.nii.gz", "images/0042/ct.nii.gz"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    entries = [
        {"image": "images/SMITH_1954.nii.gz", "patient": "J. Smith"},
        {"image": "images/0042/ct.nii.gz", "subject": "Doe"},
    ]
    write_dataset(tmp_path, {**dataset_head("north", "t1", "MR", {0: "background"}), "training": entries})
    return str(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "SMITH_1954.nii.gz: could not be read",
        "smith_1954: two label maps",
        "subject Doe stands in two splits",
        "patient J. Smith stands in two splits",
        "0042 holds two series",
        "/mnt/pacs/x.nii: could not be read",
        "images/x.nii: could not be read",
        f"{KIT}/fedfoundry/tiny/predictions/SMITH_1954_seg.nii.gz: could not be written",
        "SMITH_1954_0000: no label map",
        "pred_0042: no label map",
        f"{KIT}/fedfoundry/tiny/predictions/J_Smith.nii.gz: could not be written",
    ],
)
def test_what_names_somebodys_data_is_withheld(root, text):
    assert told_outside(InputError(text), [KIT], [root]) == WITHHELD
    assert told_outside(ValueError(text), [KIT], [root]) == f"ValueError: {WITHHELD}"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("update 3: 'w' holds NaN\nor infinite values", "update 3: 'w' holds NaN or infinite values"),
        ("expected images and labels, found doed", "expected images and labels, found doed"),
        ("python scripts/federate.py join writes one", "python scripts/federate.py join writes one"),
        (f"{KIT}/fedfoundry/tiny/state.42.pt: no state", "state.42.pt: no state"),
        (f"{KIT}/fedfoundry/tiny/state.0042.pt: no state", "state.0042.pt: no state"),
    ],
)
def test_the_rest_is_told(root, text, told):
    assert told_outside(InputError(text), [KIT], [root]) == told


@pytest.mark.parametrize(
    "name", ["Li", "Mustermann  Max", "Müller\N{NO-BREAK SPACE}Anna", 'O\'Brien "Bob"', "Ö. L"]
)
def test_a_name_is_withheld_however_a_message_has_it(tmp_path, name):
    (tmp_path / "ct.nii.gz").touch()
    entry = {"image": "ct.nii.gz", "subject": name}
    write_dataset(tmp_path, {**dataset_head("north", "t1", "MR", {0: "background"}), "training": [entry]})
    misfit = f"{name}: expected slices of a size that the network takes, found others"
    for error in (
        InputError(misfit),
        KeyError(name),
        ValueError(f"{name}_seg: none"),
        InputError(repr([name])),
    ):
        assert told_outside(error, [], [str(tmp_path)]).endswith(WITHHELD)
    assert told_outside(KeyError([f"it's {name}", '"']), [], [str(tmp_path)]).endswith(WITHHELD)
    other = "a line on the Lille list: 2 clients found 'li' in it"
    assert told_outside(InputError(other), [], [str(tmp_path)]) == other


def test_a_number_of_a_message_is_no_subject(tmp_path):
    (tmp_path / "7.nii.gz").touch()
    entry = {"image": "7.nii.gz"}
    write_dataset(tmp_path, {**dataset_head("north", "t1", "MR", {0: "background"}), "training": [entry]})
    assert told_outside(InputError("round 7: no answer"), [], [str(tmp_path)]) == "round 7: no answer"


def test_all_of_it_is_noted_at_the_site(tmp_path):
    note_failure(tmp_path / "north", ValueError("SMITH"))
    assert "ValueError: SMITH" in (tmp_path / "north" / "error.txt").read_text()
