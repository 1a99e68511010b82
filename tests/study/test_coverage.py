from __future__ import annotations

from shared_components.federation.data_check import check_clients
from shared_components.study.coverage import study_coverage
from shared_components.study.study import plan_study
from tests.federation.test_client_coverage import factory


def test_report_has_the_same_lines(values, capsys):
    small = factory(values, image_size=3, spacing=2.0)
    check_clients(small)
    assert study_coverage(plan_study(small)) == capsys.readouterr().out.splitlines()
