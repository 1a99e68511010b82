from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from shared_components.errors import InputError
from shared_components.study_record import (
    ChoiceFiles,
    ClientPictures,
    MemberRecord,
    ModelMatrix,
    SegmentedTests,
    Sent,
    StudyRecord,
    TriedModel,
    VolumeCounts,
    read_study_record,
    write_study_record,
)
from tests.study_records import study_content, write_study


def whole(folder: Path) -> StudyRecord:
    """A record in which every kind of field has something."""
    write_study(folder, name="whole")
    south = MemberRecord("t2", "unlabelled", {"test": VolumeCounts(3, 2, 1)}, ("a", "b"), "", 3.5, {"f": 3.5})
    return replace(
        read_study_record(folder),
        clients={"south": south},
        models={"south": folder / "clients" / "south" / "choice" / "model.pt"},
        scores=(SegmentedTests("south", "ours", folder / "p", folder / "p" / "scores.csv"),),
        pictures={"south": ClientPictures(folder / "generated.png", real=Path("/elsewhere/real.png"))},
        privacy={"clip": 1.0, "noise": 8.0, "delta": 1e-5, "losses": False},
        matrix=ModelMatrix(("south",), (TriedModel("ours", {"south": folder / "scores.csv"}),)),
        choices={"south": ChoiceFiles(folder / "choice.json")},
        exchange=(Sent("north", "the server", "the model", 12),),
    )


def test_what_is_written_is_read_from_another_place_too(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    record = whole(first)
    write_study_record(first, record)
    assert read_study_record(first) == record
    first.rename(second)
    moved = read_study_record(second)
    assert moved.models == {"south": second / "clients" / "south" / "choice" / "model.pt"}
    assert moved.pictures["south"].real == Path("/elsewhere/real.png")
    assert moved.clients == record.clients and moved.privacy == record.privacy


def test_paths_are_relative_and_what_a_study_lacks_is_absent(tmp_path):
    write_study_record(tmp_path, whole(tmp_path))
    content = json.loads((tmp_path / "study.json").read_text(encoding="utf-8"))
    entry = {"client": "south", "method": "ours", "predictions": "p", "csv": "p/scores.csv"}
    assert content["scores"] == [entry] and content["labels"] == {"0": "background", "1": "brain"}
    assert {"generalisation", "failed", "unseen", "engine"}.isdisjoint(content)


def test_keys_of_other_versions_are_ignored(tmp_path):
    write_study(
        tmp_path, notes=["a remark"], clients={"a": {"domain": "t1", "role": "x", "subjects": {}, "y": 1}}
    )
    assert read_study_record(tmp_path).clients["a"].role == "x"


@pytest.mark.parametrize(
    ("key", "value", "fault"),
    [
        ("name", 3, "study.json: name: expected a text, found 3"),
        ("seed", True, "study.json: seed: expected a whole number, found True"),
        ("labels", {"one": "brain"}, "labels: expected whole numbers as names, found 'one'"),
        ("clients", [], "clients: expected names and values"),
        (
            "clients",
            {"south": {"domain": "t2", "subjects": {}}},
            "clients: south: expected 'role', found none",
        ),
        (
            "stages",
            [{"client": "a", "stage": "b", "seconds": "long"}],
            "stages: 1: seconds: expected a number",
        ),
        ("factory", None, "factory: expected a path, found None"),
        ("generalisation", 3, "generalisation: expected a path, found 3"),
        ("origins", "text", "origins: expected a list, found 'text'"),
        ("privacy", {"losses": "no"}, "privacy: losses: expected a number, found 'no'"),
    ],
)
def test_a_damaged_value_is_named_with_the_cure(tmp_path, key, value, fault):
    write_study(tmp_path, **{key: value})
    with pytest.raises(InputError) as caught:
        read_study_record(tmp_path)
    assert fault in str(caught.value)
    assert str(caught.value).endswith("; write it again with federate.py study FILE --resume")


def test_a_file_that_lacks_a_part_or_is_none_is_refused(tmp_path):
    with pytest.raises(
        InputError, match=r"study\.json: expected a finished study, found none; name its folder"
    ):
        read_study_record(tmp_path)
    content = study_content()
    del content["origins"]
    (tmp_path / "study.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"study\.json: expected 'origins', found none; write it again with"):
        read_study_record(tmp_path)
    (tmp_path / "study.json").write_text("[")
    with pytest.raises(InputError, match=r"study\.json: is damaged .*; write it again with"):
        read_study_record(tmp_path)
