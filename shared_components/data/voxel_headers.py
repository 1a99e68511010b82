"""Headers of MetaImage and NRRD: which files hold their voxels, and which headers ITK must not be given to read.

ITK hands a pattern of file names to C's ``printf`` as it stands, so that one other than ``slice%03d.raw`` reads and
writes memory. It follows any name that a header states to wherever it leads.
"""

from __future__ import annotations

import glob
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

from shared_components.data.faults import DEFLATE, Fault, ends_early

_METAIMAGE = (".mha", ".mhd")
_ENDINGS = (*_METAIMAGE, ".nrrd", ".nhdr")  # ITK takes these formats under no other
_META = re.compile(r"^[^\S\n]*ElementDataFile(?:[^\S\n]|[=:])+(.+)$", re.MULTILINE)
_NRRD = re.compile(r"^[ \t]*data ?file[ \t]*:[ \t]*(.+)$", re.IGNORECASE | re.MULTILINE)
_WITHIN = ("LOCAL", "Local", "local")  # what MetaImage calls voxels in the file itself
_PATTERN = re.compile(r"([^\s%]*)(%0?\d{0,2}d)([^\s%]*)((?:[ \t]+[+-]?\d+)*)[ \t]*")
_NUMBERS = re.compile(r"[ \t]+(\d{1,9})[ \t]+(\d{1,9})(?:[ \t]+([1-9]\d{0,8}))?(?:[ \t]+\d+)?")
_META_NUMBERS = re.compile(r"([ \t]+-?\d{1,9}([ \t]+-?\d{1,9}[ \t]+0*[1-9]\d{0,8}([ \t]+\d+)*)?)?")
"""A first one alone, or with a last one and a step: without that ITK divides by zero."""
_TAIL = re.compile(r"[^!-~]+$")  # of names, which MetaImage cuts off
_CONTROL = re.compile(r"[\0-\x08\n-\x1f\x7f]")  # at which names are cut, or which are passed over
_MOST_FILES = 100_000  # whose names are made of a pattern; of more those are looked for that are there
_HEADER = 2**20  # bytes of a header that are read
_FIELD = re.compile(r"^[^\S\n]*(\w+)[^\S\n]*[=:][^\S\n]*(\S.*)$", re.MULTILINE)
# bytes of a voxel, by what its type's name holds: the first that fits
_WIDTHS = (("char|int8", 1), ("short|int16", 2), ("long.?long|int64|double", 8), ("int|long|float", 4))
_TYPED = 8  # bytes of a number for one of its text, at most: a double may be a digit
_ENCODINGS = {"raw": 1, "hex": 1, **dict.fromkeys(("txt", "text", "ascii"), _TYPED)}
_ENCODINGS |= dict.fromkeys(("gz", "gzip"), DEFLATE)
_CURE = "correct the header or export the image again"


def is_voxel_header(path: Path) -> bool:
    """Whether a file is called as MetaImage or NRRD: its voxels may be in it or in others, whatever the ending."""
    return path.name.lower().endswith(_ENDINGS) and path.is_file()


def named_files(header: Path) -> list[Path]:
    """The files that a header names: one, a list, or a pattern such as ``slice%03d.raw 1 20 1``.

    Of several lines that name some each counts: readers differ in which of them they take.

    Raises:
        OSError: the header may not be read.
    """
    names: list[str] = []
    for name, meta, rest in _namings(_text(header)):
        if name.startswith("LIST"):
            names += _listed(rest, meta)
        elif _is_pattern(name, meta):
            names += _numbered(name, header.parent)
        elif not (meta and name in _WITHIN):
            names.append(name)
    return [header.parent / name for name in names]


def _listed(lines: str, meta: bool) -> list[str]:
    return [name for line in lines.split("\n") if (name := _TAIL.sub("", line) if meta else line)]


def header_faults(path: str | os.PathLike) -> Iterator[Fault]:
    """Why a MetaImage or NRRD is not to be read; none of a file of another kind.

    Raises:
        OSError: the header may not be read.
    """
    yield from naming_faults(path)
    path = Path(path)
    files = [path, *named_files(path)] if is_voxel_header(path) else []
    if files and all(map(os.path.isfile, files)):
        need, packed = _promised(path)
        size = sum(map(os.path.getsize, files))
        if need > size * packed:  # ITK would take the memory before it looks
            yield ends_early(path, size, need)


