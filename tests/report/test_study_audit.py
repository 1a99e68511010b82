from __future__ import annotations

import json

from shared_components.audit.figures import Figure, write_figures
from shared_components.report import write_study_report

HONEST = {
    "training_volumes": Figure(24),
    "held_out_volumes": Figure(10),
    "memorised_image": Figure(0.01, 0.004, 0.025, 0.01),
    "memorised_features": Figure(0.02, 0.01, 0.03, 0.01),
    "memorised_by_chance_image": Figure(0.01, 0.004, 0.026, 0.01),
    "membership_image": Figure(0.47, 0.41, 0.54, 0.5),
    "membership_features": Figure(0.54, 0.46, 0.62, 0.5),
    "flagged_image": Figure(0),
    "flagged_features": Figure(0),
    "frechet": Figure(0.14, real=0.05),
    "coverage": Figure(0.473, real=0.704),
}
COPIED = {**HONEST, "memorised_image": Figure(0.9, 0.87, 0.93, 0.01), "flagged_image": Figure(1)}


def with_audit(study, figures) -> str:
    file = study / "study.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    content["audit"] = {
        name: str(write_figures(study / f"{name}.csv", {"t<1>": of}).name) for name, of in figures.items()
    }
    file.write_text(json.dumps(content))
    return write_study_report(study).read_text(encoding="utf-8")


def section(page: str) -> str:
    page = page[page.index("What the factory gives away") :]
    return page[: page.index("</section>")]


def test_each_client_has_a_sentence_and_its_figures(study):
    part = section(with_audit(study, {"south": HONEST, "island": COPIED}))
    assert "<b>south</b>: No sign of copies: 2 % [1, 3] of the generated slices" in part
    assert '<li class="missing"><b>island</b>: The factory COPIES: 90 % [87, 93]' in part
    assert part.count("0.14 (0.05)") == 2 and part.count("0.473 (0.704)") == 2 and "0.47 [0.41, 0.54]" in part
    assert "weak evidence" not in part


def test_domains_of_one_client_stand_apart_and_are_no_markup(study):
    file = study / "study.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    write_figures(study / "audit.csv", {"<a>": HONEST, "b": HONEST})
    file.write_text(json.dumps({**content, "audit": {"south": "audit.csv"}}))
    part = section(write_study_report(study).read_text(encoding="utf-8"))
    assert "<b>south, &lt;a&gt;</b>" in part and "<b>south, b</b>" in part


def test_a_table_that_is_gone_is_told(study):
    file = study / "study.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "audit": {"south": "nowhere.csv"}}))
    assert "nowhere.csv: expected a text file" in section(write_study_report(study).read_text())


def test_a_study_without_an_audit_has_no_such_section(study):
    assert "What the factory gives away" not in write_study_report(study).read_text(encoding="utf-8")
