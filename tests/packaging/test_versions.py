from __future__ import annotations

import datetime
import json
import subprocess
from pathlib import Path

import pytest

import shared_components
from shared_components.errors import InputError
from shared_components.packaging.versions import (
    release_files,
    require_release,
    required_packages,
    uncommitted,
)

OWN = shared_components.__version__
METADATA = {
    "version": OWN, "changelog": {OWN: "first"}, "monai_version": "1.6.1", "pytorch_version": "2.13.0",
    "numpy_version": "2.4.6", "required_packages_version": {"pyyaml": "6.0.3"},
}  # fmt: skip
CONTENTS = ["bundles", "requirements.txt"]


@pytest.fixture
def repo(tmp_path) -> Path:
    """A git checkout with all committed."""
    (tmp_path / "bundles").mkdir()
    (tmp_path / "bundles" / "metadata.json").write_text(json.dumps(METADATA))
    (tmp_path / "CHANGELOG.md").write_text(f"# Changelog\n\n## {OWN}, unreleased\n")
    (tmp_path / "requirements.txt").write_text(
        "monai==1.6.1\ntorch==2.13.0 # x\nnumpy==2.4.6\nPyYAML==6.0.3\n"
    )
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all"]):
        name = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *name, *command], cwd=tmp_path, check=True)
    return tmp_path


def test_a_release_passes_whatever_lies_beside_its_contents(repo):
    (repo / "notes.txt").write_text("not part of the package")
    assert require_release(METADATA, repo, CONTENTS) is None
    with pytest.raises(InputError, match=r"^uncommitted changes in notes\.txt; .* --development$"):
        require_release(METADATA, repo, [*CONTENTS, "notes.txt"])


@pytest.mark.parametrize("file", ["bundles/metadata.json", "bundles/new.json", "requirements.txt"])
def test_what_is_not_committed_is_named(repo, file):
    with (repo / file).open("a") as changed:
        changed.write("\n")
    with pytest.raises(InputError, match=f"^uncommitted changes in {file}; .* --development$"):
        require_release(METADATA, repo, CONTENTS)


def test_many_uncommitted_files_are_counted(repo):
    for number in range(5):
        (repo / "bundles" / f"{number}.txt").write_text("")
    assert uncommitted(repo, CONTENTS) == [
        "uncommitted changes in bundles/0.txt, bundles/1.txt, bundles/2.txt and 2 more"
    ]


def test_a_folder_without_git_is_told(tmp_path):
    assert uncommitted(tmp_path, ["."]) == [f"{tmp_path}: expected a git checkout, found none"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"version": "9.9.9"},
            rf"version 9\.9\.9, but the project is {OWN}; .*changelog has no entry 9\.9\.9",
        ),
        ({"changelog": {}}, f"changelog has no entry {OWN}"),
        (
            {"monai_version": "1.0.0"},
            r"monai: metadata.json 1\.0\.0, requirements.txt 1\.6\.1; monai: .* installed",
        ),
        (
            {"required_packages_version": {"absent-package": "1.0"}},
            r"requirements.txt None; .*installed None",
        ),
    ],
)
def test_versions_that_disagree_are_named_on_one_line(repo, change, message):
    with pytest.raises(InputError, match=message) as caught:
        require_release(METADATA | change, repo, CONTENTS)
    assert "\n" not in str(caught.value)


def test_a_changelog_without_the_version_is_refused(repo):
    (repo / "CHANGELOG.md").write_text("## 0.0.0\n")
    with pytest.raises(InputError, match=rf"CHANGELOG\.md has no entry {OWN}"):
        require_release(METADATA, repo, CONTENTS)


def test_required_packages_are_all_that_the_metadata_names():
    assert required_packages(METADATA) == {
        "monai": "1.6.1", "torch": "2.13.0", "numpy": "2.4.6", "pyyaml": "6.0.3"
    }  # fmt: skip


REPO = Path(__file__).parents[2]
CHANGELOG = """# Changelog

## 0.2.0, unreleased

- Faster inference.
- More formats.

## 0.1.0, 2026-01-31

First version.
"""
RELEASE_METADATA = {
    "version": "0.1.0", "changelog": {"0.1.0": "first version"},
    "monai_version": "1.5.0", "pytorch_version": "2.13.0", "numpy_version": "2.4.6",
    "required_packages_version": {"pyyaml": "6.0.3"}, "extra_packages_version": {"onnx": "1.0.0"},
    "name": "a bundle",
}  # fmt: skip


