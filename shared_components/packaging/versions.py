"""Each version stands in one place, and is written from there to where others must read it too.

The project's is in ``shared_components/__init__.py``, those of packages in ``requirements.txt``, those of optional
packages in ``pyproject.toml`` ("test"), and what is new in ``CHANGELOG.md``. MONAI reads a bundle's ``metadata.json``.
"""

from __future__ import annotations

import datetime
import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import shared_components
from shared_components.errors import InputError

KEYS = {"monai": "monai_version", "torch": "pytorch_version", "numpy": "numpy_version"}
NUMBERS = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
OWN = re.compile(r'^__version__ = "(.+)"$', re.MULTILINE)
UNRELEASED = "unreleased"


def required_packages(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Distribution to version of everything that a bundle's metadata asks for."""
    stated = {name: str(metadata.get(key, "")) for name, key in KEYS.items()}
    return stated | {name: str(v) for name, v in metadata.get("required_packages_version", {}).items()}


def pins(requirements: Iterable[str]) -> dict[str, str]:
    """Distribution to version of lines such as ``name==1.0  # comment``."""
    lines = (line.split("#")[0].strip() for line in requirements)
    return {
        _normal_name(name): version for name, _, version in (line.partition("==") for line in lines if line)
    }


def _normal_name(distribution: str) -> str:
    """A distribution's name as registries compare it."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def require_release(metadata: Mapping[str, Any], repo: Path, contents: Sequence[str]) -> None:
    """A package is made of committed files, with the versions that it states.

    Args:
        metadata: of the bundle.
        repo: the project's folder.
        contents: files and folders in it that go into the package.
    Raises:
        InputError: uncommitted changes, or versions that disagree, all on one line.
    """
    faults = [*uncommitted(repo, contents), *_version_faults(metadata, repo)]
    if faults:
        raise InputError(
            f"{'; '.join(faults)}; mend that, or build a package for development with --development"
        )


def uncommitted(repo: Path, contents: Sequence[str]) -> list[str]:
    """What of ``contents`` differs from the last commit, in words."""
    git = shutil.which("git")
    if git is None:
        return ["git: expected to find it, to see whether all is committed"]
    command = [git, "status", "--porcelain", "--untracked-files=all", "--", *contents]
    ended = subprocess.run(command, cwd=repo, capture_output=True, text=True, check=False)
    if ended.returncode:
        return [f"{repo}: expected a git checkout, found none"]
    changed = [line[3:] for line in ended.stdout.splitlines()]
    more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
    return [f"uncommitted changes in {', '.join(changed[:3])}{more}"] if changed else []


def _version_faults(metadata: Mapping[str, Any], repo: Path) -> list[str]:
    """Where the stated versions disagree with the project's, its pins, its changelog or what is installed."""
    own, stated = shared_components.__version__, str(metadata.get("version"))
    faults = [] if stated == own else [f"metadata.json: version {stated}, but the project is {own}"]
    if stated not in metadata.get("changelog", {}):
        faults.append(f"metadata.json: changelog has no entry {stated}")
    if not re.search(rf"^## {re.escape(own)}\b", (repo / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE):
        faults.append(f"CHANGELOG.md has no entry {own}")
    pinned = pins((repo / "requirements.txt").read_text("utf-8").splitlines())
    for name, wanted in required_packages(metadata).items():
        found = {"requirements.txt": pinned.get(_normal_name(name)), "installed": _installed(name)}
        faults += [f"{name}: metadata.json {wanted}, {w} {v}" for w, v in found.items() if v != wanted]
    return faults


def _installed(name: str) -> str | None:
    try:
        return version(name).split("+")[0]  # a build, such as +cpu, is the same version
    except PackageNotFoundError:
        return None


def release_files(
    repo: Path, version: str | None = None, note: str | None = None, date: str | None = None
) -> dict[Path, str]:
    """What should stand in every file that states a version; nothing is written.

    Args:
        repo: the project's folder.
        version: to be released; ``None`` keeps the project's version and its changelog.
        note: what is new in a few words, for the bundles' changelogs; ``None`` keeps theirs, and where they have none
            takes the first line of the entry in ``CHANGELOG.md``.
        date: of the release, as 2026-01-31; ``None`` for today.
    Raises:
        InputError: the version is no next one, ``CHANGELOG.md`` has no entry for it, the date is none, or a
            bundle asks for a package that is not pinned.
    """
    own, changelog = repo / "shared_components" / "__init__.py", repo / "CHANGELOG.md"
    texts = {file: file.read_text("utf-8") for file in (own, changelog)}
    if version is None and date is not None:
        raise InputError(f"--date {date}: expected the VERSION of that day as well; name it")
    if version is not None:
        texts[changelog] = _dated(texts[changelog], version, date)
        texts[own] = OWN.sub(f'__version__ = "{version}"', texts[own])
    version = OWN.findall(texts[own])[0]
    pinned = pins((repo / "requirements.txt").read_text("utf-8").splitlines())
    project = tomllib.loads((repo / "pyproject.toml").read_text("utf-8"))["project"]
    optional = pins(project["optional-dependencies"]["test"])
    first_line = _entries(texts[changelog]).get(version, ("", ""))[1].partition("\n")[0].strip("- .")
    for file in sorted(repo.glob("bundles/*/configs/metadata.json")):
        content = _pinned(json.loads(file.read_text("utf-8")), pinned, optional, file.relative_to(repo))
        older = content["changelog"]
        content["version"] = version
        content["changelog"] = {version: note or older.get(version, first_line)}
        content["changelog"] |= {past: said for past, said in older.items() if past != version}
        texts[file] = json.dumps(content, indent=4) + "\n"
    return texts


def _pinned(
    metadata: Mapping[str, Any], pinned: Mapping[str, str], optional: Mapping[str, str], file: Path
) -> dict[str, Any]:
    """Metadata with the pinned versions of all packages that it names."""

    def version(name: str, source: Mapping[str, str], place: str) -> str:
        if _normal_name(name) not in source:
            raise InputError(f"{file}: asks for {name}, expected it in {place}, found none; pin it there")
        return source[_normal_name(name)]

    required = {
        name: version(name, pinned, "requirements.txt") for name in metadata["required_packages_version"]
    }
    wanted = {n: version(n, optional, 'pyproject.toml, "test"') for n in metadata["extra_packages_version"]}
    main = {key: version(name, pinned, "requirements.txt") for name, key in KEYS.items()}
    lists = {"required_packages_version": required, "extra_packages_version": wanted}
    return {**metadata, **main, **lists}


def _dated(changelog: str, version: str, date: str | None) -> str:
    """The changelog with the release's date in the heading of its entry."""
    if not NUMBERS.fullmatch(version):
        raise InputError(f"VERSION: expected three numbers as in 0.2.0, found {version}; see semver.org")
    entries = _entries(changelog)
    released = [
        past for past, (state, _) in entries.items() if state != UNRELEASED and NUMBERS.fullmatch(past)
    ]
    latest = max(released, key=_numbers, default=None)
    if latest is not None and _numbers(version) <= _numbers(latest):
        raise InputError(
            f"VERSION: expected one above {latest}, the latest release, found {version}; raise it"
        )
    heading = f"## {version}, {UNRELEASED}"
    state, body = entries.get(version, ("", ""))
    if state != UNRELEASED or not body:
        raise InputError(
            f'CHANGELOG.md: expected "{heading}" and under it what is new, found none; write that first'
        )
    try:
        day = datetime.date.today() if date is None else datetime.date.fromisoformat(date)
    except ValueError as error:
        raise InputError(f"--date: expected a day as 2026-01-31, found {date}; mend it") from error
    return changelog.replace(heading, f"## {version}, {day}")


def _entries(changelog: str) -> dict[str, tuple[str, str]]:
    """Version to its state (a date, or unreleased) and what is written under it."""
    parts = (part.partition("\n") for part in re.split(r"^## ", changelog, flags=re.MULTILINE)[1:])
    headings = ((heading.partition(","), body) for heading, _, body in parts)
    return {version: (state.strip(), body.strip()) for (version, _, state), body in headings}


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))
