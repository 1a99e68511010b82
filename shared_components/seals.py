"""Checksums that files carry within themselves, so that a flipped byte, or a file cut short, is noticed.

A text is sealed by the SHA-256 of itself with zeros in place of the digest; a table by a last column whose cells are
the CRC-32 of all that comes before them; an archive of ``torch.save`` by a digest in the comment that ends a zip file.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

BLANK = "0" * 64
CHECK = "check"
"""Name of a sealed table's last column."""

_TEXT_SEAL = re.compile(r'(?:\n# sha256: |,?\n *"sha256": ")([0-9a-f]{64})(?:\n|"\n\}\n)\Z')
_ROW_SEAL = re.compile(r"(.*?,)crc32:([0-9a-f]{8})\n", re.DOTALL)
_PREFIX = b"sha256:"
_ARCHIVE_SEAL = len(_PREFIX) + len(BLANK)
_END_OF_ZIP, _END_BYTES = b"PK\x05\x06", 22


def seal(text: str) -> str:
    """``text`` with its digest in place of the last ``BLANK``."""
    before, _, after = text.rpartition(BLANK)
    return before + hashlib.sha256(text.encode()).hexdigest() + after


def is_sealed(text: str) -> bool | None:
    """Whether a text has the digest that it carries; None for one that never carried any."""
    found = _TEXT_SEAL.search(text)
    if found is None:
        end = text[-120:]
        return False if "sha256" in end or re.search("[0-9a-f]{64}", end) else None
    start, stop = found.span(1)
    return seal(text[:start] + BLANK + text[stop:]) == text


def seal_rows(header: str, rows: Iterator[str]) -> str:
    """A CSV of the lines ``header`` and ``rows`` with a last column of checksums."""
    text = f"{header[:-1]},{CHECK}\n"
    lines, sum_ = [text], zlib.crc32(text.encode())
    for row in rows:
        sum_ = zlib.crc32(f"{row[:-1]},".encode(), sum_)
        lines.append(f"{row[:-1]},crc32:{sum_:08x}\n")
    return "".join(lines)


def has_sealed_rows(text: str) -> bool | None:
    """Whether every row of a CSV has the checksum that it carries; None for a table that never carried any."""
    header, end, rest = text.partition("\n")
    if not header.endswith(f",{CHECK}"):
        return False if "crc32:" in text else None
    sum_, place = zlib.crc32(f"{header}{end}".encode()), 0
    while place < len(rest):
        # to search for one instead would read a table without any again and again
        row = _ROW_SEAL.match(rest, place)
        if row is None:
            return False
        sum_ = zlib.crc32(row[1].encode(), sum_)
        if f"{sum_:08x}" != row[2]:
            return False
        place = row.end()
    return bool(end)


def seal_archive(archive: io.BytesIO) -> None:
    """Give a zip file its digest as its comment, where it is: states of hundreds of megabytes are not copied.

    Raises:
        ValueError: ``archive`` is no zip file, or has a comment.
    """
    archive.seek(max(0, archive.getbuffer().nbytes - _END_BYTES))
    end = archive.read()
    if end[:4] != _END_OF_ZIP or end[-2:] != b"\0\0":
        raise ValueError("expected a zip file without a comment")
    archive.seek(-2, os.SEEK_END)
    archive.write(struct.pack("<H", _ARCHIVE_SEAL))
    with archive.getbuffer() as content:
        digest = hashlib.sha256(content).hexdigest()
    archive.write(_PREFIX + digest.encode())


def archive_fault(path: Path) -> str | None:
    """What is wrong with a zip file of our own or of plain ``torch.save``; None: nothing, or it is no zip file.

    ``torch.load`` compares no checksum. Without our digest, the checksums that zip gives each tensor are compared, and
    nothing may follow the archive's end.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        start, size = file.read(4), file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _ARCHIVE_SEAL))
        end = file.read()
        if end.startswith(_PREFIX):
            file.seek(0)
            digest = hashlib.sha256()
            for place in range(0, size - _ARCHIVE_SEAL, 1 << 20):
                digest.update(file.read(min(1 << 20, size - _ARCHIVE_SEAL - place)))
            if digest.hexdigest().encode() != end[len(_PREFIX) :]:
                return "its checksum does not fit"
            return _broken_member(path, sealed=True)
        if start != b"PK\x03\x04":
            return None
    if end[-_END_BYTES:][:4] != _END_OF_ZIP or end[-2:] != b"\0\0":
        return "the archive's end is not that of a whole file"
    return _broken_member(path)


def _broken_member(path: Path, sealed: bool = False) -> str | None:
    """Also one that is compressed: ``torch.save`` compresses none, and a megabyte may be a gigabyte that way."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if not any(member.filename.endswith("/constants.pkl") for member in members):  # TorchScript's
                packed = [one.filename for one in members if one.compress_type != zipfile.ZIP_STORED]
                if packed:
                    return f"{packed[0]} is compressed"
                if sum(member.file_size for member in members) > path.stat().st_size:
                    return "its members are larger than itself"
            broken = None if sealed else archive.testzip()
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, struct.error, zlib.error) as error:
        return f"{error or type(error).__name__}"
    return None if broken is None else f"{broken} is damaged"
