from __future__ import annotations

import math

import pytest

from shared_components.audit.figures import Figure, read_figures, write_figures
from shared_components.audit.page import WORDS, words_of
from shared_components.errors import InputError


def test_read_as_written(tmp_path):
    figures = {
        "t1": {"frechet": Figure(0.25, real=0.125)},
        "t2": {"membership_image": Figure(0.5, 0.4, 0.6, 0.5)},
    }
    read = read_figures(write_figures(tmp_path / "audit.csv", figures))
    assert read["t2"] == figures["t2"]
    assert read["t1"]["frechet"].real == 0.125 and math.isnan(read["t1"]["frechet"].low)


@pytest.mark.parametrize(
    "text", ["domain,figure,value\nt1,frechet,1\n", "domain,figure,value,low,high,real\na,b,x,1,1,1\n"]
)
def test_another_table_is_refused(tmp_path, text):
    (tmp_path / "audit.csv").write_text(text)
    with pytest.raises(InputError, match="expected columns domain, figure, value, low, high, real"):
        read_figures(tmp_path / "audit.csv")


def test_every_figure_has_words():
    assert words_of("memorised_image").endswith("(pixels)")
    assert words_of("frechet") == WORDS["frechet"]
