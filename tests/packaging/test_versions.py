from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

import shared_components
from shared_components.errors import InputError
from shared_components.packaging.versions import require_release, required_packages, uncommitted

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
