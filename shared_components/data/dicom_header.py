"""Headers of DICOM files, with the sequences in which enhanced files state the place of each frame.

ITK decodes the pixels, but tells neither the sequences nor, of a series, more than one grid of its own making. Reading
a header here takes a fraction of a millisecond and needs no ITK.
"""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

PIXELS = 0x7FE00010
_TRANSFER_SYNTAX = 0x00020010
_BIG_ENDIAN, _IMPLICIT, _DEFLATED = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99"
_NATIVE = {_BIG_ENDIAN, _IMPLICIT, "1.2.840.10008.1.2.1"}
_LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
_SEQUENCES = {  # what implicit files do not mark as sequences: functional groups, what is read of them, detectors
    0x52009229, 0x52009230, 0x00209113, 0x00209116, 0x00289110, 0x00289145, 0x00540022,
}  # fmt: skip
_INFLATED = 2**26  # bytes of a deflated file that are looked at: the pixels come last
_LARGEST = 2**16  # bytes; no value that is read here is longer


class Header(dict):
    """Elements by tag (``0x00200032`` for (0020,0032)): bytes, or the items of a sequence, each a ``Header``."""

    endian = "<"

    def text(self, tag: int) -> str:
        """A value as text, empty where it is missing."""
        value = self.get(tag, b"")
        return value.decode("latin-1").strip(" \0") if isinstance(value, bytes) else ""

    def numbers(self, tag: int) -> tuple[float, ...]:
        """Decimal numbers, empty where they are missing.

        Raises:
            ValueError: no numbers.
        """
        text = self.text(tag)
        return tuple(float(part) for part in text.split("\\")) if text else ()

    def count(self, tag: int) -> int:
        """An unsigned 16-bit number, 0 where it is missing."""
        value = self.get(tag, b"")
        if not isinstance(value, bytes) or len(value) < 2:  # a broken file may hold a sequence there
            return 0
        return struct.unpack(self.endian + "H", value[:2])[0]

    def sequence(self, tag: int) -> list[Header]:
        """The items of a sequence, none where it is missing."""
        value = self.get(tag, [])
        return value if isinstance(value, list) else []


def packed_at_most(header: Header) -> int:
    """How many times larger the pixels of a file can be than the file: nothing but black packs best."""
    syntax = header.text(_TRANSFER_SYNTAX)
    return 1 if syntax in _NATIVE or not syntax else 2**16


def has_mark(file: Path) -> bool:
    """Whether a file begins as DICOM files do."""
    with file.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def read_header(file: Path) -> Header | None:
    """What stands before the pixels; ``None`` for a file that is not DICOM.

    Raises:
        EOFError: the file ends in its header.
        OSError: it may not be read.
    """
    with file.open("rb") as stream:
        start = stream.read(132)
        marked = start[128:] == b"DICM"
        # a file from before the mark was introduced begins with group 2 or 8
        if not marked and start[1:2] != b"\0":
            return None
        stream.seek(132 if marked else 0)
        try:
            header = _Reader(stream).header()
        except (struct.error, zlib.error, RecursionError) as error:
            if not marked:
                return None
            raise EOFError("the file ends in its header") from error
    if not header and marked:
        raise EOFError("the file ends after its first 132 bytes")
    return header or None


class _Reader:
    """One pass over a file."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.endian, self.explicit = "<", True
        at = stream.tell()
        first = stream.read(6)
        self.explicit = first[4:6].isalpha() and first[4:6].isupper()
        stream.seek(at)

    def header(self) -> Header:
        """The elements of group 2, which say how the rest is written, and the rest."""
        found = self._dataset(until_group=2)
        syntax = found.text(_TRANSFER_SYNTAX)
        if syntax == _DEFLATED:
            self.stream = io.BytesIO(
                zlib.decompressobj(-zlib.MAX_WBITS).decompress(self.stream.read(), _INFLATED)
            )
        self.endian = ">" if syntax == _BIG_ENDIAN else "<"
        if syntax:
            self.explicit = syntax != _IMPLICIT
        rest = self._dataset()
        rest.update(found)
        return rest

    def _dataset(self, end: int | None = None, until_group: int | None = None) -> Header:
        """Elements up to the place ``end``, to the end of an item, to the pixels, or out of a group."""
        found = Header()
        found.endian = self.endian
        while end is None or self.stream.tell() < end:
            at = self.stream.tell()
            start = self.stream.read(4)
            if not start and end is None:
                break
            group, element = struct.unpack(self.endian + "HH", start)
            tag = group << 16 | element
            if until_group is not None and group != until_group:
                self.stream.seek(at)
                break
            if tag == PIXELS:
                found[tag] = b""
                break
            if tag in (_ITEM_END, _SEQUENCE_END):
                self.stream.seek(4, io.SEEK_CUR)
                break
            found[tag] = self._value(tag)
        return found

    def _value(self, tag: int) -> bytes | list[Header]:
        kind, length = self._kind_and_length()
        if kind == b"SQ" or length == _UNDEFINED or (not self.explicit and tag in _SEQUENCES):
            return self._sequence(length, implicit=kind == b"UN")
        if length > _LARGEST:
            self.stream.seek(length, io.SEEK_CUR)
            return b""
        value = self.stream.read(length)
        if len(value) < length:
            raise struct.error("the file ends in an element")
        return value

    def _kind_and_length(self) -> tuple[bytes, int]:
        if not self.explicit:
            return b"", self._number()
        kind = self.stream.read(2)
        if kind in _LONG:
            self.stream.seek(2, io.SEEK_CUR)
            return kind, self._number()
        return kind, struct.unpack(self.endian + "H", self.stream.read(2))[0]

    def _number(self) -> int:
        return struct.unpack(self.endian + "I", self.stream.read(4))[0]

    def _sequence(self, length: int, implicit: bool) -> list[Header]:
        """The items of a sequence; one of an unknown kind is written implicitly whatever the file."""
        end = None if length == _UNDEFINED else self.stream.tell() + length
        was, self.explicit = self.explicit, self.explicit and not implicit
        items = []
        while end is None or self.stream.tell() < end:
            group, element = struct.unpack(self.endian + "HH", self.stream.read(4))
            size = self._number()
            if group << 16 | element != _ITEM:
                break
            items.append(self._dataset(None if size == _UNDEFINED else self.stream.tell() + size))
        self.explicit = was
        return items
