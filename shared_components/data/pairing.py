"""Which files of a folder are images, which label map belongs to which image, and what each subject is called."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from shared_components.data.image_files import image_paths, refuse_irregular, unread_volumes
from shared_components.data.names import IMAGE_SUFFIXES, is_visit, names_sequence, subject_name
from shared_components.errors import InputError, shown

_LAYOUTS = (  # images, labels (any of several names), images of the test split, their labels; in lower case
    ("imagestr", ("labelstr",), "imagests", ("labelsts",)),
    ("images", ("labels", "masks", "segmentations"), None, ()),
)
_LABEL_FOLDERS = (
    "label", "labels", "mask", "masks", "seg", "segmentation", "segmentations", "annotations", "gt",
)  # fmt: skip
_WORD = (  # _dseg is BIDS's, _gmseg and -manual are the Spinal Cord Toolbox's
    "(?:(?:d|gm|wm|csf|soft)?seg|segmentation|segmentierung|labels?|masks?|maske|gt|annotation|ground_?truth|manual)"
)
_LABEL_ENDING = re.compile(rf"(?:^|[ _.-]+){_WORD}(?:-[a-z0-9]+)?$", re.IGNORECASE)  # BIDS: _seg-manual
_LABEL_BEGINNING = re.compile(rf"^{_WORD}(?:[ _.-]+|(?=\d))", re.IGNORECASE)  # mask_01, seg01
_CHANNEL_ENDING = re.compile(r"_(\d{4})$")
_MOST_CHANNELS = 4  # of a folder's only subject; more images are as many subjects
_SAY_WHICH = (
    "say which files are images with --images (such as '*_t2.nii.gz'), which are label maps with --label_maps"
)


@dataclass(frozen=True)
class Pair:
    """An image and its label map, if any; of these in folders, what the subject is called.

    Attributes:
        subject: the image's name without ending and channel, or that of its folders.
        image: the image's path.
        label: the label map's.
        held_out: whether the folder's layout keeps it for testing.
        by_folder: whether ``subject`` is the name of folders, since others have an image of the same name.
        channel: whether the image's name ends in nnU-Net's channel.
    """

    subject: str
    image: Path
    label: Path | None = None
    held_out: bool = False
    by_folder: bool = False
    channel: bool = False


def name_parts(image: str | os.PathLike, channels: bool) -> tuple[str, ...]:
    """Folders and name of an image's path, the name without ending, and without channel where it has one."""
    # umlauts have two spellings, and a Mac's is another than that of most programs
    *folders, name = (unicodedata.normalize("NFC", part) for part in Path(image).parts or (".",))
    stem = subject_name(name)
    return *folders, _CHANNEL_ENDING.sub("", stem) if channels else stem


@dataclass(frozen=True)
class _File:
    """A file, the folders between the layout's own and it, and its name without ending and channel."""

    path: Path
    folders: tuple[str, ...]
    stem: str
    held_out: bool = False
    channel: bool = False

    @classmethod
    def of(cls, path: Path, tree: Path, held_out: bool = False) -> _File:
        """The file ``path`` of the layout's folder ``tree``, four digits at the end of its name being part of it."""
        *folders, stem = name_parts(path.relative_to(tree), channels=False)
        return cls(path, tuple(folders), stem, held_out)

    @property
    def without_channel(self) -> _File:
        """The same, four digits at the end of its name being nnU-Net's channel."""
        stem = _CHANNEL_ENDING.sub("", self.stem)
        return replace(self, stem=stem, channel=stem != self.stem)

    def is_label_map(self) -> bool:
        """Whether a file of a folder for images and label maps is one of the latter, by its name or its folder's."""
        named = self.plain != self.stem or self.path.name.lower().endswith(".seg.nrrd")  # Slicer's
        return named or any(name.lower() in _LABEL_FOLDERS for name in self.folders)

    @property
    def plain(self) -> str:
        """A label map's name without the word that says so."""
        return _LABEL_BEGINNING.sub("", _LABEL_ENDING.sub("", self.stem))

    @property
    def names(self) -> set[str]:
        """A label map's name, with and without the word that says so, and those of its folders."""
        return {*self.folders, self.stem, self.plain}


