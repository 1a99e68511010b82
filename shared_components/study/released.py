"""What of a stage's files may leave the site where it ran: this list alone, as one archive of plain files.

No image, no label and no prediction of any client is on it. Scores leave without the names of the volumes, which are
file names and may tell who a patient is.
"""

from __future__ import annotations

import functools
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from shared_components.choice.client_choice import RECORD as CHOICE
from shared_components.choice.client_choice import TABLE
from shared_components.errors import InputError, shown
from shared_components.files import inside, make_folder, remove_tree, write_atomically
from shared_components.records import read_table, write_table
from shared_components.study.settings import PREDICTIONS

MODEL = "model.pt"
METRICS = "metrics.csv"
SCORES = "scores.csv"
SHAPES = "shapes.json"
AUDIT = "audit.csv"
VOLUMES = r"[^/.][^/]*/(dataset\.json|[\w-]+/[\w.-]+\.nii\.gz)"  # of a data root for each domain
RELEASED: dict[str, tuple[str, ...]] = {  # name of a stage to the patterns of what may leave
    "source_model": (re.escape(MODEL), METRICS),
    "source_only": (re.escape(MODEL), METRICS),
    "source_mild": (re.escape(MODEL), METRICS),
    "shapes": (re.escape(SHAPES),),
    "synthetic": (VOLUMES,),
    "adaptation": (METRICS,),
    "self_trained": (METRICS,),
    "self_trained_near": (METRICS,),
    "self_trained_all": (METRICS,),
    "choice": (re.escape(CHOICE), re.escape(TABLE)),  # numbers of each candidate; its picture stays
    "generalisation": (re.escape(MODEL), METRICS),
    "audit": (re.escape(AUDIT),),  # numbers; its page and pictures, of real images, stay
}
EPOCH = (1980, 1, 1, 0, 0, 0)  # of every entry: the same files make the same archive
LARGEST = 8 * 2**30  # bytes of an archive's content


def _patterns_of(stage: str) -> tuple[str, ...]:
    """What may leave of a stage of that name: scores alone of one that segments, nothing of one that is not known."""
    return (re.escape(SCORES),) if stage.endswith(PREDICTIONS) else RELEASED.get(stage, ())


def may_leave(stage: str, path: str) -> bool:
    """Whether a file, relative to the stage's folder, may leave its site."""
    return any(re.fullmatch(pattern, path) for pattern in _patterns_of(stage))


def carries(stage: str) -> bool:
    """Whether another site can go on with what leaves of a stage: a model, synthetic volumes or shapes of labels."""
    return any(may_leave(stage, path) for path in (MODEL, "domain/dataset.json", SHAPES))


def pack(stage: str, folder: Path, archive: Path, tables_alone: bool = False) -> list[str]:
    """Write what may leave of a stage into an archive.

    Args:
        stage: its name.
        folder: its folder; links in it are not followed.
        archive: the file to write.
        tables_alone: leave out models and volumes, which nobody else needs.
    Returns:
        What is in it, relative to the folder.
    """
    found = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    names = [path.relative_to(folder).as_posix() for path in found]
    names = [name for name in names if may_leave(stage, name) and _inside_itself(folder, name)]
    names = [name for name in names if not tables_alone or name.endswith((".csv", CHOICE))]
    write_atomically(archive, lambda place: _write(place, folder, names))
    return names


def _inside_itself(folder: Path, name: str) -> bool:
    """Whether no folder on the way to a file is a link."""
    return not any(
        (folder / parent).is_symlink() for parent in PurePosixPath(name).parents if str(parent) != "."
    )


def _write(place: Path, folder: Path, names: Sequence[str]) -> None:
    with zipfile.ZipFile(place, "w", zipfile.ZIP_STORED) as archive:
        for name in names:
            file = folder / name
            content = _without_names(file) if name == SCORES else file.read_bytes()
            archive.writestr(zipfile.ZipInfo(name, EPOCH), content)


def _without_names(scores: Path) -> bytes:
    """A table of scores with numbers in the place of the volumes' names."""
    rows = read_table(scores, "evaluate again")
    numbers = {
        name: f"volume {place}" for place, name in enumerate(dict.fromkeys(r["case"] for r in rows), 1)
    }
    renamed = [{**row, "case": numbers[row["case"]]} for row in rows]
    with tempfile.TemporaryDirectory() as folder:
        return write_table(Path(folder) / SCORES, list(rows[0]) if rows else ["case"], renamed).read_bytes()


def unpack(stage: str, archive: Path, folder: Path) -> list[str]:
    """Put what has come from a site where the stage's folder lies here; whatever was there goes.

    Args:
        stage: its name.
        archive: the file that came.
        folder: the stage's folder here.
    Returns:
        What was in it, relative to the folder.
    Raises:
        InputError: it is damaged, or holds a link, a path that leads elsewhere, or what may not leave a site.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = list(_checked(stage, opened, folder))
            remove_tree(folder)
            make_folder(folder)
            for entry, place in entries:
                write_atomically(place, functools.partial(_copy, opened, entry))
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise InputError(f"{archive.name}: is no archive that can be read: {error}") from error
    return [entry.filename for entry, _ in entries]


def _copy(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, place: Path) -> None:
    with archive.open(entry) as content, place.open("wb") as file:
        shutil.copyfileobj(content, file)


def _checked(stage: str, archive: zipfile.ZipFile, folder: Path) -> Iterator[tuple[zipfile.ZipInfo, Path]]:
    if sum(entry.file_size for entry in archive.infolist()) > LARGEST:
        raise InputError(f"{stage}: what it released is larger than {LARGEST >> 30} GiB")
    for entry in archive.infolist():
        mode = entry.external_attr >> 16
        if mode & 0o170000 not in (0, 0o100000) or not may_leave(stage, entry.filename):
            raise InputError(f"{stage}: {shown(entry.filename)} is nothing that may leave a site")
        if entry.compress_type != zipfile.ZIP_STORED:
            raise InputError(
                f"{stage}: expected {shown(entry.filename)} as it is, found it compressed; let its site send it again"
            )
        yield entry, inside(folder, entry.filename)
    if sum(entry.file_size for entry in archive.infolist()) > Path(str(archive.filename)).stat().st_size:
        raise InputError(f"{stage}: what it released is larger than its archive; let its site send it again")
