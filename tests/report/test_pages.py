from __future__ import annotations

import numpy as np
import pytest
from jinja2 import UndefinedError
from matplotlib.figure import Figure
from PIL import Image

from shared_components.errors import InputError
from shared_components.report.pages import (
    TEMPLATES,
    Missing,
    Picture,
    address,
    figure_uri,
    file_link,
    file_uri,
    slices_uri,
    told,
    write_page,
)
from tests.report.pixels import pixels
from tests.report.rendered import rendered


def test_text_is_escaped():
    assert rendered("m.missing(text)", text="a < b & c").strip() == '<p class="missing">a &lt; b &amp; c</p>'
    parts = rendered("m.parts(parts)", parts=[Picture("data:,", '<">'), Missing("<gone>")])
    assert 'alt="&lt;&#34;&gt;"' in parts and "&lt;gone&gt;" in parts and "<gone>" not in parts


def test_a_picture_has_its_caption_or_another_text_in_its_place():
    assert '<figure class="wide"><img src="data:," alt="losses">' in rendered(
        "m.picture(shown)", shown=Picture("data:,", alternative="losses")
    )
    shown = rendered("m.picture(shown)", shown=Picture("data:,", "slices", "sheet"))
    assert '<figure class="sheet"><figcaption>slices</figcaption><img src="data:," alt="slices">' in shown


def test_tables_set_numbers_to_the_right():
    made = rendered("m.plain_table(['Method', 'Dice'], [['ours', '0.9']])")
    assert '<tr><td>ours</td><td class="number">0.9</td></tr>' in made
    assert '<th scope="col">Method</th><th class="number" scope="col">Dice</th>' in made


def test_a_page_is_whole_and_fetches_nothing(tmp_path):
    content = {"validation": [], "pictures": [], "losses": [], "files": []}
    content["settings"] = {"rows": [], "missing": "no settings"}
    page = write_page(
        tmp_path / "a" / "p.html", "training.html", "a <run>", "today", [(3, "clients")], **content
    )
    made = page.read_text(encoding="utf-8")
    assert made.startswith("<!doctype html>") and made.endswith("</html>\n")
    assert "<title>a &lt;run&gt;</title>" in made and "<h1>a &lt;run&gt;</h1>" in made
    assert "<b>3</b><span>clients</span>" in made and "color-scheme: light dark" in made
    assert "http" not in made


def test_what_a_template_shows_must_be_given(tmp_path):
    with pytest.raises(UndefinedError, match="'validation' is undefined"):
        write_page(tmp_path / "p.html", "training.html", "a", "", [])
    assert list(tmp_path.iterdir()) == []


def test_a_page_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "p.html").mkdir()
    with pytest.raises(InputError, match=r"p\.html"):
        write_page(tmp_path / "p.html", "base.html", "a", "", [])


def test_no_template_passes_markup_by_the_escaping():
    sources = {file.name: file.read_text(encoding="utf-8") for file in TEMPLATES.glob("*.html")}
    assert len(sources) > 5
    assert [name for name, text in sources.items() if "safe" in text or "autoescape" in text] == []


def test_links_are_relative_to_the_page(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a b#1.nii.gz").write_text("")
    page = tmp_path / "out" / "report.html"
    assert address(tmp_path / "data" / "a b#1.nii.gz", page) == "../data/a%20b%231.nii.gz"
    link = file_link(tmp_path / "data" / "a b#1.nii.gz", page)
    assert rendered("m.link(to)", to=link) == '<a href="../data/a%20b%231.nii.gz">a b#1.nii.gz</a>'


def test_what_is_not_there_has_no_link(tmp_path):
    link = file_link(tmp_path / "gone.pt", tmp_path / "p.html", "the <model>")
    assert rendered("m.link(to)", to=link) == "<span>the &lt;model&gt;</span>"


def test_messages_lose_the_folders_own_place(tmp_path):
    assert (
        told(f"{tmp_path}/a/b.csv: expected rows; see {tmp_path}/c", tmp_path)
        == "a/b.csv: expected rows; see c"
    )


def test_picture_files_are_checked(tmp_path):
    Image.new("P", (5, 4)).save(tmp_path / "good.png")
    assert pixels(file_uri(tmp_path / "good.png")).shape == (4, 5, 4)
    (tmp_path / "bad.png").write_text("no picture")
    for name in ("bad.png", "none.png"):
        with pytest.raises(InputError, match=f"{name[:-4]}\\.png: expected a picture"):
            file_uri(tmp_path / name)


def test_slices_take_little_and_look_the_same(tmp_path):
    random = np.random.default_rng(0).normal(0, 3, (200, 300))
    smooth = np.add.outer(np.sin(np.arange(200) / 9), np.cos(np.arange(300) / 7)) * 50 + 120
    file = tmp_path / "slices.png"
    Image.fromarray((smooth + random).clip(0, 255).astype(np.uint8)).save(file, optimize=True)
    shown, kept = pixels(file_uri(file)), np.asarray(Image.open(file)).astype(int)
    assert len(file_uri(file)) < 0.5 * file.stat().st_size
    assert np.sqrt(((shown[..., 0] - kept) ** 2).mean()) < 3 and (shown[..., 3] == 255).all()


def test_plots_keep_every_pixel_and_a_figure_has_no_background(tmp_path):
    plot = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(plot).save(tmp_path / "plot.png")
    assert (pixels(file_uri(tmp_path / "plot.png"))[..., :3] == plot).all()
    figure = Figure(figsize=(2, 1), dpi=50)
    figure.add_axes((0, 0, 0.5, 1)).set_axis_off()
    figure.axes[0].imshow(np.ones((4, 4)), aspect="auto")
    for drawn in (figure_uri, slices_uri):
        shown = pixels(drawn(figure))
        assert (
            shown.shape == (50, 100, 4)
            and (shown[:, 60:, 3] == 0).all()
            and (shown[5:45, 5:45, 3] == 255).all()
        )
