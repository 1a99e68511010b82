"""A stage of a study: one run of a bundle's workflow at one client, how it is put together, and when it is done."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import monai.bundle
from monai.bundle import ConfigParser

from shared_components.data.dataset_json import SPLITS
from shared_components.errors import InputError, counted, meant, shown
from shared_components.federation.bundle_workflow import without_remarks
from shared_components.federation.file_digests import TRAINED_ON, FileDigests, digest
from shared_components.federation.section import is_expression
from shared_components.files import make_folder, remove_tree
from shared_components.records import found_record, write_record
from shared_components.study.settings import SECTIONS
from shared_components.study.study import EVERYBODY, Study
from shared_components.workplaces import WRITING
from shared_components.yaml_files import read_configs, texts, top_id

DONE = "done.json"
LOG = "log.txt"
NO_OUTPUTS = (DONE, LOG, "checkpoint.pt", "checkpoint_before.pt", "tensorboard", "cache")
"""What nobody reads once the stage is done: it may be removed."""

SECTION_OF = {  # the section of the federation file that overrides a stage; any other stage segments
    "source_model": "pretrain",
    "source_only": "pretrain",
    "source_mild": "pretrain",
    "joint_source": "pretrain",
    "synthetic": "synthesize",
    "adaptation": "train",
    "self_trained": "self_training",
    "self_trained_near": "self_training",
    "self_trained_all": "self_training",
    "generalisation": "generalisation",
    "audit": "audit",  # no section: it takes what the factory was trained with
    "shapes": "shapes",  # no section either, nor
    "choice": "choice",
}


@dataclass(frozen=True)
class Done:
    """What was noted when a stage ended.

    Attributes:
        seconds: how long it took.
        outputs: digest of everything that it has written.
    """

    seconds: float
    outputs: str


@dataclass(frozen=True)
class Stage:
    """One run of a bundle's workflow at one client.

    Attributes:
        client: whose stage it is.
        name: what it is, unique at the client.
        bundle: the bundle's folder.
        configs: config files below ``<bundle>/configs``, merged in this order.
        overrides: ids and values, merged last; ``output_dir`` is the stage's folder unless one is given.
        folder: where it writes, and nobody else.
        needs: keys of the stages that must be done before.
        reads: further files and folders that it depends on.
        read_of: some of these files to what the stage reads of them, where the rest does not matter.
        root: the study's folder, which may be moved; None: the stage is no study's.
    """

    client: str
    name: str
    bundle: str
    configs: tuple[str, ...]
    overrides: Mapping[str, Any]
    folder: Path
    needs: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    root: Path | None = None
    read_of: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Names the stage in a study."""
        return f"{self.client}/{self.name}"

    @property
    def config_files(self) -> list[str]:
        """The bundle's config files."""
        return [str(Path(self.bundle) / "configs" / name) for name in self.configs]

    def fingerprint(self, digests: FileDigests, before: Sequence[str] = ()) -> str:
        """Changes when the stage would do something else; wherever the study's folder lies.

        Args:
            digests: of the files that it reads.
            before: digests of what the stages that it needs have written.
        """
        read = [
            short_digest(self.read_of[file]) if file in self.read_of else digests.of(file)
            for file in self.reads
        ]
        files = [digest(file) for file in self.config_files] + read
        bundle = Path(self.bundle).name  # wherever it lies: each job of a federation has a copy of its own
        overrides = _without_root(dict(self.overrides), self.root)
        return short_digest([bundle, self.configs, overrides, files, list(before)])

    def prepare(self, fingerprint: str) -> None:
        """Make its folder ready: what an interrupted or outdated run has left is thrown away."""
        remove_tree(self.folder)
        make_folder(self.folder)

    def work(self) -> None:
        """Do it in this process, as ``python -m monai.bundle run`` does.

        Raises:
            InputError: its folder went away meanwhile.
        """
        overrides = {"bundle_root": self.bundle, "output_dir": str(self.folder), **self.overrides}
        last = write_record(self.folder / "overrides.yaml", overrides)
        files = [*self.config_files, str(last)]
        with without_remarks():
            print(
                f'python -m monai.bundle run --config_file "{files}" --bundle_root {self.bundle}', flush=True
            )
            monai.bundle.run(config_file=files, bundle_root=self.bundle, logging_file=False)
        if not last.is_file():
            raise InputError(f"{self.folder}: was removed or replaced while the stage wrote to it")

    def progress(self) -> str:
        """A few words on how far it is."""
        return stage_progress(self.folder)

    def outputs(self) -> list[Path]:
        """Files that it has written for others."""
        files = (path for path in sorted(self.folder.rglob("*")) if path.is_file())
        return [path for path in files if path.relative_to(self.folder).parts[0] not in NO_OUTPUTS]

    def done(self, fingerprint: str) -> Done | None:
        """What was noted when it ended; None when it is still to do, was something else, or has lost an output."""
        noted = found_record(self.folder / DONE)
        if noted is None or noted["fingerprint"] != fingerprint or self.lost(noted["outputs"]):
            return None
        return Done(noted["seconds"], short_digest(noted["outputs"]))

    def found(self, digests: FileDigests, before: Sequence[str] = ()) -> Done | None:
        """What was noted when it ended as it would be done now; arguments as of :meth:`fingerprint`."""
        return self.done(self.fingerprint(digests, before)) if (self.folder / DONE).is_file() else None

    def lost(self, outputs: Mapping[str, Sequence] | None = None) -> list[str]:
        """Files that the stage has written and that are missing or hold something else now.

        Args:
            outputs: file to size and digest; by default what was noted when it ended.
        """
        if outputs is None:
            outputs = (found_record(self.folder / DONE) or {}).get("outputs", {})
        return [name for name, noted in outputs.items() if _described(self.folder / name) != list(noted)]

    def note(self, fingerprint: str, seconds: float) -> Done:
        """Write ``done.json``: the stage has ended."""
        outputs = {path.relative_to(self.folder).as_posix(): _described(path) for path in self.outputs()}
        noted = {"fingerprint": fingerprint, "seconds": seconds, "config_file": self.config_files}
        write_record(self.folder / DONE, {**noted, "outputs": outputs})
        return Done(seconds, short_digest(outputs))


