"""A bundle and its weights as one folder and zip, in the model zoo's form."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import shared_components
from shared_components.errors import InputError
from shared_components.files import make_folder, write_text
from shared_components.packaging import texts
from shared_components.packaging.archive import copy_components, write_checksum, write_zip
from shared_components.packaging.settings import (
    Overrides,
    as_json,
    merged_configs,
    read_overrides,
    workflow_files,
)
from shared_components.packaging.texts import package_metadata
from shared_components.packaging.versions import require_release
from shared_components.packaging.weights import (
    for_members,
    of_trained_domains,
    write_torchscript,
    write_weights,
)
from shared_components.records import read_text

COMPONENTS = Path(shared_components.__file__).parent
REPO = COMPONENTS.parent
CONTENTS = ("configs", "docs", "models", COMPONENTS.name, "LICENSE", "requirements.txt")  # of a package
METADATA = "configs/metadata.json"
SEGMENTING = ("inference", "evaluate")  # workflows that use a model as it is
DEMO = "Demo weights: for trying out, not for patients."
DEMO_DATA = "phantoms: one real head (Colin 27), deformed and recoloured into subjects of three scanners"
DEVELOPMENT = "Built for development, from files or versions that are not those of a release."


class ShippedWeights(NamedTuple):
    """Weights and what is said of them: their file, origin and figures in words, and notes that come first."""

    file: Path
    trained_on: str
    figures: str
    notes: tuple[str, ...]


class Package(NamedTuple):
    """Where a package lies: its folder, the zip of it, and the zip's SHA-256 checksum."""

    folder: Path
    zip: Path
    checksum: Path


def build_package(
    name: str,
    weights: str | Path | None,
    out: str | Path,
    config: Overrides = None,
    trained_on: str | None = None,
    figures: str | Path | None = None,
    development: bool = False,
) -> Package:
    """Write ``out/<name>``, ``out/<name>_v<version>.zip`` and its checksum; the same input gives the same bytes.

    Args:
        name: a folder of ``bundles``.
        weights: file that the bundle's training wrote; None: the bundle's demo weights, with what belongs to them.
        out: folder for the package; an earlier package in it is replaced.
        config: settings with which the weights were trained, where they are not the bundle's own: config files,
            mappings, or a list of these.
        trained_on: what the weights were trained on, in words, for metadata, README and licence of the data.
        figures: Markdown file for the README's "Performance".
        development: take uncommitted files and versions that disagree, and say so in the README.
    Raises:
        InputError: unknown bundle, weights that do not fit, unsuitable settings, settings without their weights, an
            unclean or mismatched version, or another folder in the package's place.
    """
    bundle, out = REPO / "bundles" / str(name), Path(out)
    if not (bundle / METADATA).is_file():
        known = sorted(file.parts[-3] for file in (REPO / "bundles").glob(f"*/{METADATA}"))
        raise InputError(f"{name}: expected one of the bundles {known}; name one of them")
    metadata = json.loads((bundle / METADATA).read_text("utf-8"))
    if not development:
        contents = [f"bundles/{name}", "shared_components", "requirements.txt", "CHANGELOG.md", "LICENSE"]
        require_release(metadata, REPO, contents)
    folder = out / bundle.name
    _require_replaceable(folder)
    notes = (DEVELOPMENT,) * development
    if weights is None:
        given = {"--config": config, "--trained_on": trained_on, "--figures": figures}
        weights, config, trained_on, figures = _demo(bundle, given)
        what = _figures(figures).partition(". ")[0]  # the first sentence says what the weights do
        notes = (f"{DEMO} {what}.", *notes)
    merged = merged_configs(bundle / "configs", read_overrides(config))
    configs = {name: of_trained_domains(content, Path(weights)) for name, content in merged.items()}
    segmenting = {name: for_members(configs[name], Path(weights)) for name in SEGMENTING if name in configs}
    described = ShippedWeights(Path(weights), trained_on or texts.NOT_STATED, _figures(figures), notes)
    make_folder(out)
    with tempfile.TemporaryDirectory(dir=out, prefix=".packaging-") as temporary:
        made = Path(temporary) / bundle.name
        _fill(made, bundle, metadata, configs | segmenting, described)
        archive = write_zip(made, out / f"{bundle.name}_v{metadata['version']}.zip")
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)
    return Package(folder, archive, write_checksum(archive))


def _fill(
    folder: Path,
    bundle: Path,
    metadata: Mapping[str, Any],
    configs: Mapping[str, Mapping[str, Any]],
    weights: ShippedWeights,
) -> None:
    inference = configs["inference"]
    write_weights(inference, weights.file, folder / "models" / "model.pt")
    content = package_metadata(metadata, inference, weights.trained_on, weights.notes)
    write_text(folder / METADATA, json.dumps(content, indent=4) + "\n")
    for workflow, config in configs.items():
        write_text(folder / "configs" / f"{workflow}.json", as_json(config))
    write_torchscript(folder)
    template = (bundle / "docs" / "package.md").read_text("utf-8")
    values = {"trained_on": weights.trained_on, "figures": weights.figures}
    values |= {"version": content["version"], "settings": texts.settings_table(inference)}
    values |= {"classes": content["pred_classes"], "status": "".join(f"**{n}**\n\n" for n in weights.notes)}
    optional = " ".join(f"{n}=={v}" for n, v in content["extra_packages_version"].items())
    values |= {"torch": content["pytorch_version"], "optional": optional}
    write_text(folder / "docs" / "README.md", texts.readme(template, **values))
    write_text(folder / "docs" / "data_license.txt", texts.data_license(weights.trained_on))
    write_text(folder / "requirements.txt", texts.requirements(content))
    shutil.copyfile(bundle / "LICENSE", folder / "LICENSE")
    # of all bundles: packages that are served together share the code of one of them
    named = [*workflow_files(REPO / "bundles"), *(folder / "configs").glob("*.json")]
    copy_components(COMPONENTS, folder / COMPONENTS.name, named)


def _require_replaceable(folder: Path) -> None:
    """Refuse to remove what no packaging has written: a bundle's sources, or files that somebody put beside them."""
    if folder.resolve().is_relative_to((REPO / "bundles").resolve()):
        raise InputError(
            f"{folder}: the bundle's own folder; name another --output_dir, such as outputs/packages"
        )
    if not folder.exists():
        return
    if not all((folder / part).exists() for part in (METADATA, COMPONENTS.name)):
        raise InputError(f"{folder}: expected no folder or an earlier package, found something else; move it")
    more = sorted(path.name for path in folder.iterdir() if path.name not in CONTENTS)
    if more:
        raise InputError(
            f"{folder}: an earlier package, in which lies {more[0]} beside what packages hold; move it"
        )


def _demo(bundle: Path, given: Mapping[str, Any]) -> tuple[Path, Path, str, Path]:
    """Weights, settings, origin and figures of a bundle's demo."""
    for option, value in given.items():
        if value is not None:
            raise InputError(
                f"{option}: expected --weights beside it, found none (demo weights have their own)"
            )
    weights = bundle / "models" / "demo.pt"
    if not weights.is_file():
        raise InputError(
            f"{weights}: expected demo weights, found none; name weights of yours with --weights"
        )
    return weights, bundle / "configs" / "demo.yaml", DEMO_DATA, bundle / "docs" / "demo.md"


def _figures(file: str | Path | None) -> str:
    if file is None:
        return texts.NOT_MEASURED
    if not Path(file).is_file():
        raise InputError(f"--figures: {file}: expected a Markdown file, found none; check the path")
    return read_text(Path(file), "save it as UTF-8").replace("\r\n", "\n").strip()
