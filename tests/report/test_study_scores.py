from __future__ import annotations

import json
import re

from shared_components.choice.client_choice import write_choice
from shared_components.choice.criteria import Verdict
from shared_components.records import read_record, write_record
from shared_components.report import write_study_report


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


def page_of_a_choice(study, **changed) -> str:
    """The page of a study with a choice whose record has other values."""
    file = study / "clients/south/choice/choice.json"
    found = {"source_model": Verdict(0.1, 1.5, 0.9, 0.8), "adaptation": Verdict(0.2, 2.5, 0.9, 0.5)}
    write_choice(file.parent, found, ["adaptation"])
    record = {key: value for key, value in read_record(file, "").items() if key != "sha256"} | changed
    write_record(file, {key: value for key, value in record.items() if value is not None})
    content = json.loads((study / "study.json").read_text(encoding="utf-8"))
    (study / "chosen").mkdir(exist_ok=True)
    (study / "chosen" / "mild.pt").write_bytes(b"")
    models = {"source_model": "chosen/mild.pt", "adaptation": "clients/south/adaptation/model.pt"}
    content["choices"] = {"south": {"record": "clients/south/choice/choice.json", "models": models}}
    content["candidates"] = {"source_model": "source model", "adaptation": "adaptation"}
    (study / "study.json").write_text(json.dumps(content))
    page = write_study_report(study).read_text(encoding="utf-8")
    return page[page.index("Which model each client uses") :].split("</section>")[0]


def test_candidates_that_find_different_things_come_with_advice_and_the_rule(study):
    section = page_of_a_choice(study)
    assert "at least 0.8 times as clear" in section and "find different things here" in section
    assert (
        "the safest candidate is “source model”" in section
        and f"--ckpt_path {study / 'chosen' / 'mild.pt'} behind" in section
    )
    assert "--resume: its report then scores every candidate" in section


def test_the_safest_candidate_whose_model_is_gone_is_named(study):
    page_of_a_choice(study)
    (study / "chosen" / "mild.pt").unlink()
    page = write_study_report(study).read_text(encoding="utf-8")
    assert "--ckpt_path the model.pt of source_model behind" in page


def test_a_choice_without_its_rule_and_doubts_is_told_whole(study):
    section = page_of_a_choice(study, rule=None, partner=None, disagree=None)
    assert (
        "<h3>south: adaptation</h3>" in section
        and "clearest edges wins. Told" in section
        and "<ol>" not in section
    )


def test_a_choice_without_its_reason_is_told_as_missing(study):
    assert "choice.json: cannot be shown, its data are damaged (KeyError" in page_of_a_choice(
        study, reason=None
    )
