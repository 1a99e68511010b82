from __future__ import annotations

import pytest

from scripts.benchmark import privacy
from shared_components.audit.figures import read_figures
from shared_components.errors import InputError
from shared_components.networks.factory import export_generator
from tests.audit.blobs import small_generator, write_root


@pytest.fixture(scope="module")
def factory(tmp_path_factory):
    path = tmp_path_factory.mktemp("factory") / "factory.pt"
    return str(export_generator(small_generator(), path, ["a"], {0: "background"}, None, None))


def test_every_root_has_an_audit_and_the_page_begins_with_what_it_means(factory, tmp_path, capsys):
    roots = [write_root(tmp_path / name, {"training": 2, "test": 2}, seed) for seed, name in enumerate("xy")]
    out = tmp_path / "out"
    privacy(factory, *map(str, roots), output_dir=str(out), drawn=20)
    told = capsys.readouterr().out
    assert told.splitlines()[0].startswith("No sign that the factory copies training images")
    assert told.splitlines()[0].endswith("Of x, y this is weak evidence.")
    assert "- x: No sign of copies" in told and "| memorised share" in told
    assert (out / "privacy.md").read_text() == told.removesuffix("\n")
    assert set(read_figures(out / "privacy.csv")) == {"x", "y"}
    assert {file.name for file in (out / "y").iterdir()} == {"audit.csv", "audit.md", "worst_pairs_0.png"}


def test_clients_of_which_nothing_can_be_told_are_named(factory, tmp_path, capsys):
    roots = [
        write_root(tmp_path / "x", {"training": 2, "test": 2}),
        write_root(tmp_path / "y", {"training": 2}),
    ]
    privacy(factory, *map(str, roots), output_dir=str(tmp_path / "both"), drawn=20)
    assert "Of y it cannot be told." in capsys.readouterr().out.splitlines()[0]
    privacy(factory, str(roots[1]), output_dir=str(tmp_path / "one"), drawn=20)
    told = capsys.readouterr().out
    assert told.splitlines()[0] == "Whether the factory copies training images cannot be told."
    assert "found 0 held-out" in told and "pictures" not in told


def test_roots_of_one_name_are_refused(factory, tmp_path):
    with pytest.raises(InputError, match="named differently, found x, x"):
        privacy(factory, str(tmp_path / "1" / "x"), str(tmp_path / "2" / "x"), output_dir=str(tmp_path))