@pytest.fixture
def release_repo(tmp_path) -> Path:
    """A project with a bundle whose metadata is behind two pins."""
    files = {
        "shared_components/__init__.py": '"""Code."""\n\n__version__ = "0.1.0"\n',
        "CHANGELOG.md": CHANGELOG,
        "requirements.txt": "monai==1.6.1\ntorch==2.13.0  # the large one\nnumpy==2.4.6\nPyYAML==6.0.3\n",
        "pyproject.toml": '[project]\noptional-dependencies = {test = ["onnx==1.23.2"]}\n',
        "bundles/one/configs/metadata.json": json.dumps(RELEASE_METADATA, indent=4) + "\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def planned(release_repo: Path, *arguments: str | None) -> tuple[dict[str, str], dict]:
    """Texts by name, and the bundle's metadata."""
    texts = {
        file.relative_to(release_repo).as_posix(): text
        for file, text in release_files(release_repo, *arguments).items()
    }
    return texts, json.loads(texts["bundles/one/configs/metadata.json"])


def test_in_this_repository_all_versions_agree():
    behind = [
        f"{f.relative_to(REPO)}" for f, text in release_files(REPO).items() if f.read_text("utf-8") != text
    ]
    assert behind == [], "run: python scripts/release.py"


def test_pins_alone_leave_the_version_and_the_changelogs(release_repo):
    texts, metadata = planned(release_repo)
    pins = {"monai_version": "1.6.1", "extra_packages_version": {"onnx": "1.23.2"}}
    assert metadata == RELEASE_METADATA | pins and list(metadata) == list(RELEASE_METADATA)
    assert texts["CHANGELOG.md"] == CHANGELOG


def test_a_release_is_written_wherever_versions_are_read(release_repo):
    texts, metadata = planned(release_repo, "0.2.0", None, "2026-03-01")
    assert texts["shared_components/__init__.py"] == '"""Code."""\n\n__version__ = "0.2.0"\n'
    assert texts["CHANGELOG.md"] == CHANGELOG.replace("0.2.0, unreleased", "0.2.0, 2026-03-01")
    assert metadata["version"] == "0.2.0" and metadata["monai_version"] == "1.6.1"
    changelog = {"0.2.0": "Faster inference", "0.1.0": "first version"}
    assert list(metadata["changelog"].items()) == list(changelog.items())  # the newest first


def test_a_note_and_todays_date(release_repo):
    texts, metadata = planned(release_repo, "0.2.0", "faster")
    assert metadata["changelog"]["0.2.0"] == "faster"
    assert datetime.date.fromisoformat(texts["CHANGELOG.md"].split("## 0.2.0, ")[1][:10])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("0.2",), r"VERSION: expected three numbers as in 0\.2\.0, found 0\.2;"),
        (("v0.2.0",), "three numbers .* found v0"),
        (("0.02.0",), "three numbers"),
        (("0.1.0",), r"expected one above 0\.1\.0, the latest release, found 0\.1\.0"),
        (("0.0.9",), r"above 0\.1\.0"),
        (("0.3.0",), r'CHANGELOG\.md: expected "## 0\.3\.0, unreleased" and under it what is new'),
        (("0.2.0", None, "1 March"), "--date: expected a day as 2026-01-31, found 1 March"),
        ((None, None, "2026-03-01"), "--date 2026-03-01: expected the VERSION"),
    ],
)
def test_nonsense_is_refused_in_one_line(release_repo, arguments, message):
    with pytest.raises(InputError, match=message) as caught:
        release_files(release_repo, *arguments)
    assert "\n" not in str(caught.value)


def test_an_empty_entry_in_the_changelog_is_none(release_repo):
    (release_repo / "CHANGELOG.md").write_text(
        "## 0.2.0, unreleased\n\n## 0.1.0, 2026-01-31\n\nFirst version.\n"
    )
    with pytest.raises(InputError, match=r'"## 0\.2\.0, unreleased" and under it what is new, found none'):
        release_files(release_repo, "0.2.0")


def test_versions_are_compared_as_numbers(release_repo):
    (release_repo / "CHANGELOG.md").write_text(
        "## 0.10.0, unreleased\n\nMore.\n\n## 0.9.0, 2026-01-31\n\nLess.\n"
    )
    assert planned(release_repo, "0.10.0")[1]["version"] == "0.10.0"


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("requirements.txt", "metadata.json: asks for pyyaml, expected it in requirements.txt, found none"),
        ("pyproject.toml", "asks for onnx, expected it in pyproject.toml"),
    ],
)
def test_a_package_without_a_pin_is_named(release_repo, file, message):
    text = (release_repo / file).read_text()
    (release_repo / file).write_text(text.replace("PyYAML==6.0.3\n", "").replace('"onnx==1.23.2"', ""))
    with pytest.raises(InputError, match=message):
        release_files(release_repo)
