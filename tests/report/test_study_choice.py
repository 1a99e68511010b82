from __future__ import annotations

import json
import re

from shared_components.choice.client_choice import write_choice
from shared_components.choice.criteria import Verdict
from shared_components.report import write_study_report


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