def find_pairs(root: Path, images: str | None = None, label_maps: str | None = None) -> list[Pair]:
    """Images of a folder with their label maps, by file name, in order of subjects.

    Three layouts are known: ``images/`` and ``labels/`` (or ``masks/``, ``segmentations/``; without any of these
    ``gt/``, ``seg/`` and the like); ``imagesTr/``, ``labelsTr/``, ``imagesTs/`` and ``labelsTs/`` (Decathlon, nnU-Net;
    the last two are held out for testing);
    any other folder, searched with its subfolders, where label maps end in ``_seg``, ``_label`` or ``_mask``
    (``s01.nii.gz``, ``s01_seg.nii.gz``), are called so (``s01/t2.nii.gz``, ``s01/seg.nii.gz``) or lie in folders
    called so (BIDS's ``derivatives/labels``). A folder with DICOM files is one image. nnU-Net's ``_0000`` at the end
    of image names is passed over; four digits that number subjects are part of their names.

    A label map belongs to the image of its name; where names do not tell, to the one image of its folder. A subject
    is called as its image, or where several images have one name, as the first folders that tell them apart.

    Args:
        root: the folder.
        images: pattern of the images' paths or names, such as ``*_t2.nii.gz``; ``None`` for all that are no label
            maps.
        label_maps: pattern of the label maps' paths or names; ``None`` for those that the layout says. Where both are
            given, the same text in the place of both patterns' ``*`` makes a pair.

    Raises:
        InputError: no images, a pattern that fits none, a label map without an image, two images of one subject,
            several images of a folder under the names of another folder's, a DICOM series that is no regular volume.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; name the folder that holds the images")
    found, maps = _files(root)
    channels = any(file.stem.endswith("_0000") for file in found)
    if label_maps is not None:
        maps = _fitting(root, _candidates(root, [*found, *maps], label_maps), "--label_maps", label_maps)
    taken = {file.path for file in maps}
    found = [file for file in found if file.path not in taken]
    if images is not None:
        found = _fitting(root, found, "--images", images)
    if not found:
        raise InputError(
            f"{root}: found no images (in images/, imagesTr/ or the folder itself) with one of the endings "
            f"{', '.join(IMAGE_SUFFIXES)}, nor folders of DICOM files{_unread_too(root)}"
        )
    if _have_channels(found, maps, channels, images is not None):
        found = [file.without_channel for file in found]
    told = _told_apart(root, found, images)
    owners = _by_stars(root, found, maps, images, label_maps) or _owners(root, found, maps)
    pairs = [
        Pair(name, file.path, owners.get(file.path), file.held_out, name != file.stem, file.channel)
        for name, file in sorted(zip(told, found, strict=True), key=lambda named: named[1].held_out)
    ]
    refuse_irregular(path for pair in pairs for path in (pair.image, pair.label))
    return pairs


def label_maps_in(root: Path) -> list[Path]:
    """The label maps of a folder by its layout; all that is in it where its names tell no label maps from images."""
    images, maps = _files(root)
    return [file.path for file in maps or images]


def _files(root: Path) -> tuple[list[_File], list[_File]]:
    """What are images and label maps by the folder's layout."""
    folders = {folder.name.lower(): folder for folder in sorted(root.iterdir()) if folder.is_dir()}
    for images, labels, test_images, test_labels in _LAYOUTS:
        if images in folders:
            found = _in_trees(folders, [images]) + _in_trees(folders, [test_images], held_out=True)
            usual = {*labels, *test_labels} & folders.keys()
            maps = _in_trees(folders, [*labels, *test_labels] if usual else _LABEL_FOLDERS)
            return (found, maps) if maps else _by_names(found)
    return _by_names([_File.of(path, root) for path in image_paths(root)])


def _by_names(files: Sequence[_File]) -> tuple[list[_File], list[_File]]:
    """Which of the files of one folder are images, and which are called as label maps."""
    return [f for f in files if not f.is_label_map()], [f for f in files if f.is_label_map()]


