"""A federation file that is written for data roots: it can be read, and says what the README shows."""

from __future__ import annotations

import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml

from shared_components.data.datalists import make_datalist
from shared_components.errors import InputError
from shared_components.federation.federation_file import read_federation
from shared_components.study.new_federation import client_names, new_federation
from shared_components.study.plan import check_settings

REPO = Path(__file__).parents[2]
CLASSES = ["background", "brain"]


def make_root(root: Path, domain: str, labelled: bool, classes=CLASSES, width: int = 20) -> Path:
    """A data root of three discs of ``width`` voxels of 3 mm in a slice."""
    for number in range(3):
        disc = np.hypot(*(np.indices((32, 32)) - 15.5)) <= width / 2
        label = np.repeat(disc[..., None], 4, axis=2).astype(np.uint8)
        image = label * (1 + number) + np.random.default_rng(number).normal(0, 0.05, label.shape)
        for kind, voxels in (("images", image), ("labels", label))[: 1 + labelled]:
            (root / kind).mkdir(parents=True, exist_ok=True)
            affine = np.diag([3.0, 3.0, 3.0, 1.0])
            nib.save(nib.Nifti1Image(voxels.astype(np.float32), affine), root / kind / f"s{number}.nii.gz")
    make_datalist(str(root), domain, labels=classes)
    return root


@pytest.fixture
def roots(tmp_path, monkeypatch) -> list[str]:
    """As in the README, relative to where one is."""
    monkeypatch.chdir(tmp_path)
    make_root(Path("data/north"), "t1", labelled=True)
    make_root(Path("data/south"), "t2", labelled=False)
    return ["data/north", "data/south"]


def test_the_file_is_that_of_the_readme(roots):
    Path("bundles").symlink_to(REPO / "bundles")
    table = new_federation("federation.yaml", roots, "two-hospitals")
    assert "data/north" in table and "3 labelled" not in table.splitlines()[3]
    written = yaml.safe_load(Path("federation.yaml").read_text("utf-8"))
    shown = re.search(
        r"```yaml\n(name: two-hospitals\n.*?)```", (REPO / "README.md").read_text("utf-8"), re.DOTALL
    )
    example = yaml.safe_load(shown[1])
    assert written.pop("overrides") == {"image_size": 48, "spacing": 1.3}
    assert written.pop("seed") == 0
    assert example.pop("overrides").keys() == {"image_size", "spacing"}
    assert written == example


def test_the_bundle_is_found_from_elsewhere_too(roots):
    new_federation("federation.yaml", roots, "two-hospitals")
    bundle = yaml.safe_load(Path("federation.yaml").read_text("utf-8"))["bundle"]
    assert Path(bundle) == REPO / "bundles" / "factory"


def test_it_can_be_read_and_passes_the_check_of_settings(roots):
    new_federation("a b.yml", roots)
    Path("bundles").symlink_to(REPO / "bundles")
    federation = read_federation("a b.yml")
    check_settings(federation)
    assert federation.name == "a b" and federation.output_dir.endswith("outputs/a-b")
    assert list(federation.clients) == ["north", "south"]
    assert federation.labels == {0: "background", 1: "brain"}


def test_the_file_leads_to_the_roots_that_were_inspected(roots, tmp_path):
    """Beside a file in another folder a path of the same words may be another data root, or none."""
    Path("bundles").symlink_to(REPO / "bundles")
    for folder in ("conf", "other"):
        Path(folder).mkdir()
    Path("other/data/north").mkdir(parents=True)
    for file in ("conf/federation.yaml", "other/federation.yaml"):
        new_federation(file, roots)
        found = read_federation(file).clients["north"].data_roots
        assert [Path(root).resolve() for root in found] == [tmp_path / "data/north"]
    named = yaml.safe_load(Path("other/federation.yaml").read_text())["clients"]
    assert named["north"]["data_root"] == str(tmp_path / "data/north")


def test_names_that_configs_take_for_expressions_are_refused(roots):
    with pytest.raises(InputError, match=r"\$x: expected a name, found what configs take for an expression"):
        new_federation("federation.yaml", roots, "$x")
    make_root(Path("data/odd"), "@t1", labelled=False)
    with pytest.raises(InputError, match="@t1: expected a name"):
        new_federation("federation.yaml", ["data/odd"])
    assert not Path("federation.yaml").exists()


def test_axes_that_were_asked_for_stand_in_it(roots):
    new_federation("federation.yaml", roots, orientation="native")
    assert yaml.safe_load(Path("federation.yaml").read_text())["overrides"]["orientation"] == "native"


def test_without_labels_there_is_no_study(roots):
    new_federation("federation.yaml", roots[1:])
    assert "study" not in yaml.safe_load(Path("federation.yaml").read_text())


def test_what_is_there_is_kept_unless_forced(roots):
    Path("federation.yaml").write_text("mine")
    with pytest.raises(InputError, match=r"federation\.yaml: is there already.*--force"):
        new_federation("federation.yaml", roots)
    assert Path("federation.yaml").read_text() == "mine"
    new_federation("federation.yaml", roots, force=True)
    assert "north" in Path("federation.yaml").read_text()


def test_faults_of_all_roots_are_told_and_nothing_is_written(roots):
    make_root(Path("data/west"), "t1", labelled=True, classes=["background", "tumour"])
    Path("data/south/images/s0.nii.gz").write_bytes(b"no image")
    with pytest.raises(
        InputError, match=r"nothing was written, for 2 problems(?s:.*)s0.nii.gz(?s:.*)1: tumour"
    ):
        new_federation("federation.yaml", [*roots, "data/west"])
    with pytest.raises(InputError, match="data/nowhere"):
        new_federation("federation.yaml", ["data/nowhere"])
    assert not Path("federation.yaml").exists()


@pytest.mark.parametrize(
    ("file", "roots", "words"),
    [
        ("data/north", ["data/north"], "expected the name of a YAML file"),
        ("federation.yaml", [], "name the data roots"),
        ("federation.yaml", ["data/north", "data/../data/north"], "named twice"),
    ],
)
def test_arguments_that_make_no_file(tmp_path, monkeypatch, file, roots, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=words):
        new_federation(file, roots)


def test_names_of_clients_are_folders_and_differ():
    assert client_names(["a/north", "b/south/"]) == ["north", "south"]
    assert client_names(["/d/a/images", "/d/b/images"]) == ["a-images", "b-images"]
    assert client_names(["/d/Hôpital 1", "/d/_x"]) == ["H-pital-1", "x"]
    assert client_names(["/é", "/ü"]) == ["client1", "client2"]
    assert client_names(["/d/all"]) == ["client-all"], "as the stages that are everybody's are called"
