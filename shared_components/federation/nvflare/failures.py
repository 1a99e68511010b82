"""What of a failure may leave a site: not what names its files, folders or subjects."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from shared_components.errors import InputError, failure_line
from shared_components.federation.sites import ERROR_FILE

WITHHELD = f"its cause may name what stays at its site; it is in {ERROR_FILE} there"
SAME_EVERYWHERE = {"images", "labels"}  # names that tell of nobody
OURS = r"\bstate\.\d+\.pt|\bscripts/\w+\.(py|sh)"  # not looked at: a number may be a patient's as well
IMAGE = r"\.(nii|nrrd|nhdr|mh[ad]|np[yz]|hdr|img|gipl|dcm|ima|png|jpe?g|bmp|tiff?)\b"  # what is made is named alike
SHORTEST = 3  # letters, of a name that can tell of somebody without being a subject's or patient's


class Told(InputError):
    """A failure in words that may leave the site."""


def told_outside(error: BaseException, own: Sequence[Path], data_roots: Sequence[str] = ()) -> str:
    """A failure in one line, or where it may name what stays at the site, that it does.

    Paths in the site's ``own`` folders of this program are told by their last part, unless that is an image. Whatever
    then has a path in it, or the name of a file, a folder, a subject or a patient of the data, is withheld.

    Args:
        error: what went wrong.
        own: folders in which this program keeps runs, kits and jobs.
        data_roots: the site's data.
    """
    text = failure_line(error)
    for folder in own:
        text = re.sub(rf"{re.escape(str(folder))}(/[^\s:;,']*)*", _last_part, text)
    without = re.sub(OURS, "", text)
    if os.sep in without or any(_stands_in(name, without) for root in data_roots for name in _names(root)):
        return WITHHELD if isinstance(error, InputError) else f"{type(error).__name__}: {WITHHELD}"
    return text


def _last_part(path: re.Match) -> str:
    name = Path(path[0]).name
    return path[0] if re.search(IMAGE, name, re.IGNORECASE) else name


def _stands_in(name: str, text: str) -> bool:
    """Whether a name does, as a word or with something put to it, such as ``_seg``; a short one in its own letters.

    White space is that of a failure's line, and a name may stand there as a quotation has it, with escapes.
    """
    quoted = {name, name.replace("'", r"\'"), repr(name)[1:-1], ascii(name)[1:-1]}
    letter, case = (r"[A-Za-z0-9]", re.IGNORECASE) if len(name) >= SHORTEST else (r"[^\W_]", re.NOFLAG)
    words = (re.escape(" ".join(each.split())) for each in quoted if each.strip())
    return any(re.search(rf"(?<!{letter}){each}(?!{letter})", text, case) for each in words)


def _names(root: str) -> Iterator[str]:
    """What stands in a data root that may tell of somebody."""
    from shared_components.data.client_root import read_entries  # the room imports MONAI
    from shared_components.data.dataset_json import DATASET_FILE, read_description
    from shared_components.data.names import subject_name

    same = {*SAME_EVERYWHERE, DATASET_FILE}
    found, people = set[str](), set[str]()
    for _, folders, files in os.walk(root):
        found |= {*folders, *files, *map(subject_name, files)}
    for entry in read_entries(root, read_description(root)[0])[0]:
        people |= {entry.subject, *([entry.patient] if entry.patient else [])}
    long = {name for name in found | people if len(name) >= SHORTEST}
    short = {name for name in people if any(map(str.isalpha, name))}  # a short number is any number
    yield from (name for name in long | short if name.lower() not in same)
