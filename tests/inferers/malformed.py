"""A table of files that are no volumes, or not the ones that their headers promise: name to what writes it."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np

Writer = Callable[[Path], object]

VOXELS = (np.arange(16 * 14 * 5).reshape(16, 14, 5) % 251).astype(np.int16)
AFFINE = np.diag([2.0, 2.0, 5.0, 1.0])


def nifti(kind=nib.Nifti1Image, voxels: np.ndarray = VOXELS, affine: np.ndarray = AFFINE) -> bytearray:
    """The bytes of a sound ``.nii``."""
    image = kind(voxels, affine)
    image.header.set_xyzt_units("mm")
    return bytearray(image.to_bytes())


# offsets of the fields of a NIfTI-1 header
DIM, DATATYPE, PIXDIM, VOX_OFFSET, SLOPE, QFORM, QUATERN, SROW, MAGIC = (
    40, 70, 76, 108, 112, 252, 256, 280, 344,
)  # fmt: skip


def patched(*patches: tuple[int, str, float]) -> bytes:
    """The sound file with fields overwritten: offset, type, value."""
    content = nifti()
    for offset, kind, value in patches:
        struct.pack_into("<" + kind, content, offset, value)
    return bytes(content)


def by_qform(*patches: tuple[int, str, float]) -> bytes:
    """The same, placed by its quaternion and not by its affine."""
    return patched((QFORM, "h", 1), (QFORM + 2, "h", 0), *patches)


NAN, INF = float("nan"), float("inf")

HEADERS: dict[str, bytes] = {
    "magic": patched((MAGIC, "4s", b"abcd"), (0, "i", 99)),
    "no axes": patched((DIM, "h", 0)),
    "minus one axes": patched((DIM, "h", -1)),
    "eight axes": patched((DIM, "h", 8)),
    "a thousand axes": patched((DIM, "h", 1000)),
    "five axes": patched((DIM, "h", 5), (DIM + 10, "h", 3)),
    "seven axes": patched((DIM, "h", 7), (DIM + 14, "h", 2)),
    **{f"axis {i} empty": patched((DIM + 2 * i, "h", 0)) for i in (1, 2, 3)},
    **{f"axis {i} negative": patched((DIM + 2 * i, "h", -14)) for i in (1, 2, 3)},
    **{f"axis {i} longer than the data": patched((DIM + 2 * i, "h", 40)) for i in (1, 2, 3)},
    "axes of a terabyte": patched(
        *((DIM + 2 * i, "h", 12000) for i in (1, 2, 3)), *((SROW + 20 * i, "f", 0.01) for i in (0, 1, 2))
    ),
    "frames that are not there": patched((DIM, "h", 4), (DIM + 8, "h", 20)),
    **{f"type {code}": patched((DATATYPE, "h", code)) for code in (0, 1, 3, 999, -1)},
    "type of 64 bits": patched((DATATYPE, "h", 64)),
    **{
        f"voxel size {i} {value:g}": by_qform((PIXDIM + 4 * i, "f", value))
        for i in (1, 2, 3)
        for value in (0.0, NAN, INF, 1e6)
    },
    **{f"voxel size 1 of 1e-{n}": by_qform((PIXDIM + 4, "f", 10.0**-n)) for n in (8, 30)},
    **{f"offset {value:g}": patched((VOX_OFFSET, "f", value)) for value in (1e9, NAN, -352.0, 10.0)},
    "intercept infinite": patched((SLOPE, "f", 2.0), (SLOPE + 4, "f", INF)),
    "intercept NaN": patched((SLOPE, "f", 2.0), (SLOPE + 4, "f", NAN)),
    "quaternion too long": by_qform((QUATERN, "f", 3.0), (QUATERN + 4, "f", 3.0)),
    "quaternion NaN": by_qform((QUATERN, "f", NAN)),
    "qform offset NaN": by_qform((QUATERN + 12, "f", NAN)),
    **{
        f"affine row {row} column {column} {value:g}": patched((SROW + 16 * row + 4 * column, "f", value))
        for row, column, value in (
            (0, 0, NAN), (1, 1, NAN), (2, 2, NAN), (0, 3, NAN), (2, 3, INF), (1, 0, INF), (0, 0, 0.0),
            (1, 1, 0.0), (2, 2, 0.0), (0, 0, 1e6), (2, 2, -1e9),
        )
    },
    "affine all zero": patched(*((SROW + 4 * i, "f", 0.0) for i in range(12))),
    "affine flat": patched((SROW + 16, "f", 2.0), (SROW + 4, "f", 2.0)),
}  # fmt: skip


def voxels_of(value: float, share: slice, dtype: type = np.float32) -> bytes:
    voxels = VOXELS.astype(dtype)
    voxels.reshape(-1)[share] = value
    return bytes(nifti(voxels=voxels))


KINDS_OF_VOXELS: dict[str, bytes] = {
    "one voxel NaN": voxels_of(NAN, slice(5, 6)),
    "every voxel NaN": voxels_of(NAN, slice(None)),
    "one voxel infinite": voxels_of(INF, slice(-1, None), np.float64),
    "one voxel minus infinite": voxels_of(-INF, slice(0, 1)),
    "complex numbers": bytes(nifti(voxels=VOXELS.astype(np.complex64))),
    "complex numbers of 128 bits": bytes(nifti(voxels=VOXELS.astype(np.complex128))),
    "colours": bytes(nifti(voxels=np.zeros((8, 8, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")]))),
    "five axes in NIfTI-2": bytes(nifti(nib.Nifti2Image, np.zeros((6, 6, 2, 1, 3), np.uint8))),
    "affine NaN in NIfTI-2": bytes(nifti(nib.Nifti2Image)).replace(
        struct.pack("<4d", 2, 0, 0, 0), struct.pack("<4d", NAN, 0, 0, 0)
    ),
}


def _png() -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.new("L", (8, 8), 7).save(stream, "png")
    return stream.getvalue()


def _zip() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("volume.nii", bytes(nifti()))
    return stream.getvalue()


CONTENTS: dict[str, bytes] = {
    "text": b"hello, this is a note about the volume\n" * 20,
    "html": b"<!DOCTYPE html><html><body>404 not found</body></html>",
    "json": json.dumps({"image": "volume.nii.gz"}).encode(),
    "zeros": bytes(1000),
    "noise": np.random.default_rng(0).bytes(1000),
    "pickle": pickle.dumps({"voxels": [1, 2, 3]}),
    "picture": _png(),
    "archive": _zip(),
    "nothing": b"",
    "one byte": b"\x1f",
    "gzip of text": gzip.compress(b"hello" * 100),
    "gzip of nothing": gzip.compress(b""),
}
SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")


def nrrd(data: bytes = VOXELS.tobytes(order="F"), **fields: str) -> bytes:
    values = {
        "type": "int16", "dimension": "3", "space": "left-posterior-superior", "sizes": "16 14 5",
        "space directions": "(2,0,0) (0,2,0) (0,0,5)", "endian": "little", "encoding": "raw",
        "space origin": "(0,0,0)",
    } | {name.replace("_", " "): value for name, value in fields.items()}  # fmt: skip
    lines = [f"{name}: {value}" for name, value in values.items() if value]
    return ("NRRD0004\n" + "\n".join(lines) + "\n\n").encode() + data


def meta_image(data: bytes = VOXELS.tobytes(order="F"), **fields: str) -> bytes:
    values = {
        "ObjectType": "Image", "NDims": "3", "BinaryData": "True", "BinaryDataByteOrderMSB": "False",
        "DimSize": "16 14 5", "ElementSpacing": "2 2 5", "ElementType": "MET_SHORT", "ElementDataFile": "LOCAL",
    } | fields  # fmt: skip
    return "".join(f"{name} = {value}\n" for name, value in values.items() if value).encode() + data


OTHERS: dict[str, bytes] = {
    "cut short.nrrd": nrrd()[:-100],
    "without data.nrrd": nrrd(b""),
    "sizes too long.nrrd": nrrd(sizes="160 14 5"),
    "size of zero.nrrd": nrrd(sizes="0 14 5"),
    "too few sizes.nrrd": nrrd(sizes="16 14"),
    "no sizes.nrrd": nrrd(sizes=""),
    "unknown type.nrrd": nrrd(type="imaginary"),
    "no type.nrrd": nrrd(type=""),
    "unknown encoding.nrrd": nrrd(encoding="rot13"),
    "no encoding.nrrd": nrrd(encoding=""),
    "cut gzip.nrrd": nrrd(gzip.compress(VOXELS.tobytes())[:-300], encoding="gzip"),
    "directions of zero.nrrd": nrrd(space_directions="(0,0,0) (0,2,0) (0,0,5)"),
    "directions in a plane.nrrd": nrrd(space_directions="(2,0,0) (2,0,0) (0,0,5)"),
    "directions NaN.nrrd": nrrd(space_directions="(nan,0,0) (0,2,0) (0,0,5)"),
    "detached without data.nhdr": nrrd(b"", data_file="absent.raw"),
    "four axes.nrrd": nrrd(
        np.zeros((4, 4, 2, 3), np.int16).tobytes(), dimension="4", sizes="4 4 2 3",
        space_directions="(2,0,0) (0,2,0) (0,0,5) none",
    ),
    "header alone.nrrd": b"NRRD0004\n",
    "cut short.mha": meta_image()[:-100],
    "without data.mha": meta_image(b""),
    "sizes too long.mha": meta_image(DimSize="160 14 5"),
    "size of zero.mha": meta_image(DimSize="0 14 5"),
    "no sizes.mha": meta_image(DimSize=""),
    "unknown type.mha": meta_image(ElementType="MET_IMAGINARY"),
    "no data field.mha": meta_image(b"", ElementDataFile=""),
    "spacing of zero.mha": meta_image(ElementSpacing="0 2 5"),
    "spacing NaN.mha": meta_image(ElementSpacing="nan 2 5"),
    "detached without data.mhd": meta_image(b"", ElementDataFile="absent.raw"),
}  # fmt: skip

SERIES: dict[str, dict[str, bytes]] = {
    "text in a series": {"1.dcm": b"hello", "2.dcm": b"hello"},
    "empty files in a series": {"1.dcm": b"", "2.dcm": b""},
    "marks alone in a series": {"1.dcm": bytes(128) + b"DICM", "2.dcm": bytes(128) + b"DICM"},
    "noise after the mark": {"1.dcm": bytes(128) + b"DICM" + np.random.default_rng(1).bytes(500)},
    "nameless mark": {"IM0001": bytes(128) + b"DICM"},
}


def _cut() -> Iterator[tuple[str, bytes]]:
    whole, packed = bytes(nifti()), gzip.compress(bytes(nifti()), mtime=0)
    for length in (1, 4, 40, 347, 348, 352, 400, len(whole) // 2, len(whole) - 1):
        yield f"cut at {length} bytes.nii", whole[:length]
        yield f"packed after {length} bytes.nii.gz", gzip.compress(whole[:length])
    for length in (2, 3, 9, 10, 11, 30, 100, len(packed) // 2, len(packed) - 60):
        yield f"cut at {length} bytes.nii.gz", packed[:length]
    yield "wrong checksum.nii.gz", packed[:-8] + bytes(4) + packed[-4:]
    plain = gzip.compress(whole, compresslevel=0)  # where a byte may change without the stream's notice
    yield "a byte changed.nii.gz", plain[:-40] + bytes([plain[-40] ^ 1]) + plain[-39:]
    yield "gzip twice.nii.gz", gzip.compress(packed)
    yield "not gzip.nii.gz.nii.gz", whole[:300]
    yield "NIfTI-2 cut.nii", bytes(nifti(nib.Nifti2Image))[:539]


def _files() -> Iterator[tuple[str, bytes]]:
    yield from _cut()
    for name, content in (HEADERS | KINDS_OF_VOXELS).items():
        yield f"{name}.nii", content
        yield f"{name}.nii.gz", gzip.compress(content, 1)
    for name, content in CONTENTS.items():
        for suffix in SUFFIXES[:2] if name == "picture" else SUFFIXES:  # ITK reads pictures by any name
            yield f"{name}{suffix}", content
    yield from OTHERS.items()


def _links(path: Path, target: str) -> None:
    path.symlink_to(path.parent / target)


def _folder(path: Path, files: dict[str, bytes]) -> None:
    path.mkdir()
    for name, content in files.items():
        (path / name).write_bytes(content)


def malformed() -> dict[str, Writer]:
    """Names of files and folders, each with what writes it at a path."""
    table: dict[str, Writer] = {
        name: partial(lambda content, path: path.write_bytes(content), content) for name, content in _files()
    }
    for name, files in SERIES.items():
        table[name] = partial(lambda files, path: _folder(path, files), files)
    for suffix in SUFFIXES:
        table[f"folder{suffix}"] = partial(lambda path: _folder(path, {}))
        table[f"links to itself{suffix}"] = partial(
            lambda name, path: _links(path, name), f"links to itself{suffix}"
        )
    table["first of a ring.nii"] = lambda path: _links(path, "second of a ring.nii")
    table["second of a ring.nii"] = lambda path: _links(path, "first of a ring.nii")
    table["leads nowhere.nii.gz"] = lambda path: _links(path, "there is no such file")
    table["pipe.nii.gz"] = os.mkfifo
    return table
