"""A stage that fails at its site, over NVFlare: as on the local engine."""

from __future__ import annotations

import pytest

from tests.study.test_runner import assert_left_out_and_made_up_for, with_a_failure
from tests.study.test_study import values

pytest.importorskip("nvflare")
__all__ = ["values"]


@pytest.mark.thorough
def test_the_others_go_on_and_resume_makes_up_for_it(values, tmp_path):
    values, cure = with_a_failure({**values, "engine": "nvflare"}, tmp_path)
    sites = tuple(tmp_path / "out" / "sites" / name / "clients" / name for name in ("south", "island"))
    assert_left_out_and_made_up_for(values, cure, sites)
