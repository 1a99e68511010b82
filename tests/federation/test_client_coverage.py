from __future__ import annotations

from pathlib import Path

from shared_components.data.coverage import Frame
from shared_components.federation.client_coverage import frame_of
from shared_components.federation.data_check import check_clients
from tests.federation.tiny import federation

FACTORY = {
    "bundle": str(Path(__file__).parents[2] / "bundles" / "factory"),
    "configs": ["common.yaml", "train.yaml"],
}


def factory(values, **overrides):
    return federation(values, **FACTORY, overrides=overrides)


def test_frame_is_the_bundles_with_the_overrides(values):
    assert frame_of(factory(values)) == Frame(48, 4.5, "RAS")
    assert frame_of(factory(values, image_size=24, orientation="ASR")) == Frame(24, 4.5, "ASR")
    assert frame_of(federation(values)) is None  # a bundle without such ids


def test_check_tells_what_lies_outside_at_each_client(values, capsys):
    check_clients(factory(values, image_size=3, spacing=2.0))  # cubes of 8 mm, near the middle of 16 mm
    island, north, south, better = capsys.readouterr().out.splitlines()
    for name, line in (("north", north), ("south", south), ("island", island)):
        assert line.startswith(f"{name}: ") and "% of what is brighter than air lies outside" in line
        assert "image_size 3 px × spacing 2 mm = 6 mm (" in line and " in images/s" in line
    assert better.startswith("to take in nearly all of every image: overrides: spacing: ")


def test_check_says_so_where_all_is_taken_in(values, capsys):
    check_clients(factory(values, image_size=12, spacing=1.4))
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["island", "north", "south"]
    assert all("take in nearly all" in line for line in lines)