def _have_channels(images: Sequence[_File], maps: Sequence[_File], counted: bool, chosen: bool) -> bool:
    """Whether four digits at the end of images' names are nnU-Net's channels; else they number subjects.

    Label maps tell, whose names have no channel, unless several images of every subject are there and label maps are
    named after one of them. Without any, channels count from 0000, and a subject has few.

    Args:
        images: those that are meant.
        maps: all label maps.
        counted: whether any image of the folder ends in 0000.
        chosen: whether a pattern says which images are meant.
    """
    ending = {
        file.stem: _CHANNEL_ENDING.sub("", file.stem) for file in images if file.without_channel.channel
    }
    subjects = Counter(ending.values())
    labelled = {name for file in maps for name in (file.stem, file.plain)}
    if named := labelled & ending.keys():
        same = len(set(subjects.values())) == 1 and len(subjects) > 1
        return counted and same and len(ending) > len(subjects) and len({name[-4:] for name in named}) == 1
    if labelled & subjects.keys():
        return True
    alike = len({(file.folders, file.without_channel.stem) for file in images}) < len(images)
    few = len(subjects) > 1 or len(ending) <= _MOST_CHANNELS
    return bool(ending) and counted and few and not (chosen and alike)


def _in_trees(
    folders: Mapping[str, Path], names: Iterable[str | None], held_out: bool = False
) -> list[_File]:
    trees = [folders[name] for name in names if name in folders]
    return [_File.of(path, tree, held_out) for tree in trees for path in image_paths(tree)]


def _candidates(root: Path, files: Sequence[_File], pattern: str) -> Sequence[_File]:
    """What a pattern of label maps chooses from: the layout's files or, where it fits none, all below the folder."""
    if any(_stars(root, file, pattern) is not None for file in files):
        return files
    known = {file.path for file in files}
    return [*files, *(_File.of(path, root) for path in image_paths(root) if path not in known)]


def _fitting(root: Path, files: Sequence[_File], flag: str, pattern: str) -> list[_File]:
    found = [file for file in files if _stars(root, file, pattern) is not None]
    if not found:
        such = f", such as {files[0].path.relative_to(root)}" if files else ""
        raise InputError(
            f"{flag}: {shown(pattern)} fits none of {len(files)} files of {root}{such}; * stands for any letters, "
            "and the whole name or path must fit"
        )
    return found


def _stars(root: Path, file: _File, pattern: str) -> tuple[str, ...] | None:
    """What stands in the place of each ``*`` of a pattern; ``None`` where it fits neither path nor name."""
    expression = "".join({"*": "(.*)", "?": "."}.get(letter, re.escape(letter)) for letter in pattern)
    for text in (file.path.relative_to(root).as_posix(), file.path.name):
        if match := re.fullmatch(expression, text):
            return match.groups()
    return None


def _keys(images: Sequence[_File]) -> Iterator[list[tuple[str, ...]]]:
    """Ways to tell images apart: by their names, by the first folders that differ, by all, by folders and name."""
    yield [(image.stem,) for image in images]
    longest = max(len(image.folders) for image in images)
    differ = [i for i in range(longest) if len({image.folders[i : i + 1] for image in images}) > 1]
    for places in [differ[:depth] for depth in range(1, len(differ) + 1)] + [list(range(longest))]:
        yield [
            tuple(f for i in places for f in image.folders[i : i + 1]) or (image.stem,) for image in images
        ]
    yield [(*(f for i in differ for f in image.folders[i : i + 1]), image.stem) for image in images]


def _told_apart(root: Path, images: Sequence[_File], chosen: str | None) -> list[str]:
    """What each subject is called: the plainest way in which all have a name of their own."""
    *ways, last = _keys(images)
    for keys in ways:
        if len(set(keys)) == len(keys):
            return ["_".join(key) for key in keys]
    if chosen is not None and len(set(last)) == len(last):
        return ["_".join(key) for key in last]
    seen: dict[tuple[str, ...], _File] = {}
    for image, key in zip(images, last if len(set(last)) < len(last) else ways[-1], strict=True):
        if other := seen.get(key):
            raise InputError(
                f"{image.path}: a second image of {'_'.join(key)!r} beside {other.path}; give each subject one image, "
                f"under a name or in a folder of its own, or choose {_choice(root, images, other)}; which files are "
                "label maps, --label_maps says, such as --label_maps '*/lesion.nii.gz'"
            )
        seen[key] = image
    raise AssertionError("keys that are not unique have a second one")


