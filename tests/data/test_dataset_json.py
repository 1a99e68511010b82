"""Whatever stands in dataset.json, its faults come back as short lines that any terminal takes."""

from __future__ import annotations

import json

import pytest

from shared_components.data.check import check_client_root
from shared_components.data.client_root import ClientRoot
from shared_components.data.dataset_json import DATASET_FILE
from shared_components.errors import InputError

HALF = "\ud800"  # of a surrogate pair


@pytest.fixture
def only_line(data_root):
    """Write dataset.json, expect one fault of the check and of loading, return its line."""
    root, content = data_root

    def check(text: bytes | dict) -> str:
        raw = text if isinstance(text, bytes) else json.dumps(content | text).encode()
        (root / DATASET_FILE).write_bytes(raw)
        (fault,) = check_client_root(root)
        line = str(fault)
        assert line.isprintable() and len(line) < 1200
        with pytest.raises(InputError) as told:
            ClientRoot.load(root)
        assert str(told.value) == line
        return line.removeprefix(f"{root / DATASET_FILE}: ")

    return check


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"[" * 100_000, "nested too deeply; write it as {"),
        (b'{"a":' * 100_000, "nested too deeply; write it as {"),
        (b'{"name": ' + b"9" * 10_000 + b"}", "holds a number of thousands of digits; correct that number"),
        (json.dumps({"name": "north"}).encode("utf-16"), "not UTF-8 text; save it with the encoding UTF-8"),
    ],
)
def test_text_that_json_readers_stumble_over(only_line, text, line):
    assert only_line(text).startswith(line)


@pytest.mark.parametrize("key", ["name", "domain"])
@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (f"a{HALF}", "expected a name of letters that can be printed, found 'a\\ud800'; write a short text"),
        ("a\0b", "expected a name of letters that can be printed, found 'a\\x00b'; write a short text"),
        ("a\nb", "expected a name of letters that can be printed, found 'a\\nb'; write a short text"),
        ("x" * 300, "expected a name of at most 100 letters, found 300; write a short text"),
        (
            ["x"] * 100_000,
            "expected a name, found ['x', 'x', 'x', 'x', 'x', 'x', 'x', 'x', ...]; write a short text",
        ),
    ],
)
def test_names_that_cannot_name_files(only_line, key, value, fault):
    assert only_line({key: value}) == f"'{key}': {fault}"


def test_a_domain_with_a_folder_in_it(only_line):
    told = "'domain': expected a name without '/' and '\\', which is no '.' or '..', found {}; write a short text"
    for domain in ("../t2", "..", "a\\b"):
        assert only_line({"domain": domain}) == told.format(repr(domain))


def test_keys_of_odd_letters_and_lengths_are_shown_short(only_line):
    assert only_line({HALF: 1}).startswith("unknown key '\\ud800'; remove it; known are name, ")
    assert len(only_line({"k" * 100_000: 1})) < 400


@pytest.mark.parametrize("value", ["9" * 5000, "٢", "²", "-1", "10000", HALF])
def test_label_values_that_are_no_plain_numbers(only_line, value):
    line = only_line({"labels": {"0": "background", value: "brain"}})
    assert line.startswith("'labels': expected whole numbers as keys, found '")


def test_class_names_that_cannot_be_printed(only_line):
    line = only_line({"labels": {"0": "background", "1": HALF}})
    assert line == (
        "'labels': 1: expected a name of letters that can be printed, found '\\ud800'; give each class a short name"
    )


def test_a_hundred_thousand_labels_are_refused_at_once(only_line):
    labels = {str(value): f"class {value}" for value in range(100_000)}
    assert only_line({"labels": labels}).startswith("'labels': expected whole numbers as keys, found '10000'")