def naming_faults(path: str | os.PathLike) -> Iterator[Fault]:
    """Why a MetaImage's or NRRD's voxels cannot be said to be in some files; none of a file of another kind.

    Raises:
        OSError: the header may not be read.
    """
    path = Path(path)
    if is_voxel_header(path):
        yield from (Fault(str(path), fault, _CURE) for fault in _naming_faults(path))


def _promised(header: Path) -> tuple[int, int]:
    """Bytes of the voxels, 0 where they are not stated plainly, and how many times smaller their files may be."""
    text = _text(header)
    if header.name.lower().endswith(_METAIMAGE):
        stated = dict(_FIELD.findall(_META.split(text)[0]))
        sizes, kind = stated.get("DimSize", ""), stated.get("ElementType", "")
        sizes += f" {stated.get('ElementNumberOfChannels', 1)}"
        packed = DEFLATE if stated.get("CompressedData", "F")[0] in "Tt1" else 1
        packed = _TYPED if stated.get("BinaryData", "T")[0] in "Ff0" else packed
    else:
        head = re.split(r"\n\n|\r\r", text)[0].replace("\r", "\n")
        stated = {name.lower(): value for name, value in _FIELD.findall(head)}
        sizes, kind = stated.get("sizes", ""), stated.get("type", "")
        packed = _ENCODINGS.get(stated.get("encoding", "").strip().lower(), 0)
    width = next((count for names, count in _WIDTHS if re.search(names, kind.lower())), 0)
    if not (packed and re.fullmatch(r"[\d\s]+", sizes)):
        return 0, 1
    return math.prod(map(int, sizes.split())) * width, packed


def _naming_faults(header: Path) -> Iterator[str]:
    """What hides the voxels' files, or makes names of them that no one would write."""
    text = _text(header)
    if header.stat().st_size > _HEADER and not _ends(header, text):
        yield f"expected a header of at most {_HEADER} bytes, found a longer one"
    for name, meta, rest in _namings(text):
        listed = _listed(rest, meta) if name.startswith("LIST") else []
        odd = next(filter(_CONTROL.search, (name, *listed)), None)
        if odd is not None:
            yield f"its voxels' files: expected names, found control characters in {odd[:80]!r}"
        elif _is_pattern(name, meta) and not _is_plain(name, meta):
            yield f"its voxels' files: expected a pattern such as slice%03d.raw 1 20 1, found {name[:80]!r}"


def _ends(header: Path, text: str) -> bool:
    """Whether a header's end is in ``text``: an empty line of NRRD, of MetaImage the line that names the voxels."""
    if not header.name.lower().endswith(_METAIMAGE):
        return re.search(r"\n\n|\r\r", text) is not None
    return (found := _META.search(text)) is not None and not found[1].startswith("LIST")


def _text(header: Path) -> str:
    with header.open("rb") as opened:
        return opened.read(_HEADER).decode(errors="surrogateescape").replace("\r\n", "\n")


def _namings(text: str) -> Iterator[tuple[str, bool, str]]:
    """What a header names its voxels' files by, whether as MetaImage does, and the lines after it.

    A return alone ends a line of NRRD, and is a letter to MetaImage.
    """
    split = text.replace("\r", "\n")
    for lines, form in dict.fromkeys(((text, _META), (split, _META), (split, _NRRD))):
        for found in form.finditer(lines):
            meta = form is _META
            yield _TAIL.sub("", found[1]) if meta else found[1], meta, lines[found.end() :]


def _is_pattern(name: str, meta: bool) -> bool:
    """Whether ITK makes several names of one: of NRRD's only those with a ``%d``, others may have a ``%``."""
    return "%" in name if meta else re.search(r"%\d*d", name) is not None


def _is_plain(pattern: str, meta: bool) -> bool:
    parts = _PATTERN.fullmatch(pattern)
    return parts is not None and (not meta or _META_NUMBERS.fullmatch(parts[4]) is not None)


def _numbered(pattern: str, folder: Path) -> list[str]:
    """The names of a pattern's first, last and every how manieth number, or what is there where it states none."""
    parts = _PATTERN.fullmatch(pattern)
    if parts is None:  # which is one of the header's faults
        return []
    before, number, after, numbers = parts.groups()
    stated = _NUMBERS.fullmatch(numbers)
    first, last, step = stated.groups() if stated else (1, 0, 1)
    chosen = range(int(first), int(last) + 1, int(step or 1))
    if not 0 < len(chosen) <= _MOST_FILES:
        return sorted(glob.glob(f"{glob.escape(before)}*{glob.escape(after)}", root_dir=folder))
    return [f"{before}{number % each}{after}" for each in chosen]
