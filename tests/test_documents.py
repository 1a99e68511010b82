"""What README, CONTRIBUTING and the guides say is there: commands with their arguments, configs, links, headings."""

from __future__ import annotations

import ast
import inspect
import re
import runpy
import tomllib
from functools import cache
from pathlib import Path

import pytest
from monai.bundle import ConfigParser

from shared_components.report.__main__ import report
from tests.documents import commands

REPO = Path(__file__).parents[1]
README = (REPO / "README.md").read_text(encoding="utf-8")
DOCUMENTS = sorted(
    file
    for pattern in (
        "*.md",
        "bundles/*/docs/README.md",
        "bundles/*/docs/figures.md",
        "scripts/*.md",
        "shared_components/**/README.md",
    )
    for file in REPO.glob(pattern)
    if file.name != "CHANGELOG.md"
)
CONFIGS = {
    file.name
    for pattern in ("bundles/*/configs/*.yaml", "scripts/*.yaml", "tests/examples/*.yaml")
    for file in REPO.glob(pattern)
}
EXTRAS = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["optional-dependencies"]
OTHERS = ("cp", "mkdir", "nano", "nvflare", "touch", "unzip")  # programs that are not of this project


def names(file: Path) -> str:
    return file.relative_to(REPO).as_posix()


@cache
def script(path: str) -> dict:
    return runpy.run_path(str(REPO / path))


@pytest.mark.parametrize("file", [file for file in DOCUMENTS if file.name != "CONTRIBUTING.md"], ids=names)
def test_commands_exist(file):
    """Those of CONTRIBUTING.md are done (test_contributing.py)."""
    text = file.read_text(encoding="utf-8")
    found = commands(text)
    assert found or "```bash" not in text
    for command in found:
        check_command(command)


def check_command(command: str) -> None:
    words = command.split()
    if "-m monai.bundle " in command:
        if words[words.index("monai.bundle") + 1 :][:1] == ["run"]:
            check_bundle_command(command)
    elif words[:3] == ["python", "-m", "shared_components.report"]:
        check_flags(command, report)
    elif command.startswith("source "):
        assert command == "source .venv/bin/activate"
    elif words[0] == "pip":
        extra = re.fullmatch(r'pip install -e "\.\[(\w+)\]"', command)
        assert extra and extra[1] in EXTRAS, command
    elif words[0] not in OTHERS and not command.endswith("/startup/start.sh"):
        assert words[0] in ("bash", "python") and (REPO / words[1]).is_file(), command
        if words[0] == "python" and words[2:]:
            module = script(words[1])
            check_flags(
                command, module["COMMANDS"][words[2]] if "COMMANDS" in module else module[Path(words[1]).stem]
            )


def check_flags(command: str, function) -> None:
    flags = {
        word.lstrip("-").partition("=")[0].replace("-", "_") for word in command.split() if word[:2] == "--"
    }
    assert flags <= set(inspect.signature(function).parameters), command


def check_bundle_command(command: str) -> None:
    listed = re.search(r"--config_file \"(\[.*?\])\"", command)
    if listed is None:  # a mention of the command, without arguments
        return
    named = [file for file in ast.literal_eval(listed[1]) if file.startswith("bundles/")]
    parser = ConfigParser(ConfigParser.load_config_files([str(REPO / file) for file in named]))
    overrides = set(re.findall(r"--(\w+)", command.split("monai.bundle run")[1])) - {"config_file"}
    assert overrides - set(parser.get()) == set(), command


def headings(file: Path) -> set[str]:
    """Anchors of a document, as GitHub makes them."""
    titles = re.findall(
        r"^#+ (.+)$", re.sub(r"```.*?```", "", file.read_text("utf-8"), flags=re.DOTALL), re.M
    )
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("file", DOCUMENTS, ids=names)
def test_links_lead_somewhere(file):
    links = re.findall(r"\]\(([^)]+)\)", file.read_text(encoding="utf-8"))
    for link in (link for link in links if not link.startswith("https://")):
        place, _, heading = link.partition("#")
        target = file if not place else file.parent / place
        assert target.exists(), link
        assert not heading or heading in headings(target), link


@pytest.mark.parametrize("file", DOCUMENTS, ids=names)
def test_files_and_configs_that_are_named_exist(file):
    text = file.read_text(encoding="utf-8")
    paths = re.findall(r"`((?:bundles|scripts|shared_components|tests)/[\w./-]+)`", text)
    assert [path for path in paths if not (REPO / path).exists()] == []
    of_the_reader = {"federation.yaml", "mine.yaml"}
    assert set(re.findall(r"`(\w+\.yaml)`", text)) - CONFIGS <= of_the_reader


def test_the_readme_lists_every_bundle_and_script():
    for bundle in (REPO / "bundles").iterdir():
        if (bundle / "configs").is_dir():
            assert f"| [`{bundle.name}`](bundles/{bundle.name}) |" in README
    for path in (REPO / "scripts").glob("*.py"):
        assert f"`python scripts/{path.name}" in README, path.name


def test_the_readme_ends():
    text = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
    prose = [line for line in text.splitlines() if not line.startswith("|")]
    assert len(" ".join(prose).split()) <= 1800
    assert len(text.split()) <= 2400
