"""Versions stand in one place: the project's in ``shared_components``, the packages' in ``requirements.txt``."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import shared_components
from shared_components.errors import InputError

KEYS = {"monai": "monai_version", "torch": "pytorch_version", "numpy": "numpy_version"}


def required_packages(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Distribution to version of everything that a bundle's metadata asks for."""
    stated = {name: str(metadata.get(key, "")) for name, key in KEYS.items()}
    return stated | {name: str(v) for name, v in metadata.get("required_packages_version", {}).items()}


def pins(requirements: Iterable[str]) -> dict[str, str]:
    """Distribution to version of lines such as ``name==1.0  # comment``."""
    lines = (line.split("#")[0].strip() for line in requirements)
    return {
        normal_name(name): version for name, _, version in (line.partition("==") for line in lines if line)
    }


def normal_name(distribution: str) -> str:
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
    faults = [*uncommitted(repo, contents), *version_faults(metadata, repo)]
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


def version_faults(metadata: Mapping[str, Any], repo: Path) -> list[str]:
    """Where the stated versions disagree with the project's, its pins, its changelog or what is installed."""
    own, stated = shared_components.__version__, str(metadata.get("version"))
    faults = [] if stated == own else [f"metadata.json: version {stated}, but the project is {own}"]
    if stated not in metadata.get("changelog", {}):
        faults.append(f"metadata.json: changelog has no entry {stated}")
    if not re.search(rf"^## {re.escape(own)}\b", (repo / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE):
        faults.append(f"CHANGELOG.md has no entry {own}")
    pinned = pins((repo / "requirements.txt").read_text("utf-8").splitlines())
    for name, wanted in required_packages(metadata).items():
        found = {"requirements.txt": pinned.get(normal_name(name)), "installed": _installed(name)}
        faults += [f"{name}: metadata.json {wanted}, {w} {v}" for w, v in found.items() if v != wanted]
    return faults


def _installed(name: str) -> str | None:
    try:
        return version(name).split("+")[0]  # a build, such as +cpu, is the same version
    except PackageNotFoundError:
        return None
