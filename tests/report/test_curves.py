from __future__ import annotations

import numpy as np
import pytest

from shared_components.errors import InputError
from shared_components.report import curves
from shared_components.report.curves import curves_uri, frames_uri
from shared_components.report.overlays import outlines_uri
from shared_components.report.pages import figure_uri
from tests.report.pixels import pixels


def test_curves_need_a_step_and_numbers(tmp_path):
    (tmp_path / "good.csv").write_text("epoch,update,loss,note\n1,10,0.5,a\n2,20,nan,b\n3,30,0.2,c\n")
    assert pixels(curves_uri(tmp_path / "good.csv"))[..., 3].any()
    (tmp_path / "bad.csv").write_text("epoch,update\n1,10\n")
    with pytest.raises(
        InputError, match=r"bad\.csv: expected one of round, epoch, update and columns of numbers"
    ):
        curves_uri(tmp_path / "bad.csv")
    (tmp_path / "empty.csv").write_text("epoch,loss\n")
    with pytest.raises(InputError, match=r"empty\.csv: expected rows, found none"):
        curves_uri(tmp_path / "empty.csv")
    with pytest.raises(InputError, match=r"none\.csv: expected a table, found no file"):
        curves_uri(tmp_path / "none.csv")


def test_curves_have_the_colours_of_the_outlines():
    image = pixels(frames_uri(np.array([[5.0, 9.0], [3.0, 8.0], [5.0, 9.0]]), ["a", "b"]))
    for colour in ((0xF5, 0x9E, 0x0B), (0xE8, 0x79, 0xF9)):
        assert (np.abs(image[..., :3] - colour).max(axis=-1) < 30).mean() > 1e-4


def federated(path, clients: int, blank: tuple[int, str] | None = None):
    """A table of so many clients, in which one may have nothing in a column."""
    rows = [
        f"{r},hospital_{c:03d},"
        + ",".join("" if (c, name) == blank else str(c / 50 + 1 / r) for name in ("dice", "loss"))
        for r in (1, 2, 3)
        for c in range(clients)
    ]
    path.write_text("\n".join(["round,client,dice,loss", *rows]) + "\n")
    return path


@pytest.fixture
def drawn(monkeypatch):
    """Figures as they were drawn."""
    figures = []
    monkeypatch.setattr(curves, "figure_uri", lambda figure: figures.append(figure) or figure_uri(figure))
    return figures


@pytest.mark.parametrize("clients", [2, 24, 25, 100])
def test_the_legend_leaves_the_panels_their_height(tmp_path, drawn, clients):
    curves_uri(federated(tmp_path / "rounds.csv", clients))
    (figure,) = drawn
    (legend,) = figure.legends
    place, height = legend.get_window_extent(), figure.dpi
    assert all(place.y0 > axis.title.get_window_extent().y1 for axis in figure.axes)
    assert all(place.x1 <= figure.bbox.x1 for axis in figure.axes)
    assert all(axis.get_window_extent().height > 1.2 * height for axis in figure.axes)  # inch
    named = [text.get_text() for text in legend.get_texts()]
    assert len(named) == (clients if clients <= 24 else 2)
    looks = {(line.get_color(), line.get_linestyle()) for line in figure.axes[0].lines}
    assert len(looks) == len(figure.axes[0].lines)  # no two lines look the same


def test_of_many_clients_the_mean_and_the_range_are_drawn(tmp_path, drawn):
    curves_uri(federated(tmp_path / "rounds.csv", 51))
    axis = drawn[0].axes[0]
    (mean,) = axis.lines
    assert mean.get_ydata() == pytest.approx([0.5 + 1 / r for r in (1, 2, 3)])
    edges = axis.collections[0].get_paths()[0].vertices[:, 1]
    assert (edges.min(), edges.max()) == pytest.approx((1 / 3, 2))
    assert [text.get_text() for text in drawn[0].legends[0].get_texts()] == [
        "least to most", "mean of 51 clients"
    ]  # fmt: skip


def test_a_client_without_numbers_in_the_first_panel_is_in_the_legend(tmp_path, drawn):
    curves_uri(federated(tmp_path / "rounds.csv", 3, blank=(2, "dice")))
    assert [text.get_text() for text in drawn[0].legends[0].get_texts()][2] == "hospital_002"


def test_of_very_many_columns_the_first_are_drawn_and_the_others_counted(tmp_path, drawn, monkeypatch):
    names = [f"m{number}" for number in range(400)]
    monkeypatch.setattr(curves, "MOST_PANELS", 4)  # drawing takes long
    (tmp_path / "rounds.csv").write_text(f"round,{','.join(names)}\n1{',1' * len(names)}\n")
    curves_uri(tmp_path / "rounds.csv")
    assert len(drawn[0].axes) == 4 and drawn[0].axes[-1].get_title(loc="left") == "m3"
    assert drawn[0].get_supxlabel() == "round; 396 more columns are in the table alone"


def test_names_with_dollar_signs_are_no_formulas(tmp_path, drawn):
    (tmp_path / "rounds.csv").write_text("round,client,$\\foo{$\n1,a$\\bar{$,1\n1,b,2\n")
    curves_uri(tmp_path / "rounds.csv")
    assert drawn[0].axes[0].get_title(loc="left") == r"\$\foo{\$"
    assert [text.get_text() for text in drawn[0].legends[0].get_texts()] == [r"a\$\bar{\$", "b"]
    assert frames_uri(np.ones((2, 1)), [r"$\foo{$"])
    planes = np.random.default_rng(0).random((1, 4, 4))
    assert outlines_uri(planes, None, {r"$\foo{$": np.zeros((1, 4, 4), int)}, [1])


def test_numbers_and_names_that_no_figure_can_hold_spoil_none(tmp_path, drawn):
    (tmp_path / "rounds.csv").write_text(
        f"round,client,a,{'b' * 20000}\n1,x,1e308,1\n2,x,-1e308,2\n1e308,x,1,2\n"
    )
    curves_uri(tmp_path / "rounds.csv")
    panel = drawn[0].axes[1]
    assert len(panel.get_title(loc="left")) < 110 and len(panel.lines[0].get_xdata()) == 2