def stage_folders(study: Path) -> list[Path]:
    """The folders in a study's in which a stage has ended or begun, of today's plan or of an earlier one."""
    patterns = ("*", "clients/*/*", "unseen/*/*")
    found = {
        file.parent for name in (DONE, LOG) for place in patterns for file in study.glob(f"{place}/{name}")
    }
    return sorted(found)


def _without_root(value: Any, root: Path | None) -> Any:
    """Plain values with the paths below a folder as they are in it."""
    if root is None:
        return value
    if isinstance(value, Mapping):
        return {key: _without_root(each, root) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_root(each, root) for each in value]
    if isinstance(value, str | os.PathLike) and Path(value).is_relative_to(root):
        return f"./{Path(value).relative_to(root).as_posix()}"
    return value


def _described(file: Path) -> list | None:
    """Size and digest of a file; None where there is none."""
    return [file.stat().st_size, digest(file)] if file.is_file() else None


def short_digest(content: Any) -> str:
    """Changes when any of ``content``, of JSON's kinds, does."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]


def stage_progress(folder: Path) -> str:
    """A few words: the last row of a training's ``metrics.csv``, else the volumes that it has written."""
    row = _last_row(folder / "metrics.csv")
    if row:
        loss = f", loss {float(row['loss']):.3f}" if row.get("loss") else ""
        return f"epoch {row['epoch']}, update {row['update']}{loss}"
    volumes = _volumes_written(folder)
    if volumes:
        return f"{counted(volumes, 'volume')} written"
    return "reading its images" if folder.is_dir() else "starting"


def _volumes_written(folder: Path) -> int:
    """Volumes that have their names already; the stage goes on writing while they are counted."""
    count = 0
    for _, folders, files in os.walk(folder):  # passes over what is gone by then, where Path.rglob raises
        folders[:] = [name for name in folders if not name.startswith(WRITING)]
        count += sum(name.endswith(".nii.gz") for name in files)
    return count


def _last_row(table: Path) -> dict[str, str]:
    try:
        text = table.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    return ([{}, *csv.DictReader(io.StringIO(text))])[-1]


