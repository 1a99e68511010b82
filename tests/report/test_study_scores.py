from __future__ import annotations

import json
import re

from shared_components.audit.figures import Figure, write_figures
from shared_components.choice.client_choice import write_choice
from shared_components.choice.criteria import Verdict
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


def with_matrix(study, models: dict[str, str]) -> str:
    """The page of a study whose matrix has the two clients' own tables, under other models' names."""
    file = study / "study.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    rows = [
        {"model": name, "scores": {site: f"clients/{site}/{kind}/scores.csv" for site in ("south", "island")}}
        for name, kind in models.items()
    ]
    content["matrix"] = {"sites": ["south", "island"], "models": rows}
    content["origins"] = ["Source model: images and labels of <north>."]
    file.write_text(json.dumps(content))
    return write_study_report(study).read_text(encoding="utf-8")


def test_every_model_stands_at_every_client_and_the_best_of_a_column_is_marked(study):
    page = with_matrix(study, {"source model of north": "source model", "adaptation of south": "adaptation"})
    table = page[page.index("Every model at every client") :]
    table = table[: table.index("</section>")]
    assert re.findall(r"<th [^>]*>(.*?)</th>", table) == ["Model", "south (n = 3)", "island (n = 3)"]
    first, second = (row for row in re.findall(r"<tr>.*?</tr>", table) if "<td" in row)
    assert "source model of north" in first and "best" not in first
    assert "adaptation of south" in second and second.count("best") == 2
    dice = [float(value) for value in re.findall(r">(0\.\d{3})<", first + second)]
    assert len(dice) == 4 and max(dice[:2]) < min(dice[2:])
    assert 'class="scroll"' in table and "images and labels of &lt;north&gt;" in page


def test_a_table_that_is_gone_leaves_a_dash_and_is_told(study):
    page = with_matrix(study, {"adaptation": "adaptation", "another": "nowhere"})
    assert "–</td>" in page and 'class="missing"' in page and "nowhere/scores.csv" in page


def test_a_study_without_a_matrix_has_no_such_section(study):
    page = write_study_report(study).read_text(encoding="utf-8")
    assert "Every model at every client" not in page and "What came from where" not in page


def test_candidates_are_told_as_tables_and_as_pictures_call_them(study):
    found = {
        "source_model": Verdict(0.2, 1.5, 0.9, 0.8),
        "adaptation": Verdict(0.1, 2.5, 0.9, 0.8),
        "source_only": Verdict(3.0, 9.0, 0.9, 0.8),
    }
    write_choice(study / "clients/south/choice", found, ["adaptation"])
    content = json.loads((study / "study.json").read_text(encoding="utf-8"))
    content["choices"] = {"south": {"record": "clients/south/choice/choice.json"}}
    content["candidates"] = {
        "source_model": "source model",
        "adaptation": "adaptation",
        "source_only": "source model without augmentation",
    }
    (study / "study.json").write_text(json.dumps(content))
    page = write_study_report(study).read_text(encoding="utf-8")
    table = page[page.index("Which model each client uses") :].split("</table>")[0]
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>.*?</tr>", table)[1:]]
    assert [(row[0], row[-1]) for row in cells] == [
        ("source model <small>source_model</small>", ""),
        ("<b>adaptation</b>", "chosen"),
        ("source model without augmentation <small>source_only</small>", "refused: shapes"),
    ]