def _choice(root: Path, images: Sequence[_File], image: _File) -> str:
    """How to choose images of which each subject has one: those of a folder, or those that are called as ``image``."""
    folders, stems = {each.folders for each in images}, {each.stem for each in images}
    visits = image.folders and all(is_visit(each.folders[-1]) for each in images if each.folders)
    if image.folders and (visits or len(folders) < len(stems)) and not any(map(names_sequence, stems)):
        folder = image.path.parent.relative_to(root).as_posix()
        return f"one of several folders with --images, such as --images '{folder}/*' (--images '*' takes all)"
    return (
        f"one of several with --images, such as --images '*{_kind(image)}' (of several sequences, each makes a data "
        "root, of a copy of its files in a folder of its own; --images '*' takes all)"
    )


def _kind(image: _File) -> str:
    """The end of an image's name that others of its kind have too: its channel, or all of it."""
    return (
        image.path.name.removeprefix(image.stem)
        if _CHANNEL_ENDING.search(subject_name(image.path))
        else image.path.name
    )


def _by_stars(
    root: Path, images: Sequence[_File], maps: Sequence[_File], chosen: str | None, label_maps: str | None
) -> dict[Path, Path]:
    """Image to label map where both patterns are given, and the same stands in the place of their stars; or nothing."""
    if chosen is None or label_maps is None:
        return {}
    by_text = {_stars(root, image, chosen): image.path for image in images}
    found = {by_text.get(_stars(root, file, label_maps)): file.path for file in maps}
    whole = len(by_text) == len(images) and len(found) == len(maps) and None not in found
    return {image: label for image, label in found.items() if image is not None} if whole else {}


def _owners(root: Path, images: Sequence[_File], maps: Sequence[_File]) -> dict[Path, Path]:
    """Image to label map, by the plainest way in which each label map has one image, and each image at most one."""
    for keys in _keys(images):
        owners = _holders(keys, [file.names for file in maps])
        one_each = all(len(own) == 1 for own in owners) and len({own[0] for own in owners}) == len(maps)
        if len(set(keys)) == len(keys) and one_each:
            return {images[own[0]].path: file.path for own, file in zip(owners, maps, strict=True)}
    raise InputError(f"{_unmatched({image.stem for image in images}, maps)}{_unread_too(root)}")


def _holders(keys: Sequence[tuple[str, ...]], maps: Sequence[set[str]]) -> list[list[int]]:
    """The places of the keys that have all their names among a label map's, for each label map."""
    places = defaultdict(list)
    for place, (first, *_) in enumerate(keys):
        places[first].append(place)
    return [
        [place for name in names for place in places.get(name, ()) if names.issuperset(keys[place])]
        for names in maps
    ]


def _unread_too(root: Path) -> str:
    """What to add to an error that may come of files that are not read; nothing where there are none."""
    text = unread_volumes(root)
    return f"; {text}" if text else ""


def _unmatched(stems: set[str], maps: Sequence[_File]) -> str:
    """Which label map stands alone, or beside another one, judged by names."""
    seen: dict[str, _File] = {}
    for file in maps:
        name = file.stem if file.stem in stems else file.plain
        if other := seen.get(name):
            return (
                f"{file.path}: a second label map of {name!r} beside {other.path}; keep one, put those of two "
                f"subjects and their images into folders named after the subject, or {_SAY_WHICH}"
            )
        seen[name] = file
    alone = [file for name, file in seen.items() if name not in stems] or list(maps)
    rest = f" (nor have {len(alone) - 1} more label maps)" if len(alone) > 1 else ""
    return (
        f"{alone[0].path}: no image is named {alone[0].plain or alone[0].stem!r}{rest}; name label maps as their "
        f"images are, put each into the folder of its one image, or {_SAY_WHICH}"
    )
