"""``dataset.json``: reading it, and every fault that shows without opening an image."""

from __future__ import annotations

import json
import os
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from shared_components.data.faults import Fault
from shared_components.errors import folder_name_fault, name_fault, nearest, printable, shown
from shared_components.files import path_fault, write_text

DATASET_FILE = "dataset.json"
SPLITS = ("training", "validation", "test")
ALL = "all"  # of these
_EXAMPLES = {  # of what must be there
    "name": '"name": "north"',
    "domain": '"domain": "t1"',
    "labels": '"labels": {"0": "background", "1": "brain"}',
    "training": '"training": [{"image": "images/s1.nii.gz", "label": "labels/s1.nii.gz"}]',
}
_LARGEST_FILE = 100_000_000  # bytes; a million images need fewer
_DIGITS = 4  # of a label value
_REQUIRED = tuple(_EXAMPLES)
_DESCRIPTIVE = (  # of the Decathlon format; read by nobody here
    "description",
    "reference",
    "licence",
    "license",
    "release",
    "tensorImageSize",
    "numTraining",
    "numValidation",
    "numTest",
)
_KNOWN = (*_REQUIRED, "ignore", "modality", "validation", "test", *_DESCRIPTIVE)
_LABELS_EXAMPLE = 'write it as {"0": "background", "1": "brain"}'
_OF_NNUNET = ("channel_names", "file_ending")
_WHOLE_EXAMPLE = f"{{{', '.join(_EXAMPLES.values())}}}"


def splits_of(split: str) -> tuple[str, ...]:
    """The lists that a name stands for: itself, or with ``all`` every one."""
    return SPLITS if split == ALL else (split,)


def read_description(root: str | os.PathLike) -> tuple[dict[str, Any], list[Fault]]:
    """Parse ``root/dataset.json`` and list the faults of its structure; see :mod:`.client_root` for its files.

    Returns:
        The content, empty if it cannot be parsed, and the faults.
    """
    file = Path(root) / DATASET_FILE
    content, fault = _parse(file)
    if fault is not None:
        return {}, [fault]
    if _is_of_nnunet(content):
        script = (
            f"python scripts/prepare_data.py make-datalist {shlex.quote(str(root))} --domain NAME --force"
        )
        cure = f"keep a copy of it under another name and write one of this project (in the repository: {script})"
        return {}, [Fault(str(file), "is nnU-Net's: it has neither 'domain' nor 'training'", cure)]
    return content, list(_structure(str(file), content))


def is_of_nnunet(root: str | os.PathLike) -> bool:
    """Whether ``root/dataset.json`` is what nnU-Net calls so: none of this project's."""
    return _is_of_nnunet(_parse(Path(root) / DATASET_FILE)[0])


def _is_of_nnunet(content: Mapping[str, Any]) -> bool:
    return any(key in content for key in _OF_NNUNET) and not any(
        key in content for key in ("domain", *SPLITS)
    )


def _parse(file: Path) -> tuple[dict[str, Any], Fault | None]:
    fault = path_fault(file.parent)
    if fault is not None:
        return {}, Fault(str(file.parent), fault, "correct the path of the data root")
    if not file.parent.is_dir():
        fault = "a file, expected a folder" if file.parent.exists() else "no such folder"
        return {}, Fault(str(file.parent), fault, "correct the path of the data root")
    if not file.is_file():
        folder = shlex.quote(str(file.parent))
        script = f"python scripts/prepare_data.py make-datalist {folder} --domain NAME"
        cure = f"write it, such as {_WHOLE_EXAMPLE} (in the repository: {script})"
        return {}, Fault(str(file), "no such file", cure)
    if file.stat().st_size > _LARGEST_FILE:
        fault = f"has {file.stat().st_size / 1e6:.0f} MB, expected a list of files"
        return {}, Fault(str(file), fault, f"write it as {_WHOLE_EXAMPLE}")
    repeated: list[str] = []

    def pairs(members: list[tuple[str, Any]]) -> dict[str, Any]:
        counts = Counter(name for name, _ in members)
        repeated.extend(name for name, count in counts.items() if count > 1)
        return dict(members)

    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"), object_pairs_hook=pairs)
    except json.JSONDecodeError as error:
        fault = f"not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        return {}, Fault(str(file), fault, "mend that place (often a missing or a spare comma or quote)")
    except UnicodeDecodeError:
        return {}, Fault(str(file), "not UTF-8 text", "save it with the encoding UTF-8")
    except RecursionError:
        return {}, Fault(str(file), "nested too deeply", f"write it as {_WHOLE_EXAMPLE}")
    except ValueError:  # Python reads no whole number of more than 4300 digits
        return {}, Fault(str(file), "holds a number of thousands of digits", "correct that number")
    except OSError as error:
        return {}, Fault(str(file), f"cannot be read ({error.strerror})", "correct its permissions")
    if repeated:
        fault = f"has the key {repeated[0]!r} twice in one place"
        return {}, Fault(str(file), fault, "keep one of the two; readers would silently take the last")
    if not isinstance(content, dict):
        fault = f"expected an object {{…}}, found {type(content).__name__}"
        return {}, Fault(str(file), fault, f"write it as {_WHOLE_EXAMPLE}")
    return content, None


