"""Write versions where they are read: ``python scripts/release.py [VERSION]``."""

from __future__ import annotations

from pathlib import Path

from shared_components.command_line import run

REPO = Path(__file__).resolve().parents[1]


def release(version: str | None = None, *, note: str | None = None, date: str | None = None) -> None:
    """Write the project's version and the pinned ones into every bundle's metadata.json, and date a release.

    Prints the files that it changed. Commit them before packages are made.

    Args:
        version: to be released, as 0.2.0. CHANGELOG.md must have a heading "## 0.2.0, unreleased", which gets the
            date. Without it nothing is released, and the bundles' metadata follows changed pins alone.
        note: what is new in a few words, for the changelog in each metadata.json; by default the first line of the
            entry in CHANGELOG.md.
        date: of the release, as 2026-01-31; by default today.
    """
    from shared_components.files import write_text
    from shared_components.packaging.versions import release_files

    given = [None if value is None else str(value) for value in (version, note, date)]
    for file, text in release_files(REPO, *given).items():
        if file.read_text("utf-8") != text:
            print(write_text(file, text).relative_to(REPO))


if __name__ == "__main__":
    run(release)
