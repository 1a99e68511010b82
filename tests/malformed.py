"""Malformed federation files, ``dataset.json`` and override values, made by a grammar: the same for the same seed."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import yaml

LONG = "x" * 5000
JUNK = (  # in place of any value: of every kind, size and trick that a parser may stumble over
    *(None, True, False, 0, -1, 3, 10**30, -0.5, 1e308, float("nan"), float("inf"), float("-inf")),
    *(
        "",
        " ",
        "1e-3",
        "12",
        "no",
        "null",
        "nope",
        "../..",
        "/",
        "/dev/null",
        "/dev/zero",
        "~",
        ".",
        "a/b",
        "é" * 300,
    ),
    *(
        "$1 / 0",
        "$nope",
        "$(",
        "$'a' * 3",
        "@nope",
        "@seed::x",
        "@",
        "%nope",
        "%a.yaml::b",
        "$",
        "$[",
        "$@nope",
    ),
    *(LONG, "a\nb", "a\tb", "a\0b", "\ud800", "\u202e", "=1+1", "<b>", "{}", "[1, 2", "'", '"', "!!int"),
    *([], [[]], [None], [1, 2], ["a", ["b"]], {}, {"a": {"b": []}}, {"": 1}, {1: 2}, {None: 3}, [LONG] * 20),
    *({"_target_": "nope"}, {"_target_": "os.getpid", "_mode_": "x"}, {"_target_": 3}, {"_disabled_": True}),
)
NUMBERS = (
    0,
    -1,
    10**9,
    "0",
    "1e-3",
    "many",
    True,
    None,
    [],
    [1],
    {},
    float("nan"),
    float("inf"),
    "@nope",
    "$1 / 0",
)
BAD_OVERRIDES = {  # id: values that it may not have, of every kind
    "image_size": (*NUMBERS, 1, 36, 48.5, [48, 48]),
    "spacing": (0, -1, 1e-6, 1e6, "4", "@nope", [1, 2, 3], [0, 1], {}, True, float("nan")),
    "orientation": ("RAX", "RA", "RRR", "", 3, None, ["RAS"], "@nope", "$1 / 0"),
    "percentiles": ([99, 1], [1], [-1, 5], [0, 101], 5, "all", [1, "a"], {}),
    "positions": NUMBERS,
    "channels": ([], [0], [-8] * 4, [8] * 6, "8", 8, [8.5] * 4, [10**9] * 4, ["8"] * 4, None, {}),
    "discriminator_channels": ([], [8] * 6, "nope", [0] * 4),
    "z_dim": NUMBERS,
    "w_dim": NUMBERS,
    "mapping_layers": NUMBERS,
    "batch_size": NUMBERS,
    "generator_lr": (0, -1, "1e-3", "fast", None, [], float("nan"), float("inf"), 100, "@nope"),
    "r1_gamma": (-1, "a", None, float("nan")),
    "r1_every": NUMBERS,
    "style_mixing": (2, -1, "a", None),
    "ema_decay": (2, -1, "a", None),
    "growth": ({0: 5}, {3: 5}, {2: -1}, {"a": 1}, [2], 2, "none", {2: "5"}),
    "slices_per_volume": (0, -1, "all", 1.5, []),
    "min_foreground": (-1, 2, "a", None),
    "cache": ("ram", 3, None, [], {}),
    "quiet": ("yes", 1, None),
    "network": ("@nope", "$nope", 3, {"_target_": "nope"}, {"_target_": "torch.nn.Linear"}, []),
    "train::dataset": (None, 3, "@nope", [], {"_target_": "nope"}),
    "nope": (1,),
    "": (1,),
    "train::nope": (1,),
    "imports": (3, ["$import nope"], "nope"),
}


class Case(NamedTuple):
    """A malformed input: which kind, the bytes of its file, and what the grammar did, for messages."""

    kind: str
    content: bytes
    what: str


def cases(seed: int, federation: dict, dataset: dict, overridden: dict, count: int = 100) -> Iterator[Case]:
    """``count`` federation files, ``dataset.json`` and files of one wrong override each.

    Args:
        seed: of the choices.
        federation: content of a sound federation file.
        dataset: content of a sound ``dataset.json``.
        overridden: content of a sound federation file, whose ``overrides`` are extended.
        count: of each kind.
    """
    rng = random.Random(seed)
    for _ in range(count):
        yield Case("federation", *_spoilt(federation, rng, _yaml, _spoil_yaml))
    for _ in range(count):
        yield Case("dataset", *_spoilt(dataset, rng, _json, _spoil_text))
    wrong = [(key, value) for key, values in BAD_OVERRIDES.items() for value in values]
    for key, value in rng.sample(wrong, count):
        overrides = {**overridden["overrides"], key: value}
        yield Case(
            "overrides", _yaml({**overridden, "overrides": overrides}), f"{key!r}: {str(value)[:60]!r}"
        )


def _spoilt(
    content: dict, rng: random.Random, write: Callable[[Any], bytes], spoil: Callable
) -> tuple[bytes, str]:
    """The content with one to three values replaced, or its text spoilt."""
    if rng.random() < 0.4:
        return spoil(write(content), rng)
    changed, done = copy.deepcopy(content), []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        path = rng.choice([path for path in _paths(changed) if path])
        value = rng.choice(JUNK)
        action = _replace(changed, path, value, rng)
        done.append(f"{'/'.join(map(str, path))}: {action} {str(value)[:60]!r}")
    return write(changed), "; ".join(done)


def _paths(value: Any, at: tuple = ()) -> list[tuple]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(path for key, child in inner for path in _paths(child, (*at, key)))]


def _replace(content: Any, path: tuple, value: Any, rng: random.Random) -> str:
    *parents, last = path
    for key in parents:
        content = content[key]
    action = rng.choice(("value", "value", "value", "missing", "key", "more"))
    if action == "missing":
        del content[last]
    elif action == "key" and isinstance(content, dict):
        name = value if isinstance(value, str | int | float) else str(value)
        content[name] = content.pop(last)
    elif action == "more":
        content[last] = [content[last], value]
    else:
        content[last] = value
    return action


def _yaml(content: Any) -> bytes:
    return yaml.safe_dump(content, sort_keys=False).encode()


def _json(content: Any) -> bytes:
    return json.dumps(_text_keys(content)).encode()


def _text_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _text_keys(child) for key, child in value.items()}
    return [_text_keys(child) for child in value] if isinstance(value, list) else value


def _spoil_text(text: bytes, rng: random.Random) -> tuple[bytes, str]:
    """Bytes cut, doubled, overwritten or put in, nesting without end."""
    place = rng.randrange(len(text))
    end = min(len(text), place + rng.randrange(1, 40))
    noise = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 30)))
    ways = {
        "cut": text[:place] + text[end:],
        "ended": text[:place],
        "doubled": text[:end] + text[place:],
        "overwritten": text[:place] + noise + text[end:],
        "noise": noise,
        "empty": b"",
        "nested": text[:place] + b"[" * 5000,
        "nested tables": b'{"a":' * 5000,
        "long number": text[:place] + b"9" * 6000,
        "marks": text[:place]
        + rng.choice((b"\0", b"\xff", b"\xed\xa0\x80", b"\t", b"\r", b"\x85"))
        + text[place:],
        "large": text + b" " * 300_000 + b"x",
    }
    way = rng.choice(list(ways))
    return ways[way], f"text {way} at {place}"


def _spoil_yaml(text: bytes, rng: random.Random) -> tuple[bytes, str]:
    """The same, and what YAML has beside: aliases, tags, documents, repeated keys."""
    lines = text.splitlines(keepends=True)
    line = rng.randrange(len(lines))
    levels = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}' if n else 'x'] * 9)}]\n" for n in range(12)]
    ways = {
        "repeated line": b"".join([*lines[:line], lines[line], *lines[line:]]),
        "alias bomb": text + "".join(levels).encode(),
        "alias bomb as a value": "".join(levels).encode() + text.replace(b"rounds: 3", b"rounds: *l11"),
        "alias of itself": text.replace(b"rounds: 3", b"rounds: &r [*r]"),
        "merge of itself": text + b"study: &s {<<: *s}\n",
        "unknown alias": text.replace(b"rounds: 3", b"rounds: *nope"),
        "python object": text + b"study: !!python/object/apply:os.getpid []\n",
        "tag": text.replace(
            b"rounds: 3", rng.choice((b"rounds: !!int ''", b"rounds: !!timestamp x", b"rounds: !x"))
        ),
        "second document": text + b"---\na: 1\n",
        "bad date": text.replace(b"name: tiny", b"name: 2024-99-99"),
        "complex key": text + b"? [1, 2]\n: 3\n",
        "deep block": text + b"".join(b" " * n + b"k:\n" for n in range(300)),
    }
    way = rng.choice([*ways, "text"])
    return _spoil_text(text, rng) if way == "text" else (ways[way], f"yaml {way} at line {line}")