def _structure(file: str, content: dict[str, Any]) -> Iterator[Fault]:
    for key in content:
        if key not in _KNOWN:
            yield Fault(file, f"unknown key {shown(key)}", unknown_key_cure(key, _KNOWN))
    for key in _REQUIRED:
        if key not in content:
            yield Fault(file, f"has no {key!r}", f"add it, such as {_EXAMPLES[key]}")
    for key, fault_of in (("name", name_fault), ("domain", folder_name_fault)):
        if key in content and fault_of(content[key]):
            yield Fault(file, f"{key!r}: {fault_of(content[key])}", "write a short text")
    if "modality" in content and not _is_text_table(content["modality"]):
        yield Fault(file, "'modality': expected channel numbers to names", 'write it as {"0": "MRI"}')
    if "labels" in content:
        yield from _label_faults(file, content["labels"])
    if content.get("ignore") is not None:
        yield from _ignore_faults(file, content["ignore"], content.get("labels"))
    for split in SPLITS:
        if split in content and not isinstance(content[split], list):
            yield Fault(file, f"{split!r}: expected a list", f'write it as "{split}": [{{"image": "…"}}]')


def dataset_head(name: str, domain: str, modality: str, labels: Mapping[Any, str]) -> dict[str, Any]:
    """What a ``dataset.json`` says before its splits."""
    named = {str(value): text for value, text in labels.items()}
    return {"name": name, "domain": domain, "modality": {"0": modality}, "labels": named}


def write_dataset(root: str | os.PathLike, content: Mapping[str, Any]) -> Path:
    """Write ``dataset.json``, the last file of a data root."""
    return write_text(Path(root) / DATASET_FILE, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def unknown_key_cure(key: str, known: tuple[str, ...]) -> str:
    """What to do about a key that is none of those ``known``."""
    near = nearest(str(key).lower(), known)
    return f"did you mean {near!r}?" if near else f"remove it; known are {', '.join(known)}"


def _is_text_table(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


def _ignore_faults(file: str, ignore: Any, labels: Any) -> Iterator[Fault]:
    cure = 'write it as "ignore": 255, the value of voxels that nobody annotated, or leave it out'
    if not is_ignore_value(ignore):
        yield Fault(file, f"'ignore': expected one whole number, found {shown(ignore)}", cure)
    elif isinstance(labels, dict) and str(ignore) in labels:
        yield Fault(file, f"'ignore': {ignore} is also a class of 'labels'", cure)


def is_ignore_value(value: Any) -> bool:
    """Whether ``ignore`` is a whole number that a label map can hold."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**_DIGITS


def is_label_value(key: Any) -> bool:
    """Whether a key of ``labels`` is a whole number that a label map can hold."""
    return isinstance(key, str) and key.isascii() and key.isdecimal() and len(key) <= _DIGITS


def _label_faults(file: str, labels: Any) -> Iterator[Fault]:
    if not _is_text_table(labels) or not labels:
        yield Fault(file, "'labels': expected label values to class names", _LABELS_EXAMPLE)
        return
    if not all(map(is_label_value, labels)):
        wrong = next(value for value in labels if not is_label_value(value))
        yield Fault(file, f"'labels': expected whole numbers as keys, found {shown(wrong)}", _LABELS_EXAMPLE)
        return
    if sorted(map(int, labels)) != list(range(len(labels))):
        found = printable(", ".join(labels), 100)
        fault = f"'labels': expected the values 0 to {len(labels) - 1}, found {found}"
        yield Fault(file, fault, "number the classes 0, 1, 2, … without a gap, 0 for background")
    names = list(labels.values())
    for value, name in labels.items():
        if name_fault(name):
            yield Fault(file, f"'labels': {value}: {name_fault(name)}", "give each class a short name")
    if len(set(names)) < len(names):
        yield Fault(file, "'labels': two values have the same class name", "give each class its own name")
