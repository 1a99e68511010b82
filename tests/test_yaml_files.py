from __future__ import annotations

import datetime
import time

import pytest
import yaml

from shared_components.errors import InputError
from shared_components.yaml_files import MOST_VALUES, read_configs, read_values, read_yaml


def write(folder, text, name="f.yaml"):
    path = folder / name
    path.write_bytes(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a: 1\nb: [x, 2.5, true, null]\n", {"a": 1, "b": ["x", 2.5, True, None]}),
        ("\ufeffday: 2024-01-31\n'größe': \"a\\tb\"\n", {"day": datetime.date(2024, 1, 31), "größe": "a\tb"}),
        ("base: &b {x: 1, y: 2}\nnew: {<<: *b, y: 3}\n", {"base": {"x": 1, "y": 2}, "new": {"x": 1, "y": 3}}),
        ("", None),
        ("- 1\n- - 2\n", [1, [2]]),
    ],
)
def test_what_yaml_holds(tmp_path, text, values):
    assert read_yaml(write(tmp_path, text)) == values
    assert values == yaml.safe_load(text.lstrip("\ufeff"))


def test_json_by_its_name(tmp_path):
    assert read_yaml(write(tmp_path, '{\n\t"a": [1, {"b": null}]}', "f.json")) == {"a": [1, {"b": None}]}
    with pytest.raises(InputError, match="key 'a' stands twice"):
        read_yaml(write(tmp_path, '{"a": 1, "a": 2}', "f.json"))
    for deep in ('{"a": ' * 100 + "1" + "}" * 100, "[" * 100_000):
        with pytest.raises(InputError, match="more than 32 levels"):
            read_yaml(write(tmp_path, deep, "f.json"))


def aliases(levels, width):
    """A text of a few hundred letters that unfolds to ``width ** levels`` values."""
    rows = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}' if n else 'x'] * width)}]" for n in range(levels)]
    return "\n".join(rows)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2\n", "line 2: key 'a' stands twice; take one of them out"),
        ("x: {1: a, 1: b}\n", "line 1: key 1 stands twice"),
        ("x: {1: a, true: b}\n", "key True stands twice"),
        ("a: &a [*a]\n", r"line 1: '\*a' stands in what it is an alias of"),
        ("a: &a {b: {c: *a}}\n", r"'\*a' stands in"),
        (aliases(9, 9), f"more than {MOST_VALUES} values, with each alias written out"),
        ("a: &a {x: 1}\n" + "\n".join(f"b{n}: {{<<: [*a, *a]}}" for n in range(9000)), "more than"),
        ("[" * 40 + "]" * 40, "line 1: more than 32 levels"),
        ("{a: " * 5000, "more than 32 levels"),
        ("\n".join(" " * n + f"a{n}:" for n in range(400)), "line 32: more than 32 levels"),
        ("a: !!python/object/apply:os.system ['true']\n", "tag tag:yaml.org,2002:python/.*; leave it out"),
        ("a: !!timestamp x\n", "tag tag:yaml.org,2002:timestamp"),
        ("a: !!int ''\n", "tag tag:yaml.org,2002:int"),
        ("a: 2001-13-45\n", "month must be in 1..12"),
        ("a: " + "9" * 5000, "digits"),
        ('a: "\\0"\n', r"control character in '\\x00'; leave it out"),
        ('a: "\\ud800"\n', "control character"),
        ("a: \x01\n", "special characters are not allowed"),
        ("? [1, 2]\n: b\n", "a list or a table as a key"),
        ("a: [1", "line 1: while parsing a flow sequence, expected ',' or ']'"),
        ("a: 1\n---\nb: 2\n", "a single document"),
        ("a: *b\n", "found undefined alias"),
        ("\ta: 1", "line 1: "),
        (b"\xff\xfe\x00a", "expected a YAML file in UTF-8, found other bytes"),
        (bytes(range(256)), "expected a YAML file in UTF-8"),
        (b"x" * (2**18 + 1), "expected a YAML file of at most 256 kB"),
    ],
)
def test_what_is_refused_in_one_line_at_once(tmp_path, text, message):
    start = time.process_time()
    with pytest.raises(InputError, match=message) as caught:
        read_yaml(write(tmp_path, text))
    assert time.process_time() - start < 5
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500
    assert str(caught.value).startswith(f"{tmp_path}")


def test_names_that_no_file_can_have(tmp_path):
    for name in ("gone.yaml", "x" * 5000, "a\0b", str(tmp_path)):
        with pytest.raises(InputError, match="expected a YAML file, found none; check the path"):
            read_yaml(name)


def test_values_are_key_value_lines(tmp_path):
    with pytest.raises(InputError, match=r"expected 'key: value' lines, found \[1\]"):
        read_values(write(tmp_path, "- 1"))
    assert read_values(write(tmp_path, "a: 1")) == {"a": 1}


def test_configs_are_merged_as_monai_merges_them(tmp_path):
    first = write(tmp_path, "a: {b: 1, c: 2}\nl: [1]\n", "1.yaml")
    second = write(tmp_path, "a::b: 3\n+l: [2]\nd: '@a::b'\n", "2.yaml")
    assert read_configs([first, second]) == {"a": {"b": 3, "c": 2}, "l": [1, 2], "d": "@a::b"}
    for text, message in (
        ("1: a", "expected ids as texts, found 1"),
        ("+l: 3", r"'\+l' does not fit"),
        ("x::y: 3", "'x::y' does not fit"),
    ):
        with pytest.raises(InputError, match=message):
            read_configs([first, write(tmp_path, text, "3.yaml")])