def make_stage(
    study: Study,
    client: str,
    name: str,
    configs: Sequence[str],
    own: Mapping[str, Any],
    needs: Sequence[str] = (),
    reads: Sequence[str] = (),
    bundle: str | None = None,
    splits: Sequence[str] | None = None,
    labels: bool = True,
) -> Stage:
    """A stage with the settings that all have, as far as its config knows them, and its own.

    Args:
        study: whose stage it is.
        client: a client, an unseen scanner, or EVERYBODY, whose stages read no data root.
        name: of the stage.
        configs: config files of the bundle after ``common.yaml``.
        own: ids and values of this stage, merged last.
        needs: keys of the stages that must be done before.
        reads: files that it depends on beside the client's ``dataset.json`` and its images and labels.
        bundle: the bundle's folder; None: the adaptation's.
        splits: of the client's data that it reads; None: those that are trained on, or that it segments.
        labels: whether it reads labels.
    Raises:
        InputError: the bundle lacks a config file, or a folder or domain would run as an expression.
    """
    bundle, configs = bundle or study.adaptation, ("common.yaml", *configs)
    data = None if client == EVERYBODY else study.data(client)
    read = {} if data is None else {"dataset_dir": data.dataset_dir}
    _refuse_expressions(study, f"{client}/{name}", {**read, **own})
    overrides = {
        **known(study.agreed, bundle, configs),
        **read,
        **known(study.section("overrides"), bundle, configs),
        **own,
    }
    splits = splits or (TRAINED_ON if name in SECTION_OF else _segmented(overrides))
    files = (*(() if data is None else (*data.files, *data.paths(splits, labels))), *reads)
    read_of = {} if data is None else data.read_for(splits, labels)
    folder = study.place(client, name)
    return Stage(client, name, bundle, configs, overrides, folder, tuple(needs), files, study.folder, read_of)


def _refuse_expressions(study: Study, key: str, own: Mapping[str, Any]) -> None:
    """What a stage has of folders and domains is data; expressions are for the sections of the federation file.

    Raises:
        InputError: one is there that no section has.
    """
    given = [study.section(name) for name in SECTIONS]
    for id, value in own.items():
        found = next(filter(is_expression, texts(value)), None)
        if found is not None and all(section.get(id) != value for section in given):
            raise InputError(
                f"stage {key}: {id}: expected a folder or a name, found {shown(found)}; name it otherwise"
            )


def _segmented(overrides: Mapping[str, Any]) -> tuple[str, ...]:
    """The lists of a data root that a stage with these overrides segments; all where an expression says which."""
    split = overrides.get("split", "test")
    return (split,) if split in SPLITS else SPLITS


def inference_configs(study: Study, client: str) -> tuple[str, ...]:
    """Config files that segment, and score where the test volumes have labels."""
    return ("inference.yaml", "evaluate.yaml") if study.is_scored(client) else ("inference.yaml",)


def model_path(study: Study, client: str, stage: str) -> str:
    """The model that a stage trains."""
    return str(study.place(client, stage) / "model.pt")


def synthetic_root(study: Study, domain: str, drawn_at: str | None = None) -> str:
    """The data root of the synthetic volumes in a domain's look; by default of those that the source draws."""
    return str(study.place(drawn_at or study.source, "synthetic") / domain)


def known(values: Mapping[str, Any], bundle: str, configs: Sequence[str]) -> dict[str, Any]:
    """Those of ``values`` that are ids of a bundle's config files."""
    parser = merged_config(tuple(str(Path(bundle) / "configs" / name) for name in configs))
    config = parser.get()
    # of what it lacks, a parser's own "in" looks for similar names, which takes long
    return {key: value for key, value in values.items() if top_id(key) in config and key in parser}


@lru_cache(maxsize=32)
def merged_config(files: tuple[str, ...]) -> ConfigParser:
    """Config files merged in order, for looking up ids.

    Raises:
        InputError: one is missing, or cannot be read.
    """
    missing = [file for file in files if not os.path.isfile(file)]
    if missing:
        raise InputError(f"study: expected a bundle with {missing[0]}, found no such file; check the bundle")
    return ConfigParser(read_configs(files))


def check_overrides(study: Study, stages: Sequence[Stage]) -> None:
    """MONAI takes an override of an unknown id in silence, so misspelt ones are found here.

    Raises:
        InputError: every id that no stage of its section has.
    """
    configs = [
        (SECTION_OF.get(stage.name, "inference"), merged_config(tuple(stage.config_files)))
        for stage in stages
    ]
    faults = []
    for section in SECTIONS:
        parsers = [parser for name, parser in configs if section in ("overrides", name)]
        faults += override_faults(section, study.section(section), parsers)
    if faults:
        raise InputError("; ".join(faults))


def override_faults(section: str, keys: Iterable[str], parsers: Sequence[ConfigParser]) -> list[str]:
    """A line for each id of a section of the study that none of its stages' configs has; none without a config."""
    strange = [key for key in keys if parsers and not (key and any(key in parser for parser in parsers))]
    ids = sorted({str(name) for parser in parsers for name in parser.get()})
    return [
        f"study: {section}: {shown(key)} is no id of the bundle's config{meant(key, ids)}" for key in strange
    ]
