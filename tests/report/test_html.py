from __future__ import annotations

from shared_components.report.html import Html, element, page, picture, section, table


def test_text_is_escaped_and_markup_is_not():
    assert element("p", "a < b & c", Html("<b>d</b>"), class_='x"y') == (
        '<p class="x&quot;y">a &lt; b &amp; c<b>d</b></p>'
    )
    assert 'alt="&lt;&quot;&gt;"' in picture("data:,", '<">')


def test_tables_set_numbers_to_the_right_below_their_groups():
    made = table(["Method", "Dice"], [["ours", "0.9"]], groups=[("", 1), ("south", 1)])
    assert '<td>ours</td><td class="number">0.9</td>' in made
    assert made.index("south") < made.index("Dice")


def test_a_page_is_whole_and_fetches_nothing():
    made = page("a <study>", "today", [(3, "clients")], [section("One", "text", note="why")])
    assert made.startswith("<!doctype html>")
    assert "<title>a &lt;study&gt;</title>" in made
    assert "<b>3</b><span>clients</span>" in made
    assert "http" not in made
