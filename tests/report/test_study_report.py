from __future__ import annotations

import json
import math
import re
import shutil
from html.parser import HTMLParser

from PIL import Image

from shared_components.audit.figures import Figure, write_figures
from shared_components.records import write_record
from shared_components.report import write_study_report
from shared_components.report.pages import SVG, WEBP
from tests.study_records import write_study

VOID = {"meta", "img", "br"}


class Balance(HTMLParser):
    """Notes tags that are not closed in order, and every address that a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.addresses += [value for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", re.sub(r"<style>.*?</style>", "", page, flags=re.S)))


def test_a_whole_study_is_one_file_with_every_section(study):
    page = write_study_report(study).read_text(encoding="utf-8")
    checked = Balance()
    checked.feed(page)
    assert not checked.faults
    assert not checked.open
    assert checked.addresses
    assert all(address.startswith((WEBP, SVG)) for address in checked.addresses)
    # real, generated; translations, two cases a client, curves
    assert len(checked.addresses) == 2 + 1 + 2 * 2 + 1
    text = text_of(page)
    for title in (
        "How well",
        "Clients and",
        "Real against",
        "Translations",
        "Segmentations",
        "curves",
        "Time",
    ):
        assert title in text
    assert "three &lt;heads&gt;" in page
    assert "brain &amp; &lt;cord&gt;" in page
    assert "2 min 5 s" in text


def test_epsilon_stands_beside_each_client(study):
    assert "Epsilon" not in text_of(write_study_report(study).read_text(encoding="utf-8"))
    content = json.loads((study / "study.json").read_text())
    content["clients"]["south"]["epsilon"] = 3.14159
    content["privacy"] = {"clip": 1.0, "noise": 8.0, "delta": 1e-5, "losses": False}
    (study / "study.json").write_text(json.dumps(content))
    text = text_of(write_study_report(study).read_text(encoding="utf-8"))
    assert re.search(r"Role Training Test Epsilon south t2 unlabelled .*\(3 labelled\) 3\.14 island", text)
    assert "Each update was clipped to a norm of 1 and given noise of 8 times that" in text


def test_the_best_of_each_client_is_marked(study):
    page = write_study_report(study).read_text(encoding="utf-8")
    rows = [row for row in re.findall(r"<tr>.*?</tr>", page) if "share" in row and "n = 3" in row]
    assert len(rows) == 2  # a line for each client
    for row in rows:
        source, ours = re.findall(r"<td class=.*?</td>", row)
        assert ours.count("best") == 2 and "best" not in source


def test_each_method_of_the_table_is_explained(study):
    content = json.loads((study / "study.json").read_text(encoding="utf-8"))
    content["methods"] = {"adaptation": "the client's own model", "other": "is not in the table"}
    (study / "study.json").write_text(json.dumps(content))
    text = text_of(write_study_report(study).read_text(encoding="utf-8"))
    assert "adaptation : the client&#39;s own model" in text and "is not in the table" not in text


def test_client_without_labels_to_score_against_is_told_what_to_look_at(study):
    content = json.loads((study / "study.json").read_text(encoding="utf-8"))
    content["scores"] = [
        {"client": "south", "method": "adaptation", "predictions": "clients/south/adaptation"},
        *(entry for entry in content["scores"] if entry["client"] == "island"),
    ]
    content["clients"]["east"] = {"domain": "t2", "role": "unlabelled", "subjects": {}}
    (study / "study.json").write_text(json.dumps(content))
    page = write_study_report(study).read_text(encoding="utf-8")
    scores = text_of(page.partition("How well the models segment")[2].partition("Clients and their data")[0])
    assert "south: its test volumes have no labels, so there is nothing to score against" in scores
    assert "all of them lie in clients/south/adaptation," in scores
    assert "east: has no test volumes" in scores
    assert "island n = 3" in scores and "expected" not in text_of(page)
    assert "s0: no label" in page and "s1: no label" in page and "s2: no label" in page
    assert "missing" not in page.partition("How well")[2].partition("Clients and")[0]


def test_translations_are_missed_only_where_somebody_adapted(study):
    content = json.loads((study / "study.json").read_text(encoding="utf-8"))
    content["scores"], content["pictures"] = [], {}
    (study / "study.json").write_text(json.dumps(content))
    text = text_of(write_study_report(study).read_text(encoding="utf-8"))
    assert "None: the adaptation of south, island drew no pictures" in text
    for client in content["clients"].values():
        client["role"] = "labelled"
    (study / "study.json").write_text(json.dumps(content))
    assert "Translations" not in write_study_report(study).read_text(encoding="utf-8")


def test_no_page_holds_the_place_where_the_study_lies(study):
    (study / "clients" / "south" / "adaptation" / "scores.csv").unlink()
    (study / "factory" / "rounds.csv").write_text("nonsense")
    (study / "real.png").unlink()
    text = text_of(write_study_report(study).read_text(encoding="utf-8"))
    assert "clients/south/adaptation/scores.csv: expected a table of scores" in text
    assert str(study) not in text


def test_a_study_without_test_volumes_says_so(study):
    content = json.loads((study / "study.json").read_text(encoding="utf-8"))
    (study / "study.json").write_text(json.dumps({**content, "scores": []}))
    text = text_of(write_study_report(study).read_text(encoding="utf-8"))
    assert "no scores: no client" in text and "no segmentations: no client" in text


def test_labels_that_are_known_in_part_are_counted(study):
    content = json.loads((study / "study.json").read_text(encoding="utf-8"))
    assert "known in part" not in text_of(write_study_report(study).read_text(encoding="utf-8"))
    content["scores"] = []  # no overlays: quick
    content["clients"]["south"]["subjects"]["training"] |= {"total": 8, "labelled": 5, "partly": 2}
    (study / "study.json").write_text(json.dumps(content))
    text = text_of(write_study_report(study).read_text(encoding="utf-8"))
    assert "8 (5 labelled, 2 in part)" in text
    assert "is neither trained on nor scored" in text


def test_missing_files_are_named_and_the_rest_is_shown(study):
    (study / "real.png").unlink()
    (study / "clients" / "south" / "adaptation" / "scores.csv").unlink()
    (study / "clients" / "island" / "adaptation" / "s2_seg.nii.gz").unlink()
    (study / "factory" / "rounds.csv").unlink()
    text = text_of(write_study_report(study).read_text(encoding="utf-8"))
    assert "real.png: expected a picture" in text
    assert "adaptation/scores.csv: expected a table of scores" in text
    assert "s2_seg.nii.gz: expected a volume, found no file" in text
    assert "no tables of losses" in text
    assert "8 (0 labelled)" in text


def test_anatomy_and_style_are_shown_where_a_stage_took_them_apart(study):
    assert "Anatomy and style" not in write_study_report(study).read_text(encoding="utf-8")
    for place in ("generalisation", "clients/south/generalisation"):
        (study / place / "pictures").mkdir(parents=True)
        for name in ("swaps_00004", "swaps_00008", "translation_00008"):
            Image.new("L", (6, 4)).save(study / place / "pictures" / f"{name}.png")
    text = text_of(write_study_report(study).read_text(encoding="utf-8"))
    shown = text[text.index("Anatomy and style") : text.index("Segmentations")]
    assert shown.count("Style swaps, epoch 8") == 2 and "epoch 4" not in shown
    assert "south, generalisation" in shown and "Translations" not in shown


def test_the_least_that_a_study_tells_gives_a_page(tmp_path):
    write_study(tmp_path, name="small")
    page = write_study_report(tmp_path, tmp_path / "other.html")
    assert page == tmp_path / "other.html"
    assert "<h1>small</h1>" in page.read_text(encoding="utf-8")


HONEST = {
    "training_volumes": Figure(24),
    "held_out_volumes": Figure(10),
    "memorised_image": Figure(0.01, 0.004, 0.025, 0.01),
    "memorised_features": Figure(0.02, 0.01, 0.03, 0.01),
    "memorised_by_chance_image": Figure(0.01, 0.004, 0.026, 0.01),
    "memorised_by_chance_features": Figure(0.01, 0.004, 0.026, 0.01),
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


def test_sections_of_damaged_data_are_told_as_missing_and_the_page_goes_on(study):
    file = study / "study.json"
    content = json.loads(file.read_text(encoding="utf-8")) | {"scores": [], "privacy": {"noise": 1.0}}
    content["exchange"] = [{"origin": "a", "target": "b", "what": "c", "size": 10**400}]
    rows = ["epoch,a,b", "1,2,3,4"]
    (study / "clients/south/metrics.csv").write_text("\n".join(rows))
    write_record(study / "choice.json", {"candidates": [], "chosen": ["a"]})
    content["choices"] = {"south": {"record": "choice.json"}}
    file.write_text(json.dumps(content))
    lacking = {name: figure for name, figure in HONEST.items() if name == "memorised_image"}
    endless = {**HONEST, "held_out_volumes": Figure(math.inf), "frechet": Figure(math.inf)}
    text = text_of(with_audit(study, {"south": lacking, "east": endless, "island": HONEST}))
    assert "clients: cannot be shown, its data are damaged (KeyError: &#39;clip&#39;)" in text
    assert "what was sent: cannot be shown, its data are damaged (OverflowError:" in text
    assert "choice.json: cannot be shown, its data are damaged (KeyError: &#39;reason&#39;)" in text
    assert "clients/south/metrics.csv: cannot be shown, its data are damaged (TypeError:" in text
    assert "expected a figure &#39;memorised_features&#39;, found none" in text
    assert "expected a number as &#39;held_out_volumes&#39;, found inf" in text
    assert "island : No sign of copies" in text and "2 min 5 s" in text


def test_nothing_that_a_record_names_outside_its_folder_is_shown(study):
    elsewhere = study.parent / "secret"
    (study / "clients/south/adaptation").rename(elsewhere)
    (study / "real.png").rename(elsewhere / "real.png")
    (elsewhere / "metrics.csv").write_text("epoch,secret_column\n1,2\n")
    (study / "clients/south/metrics.csv").symlink_to(elsewhere / "metrics.csv")
    write_figures(elsewhere / "audit.csv", {"a": HONEST})
    write_record(elsewhere / "choice.json", {})
    file = study / "study.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    content["pictures"]["south"] |= {"generated": str(elsewhere / "real.png"), "real": "../secret/real.png"}
    mine = next(tests for tests in content["scores"] if tests["predictions"] == "clients/south/adaptation")
    content["scores"] = [{**mine, "predictions": str(elsewhere), "csv": str(elsewhere / "scores.csv")}]
    scores = {"south": str(elsewhere / "scores.csv")}
    content["matrix"] = {"sites": ["south"], "models": [{"model": "a", "scores": scores}]}
    content |= {
        "audit": {"south": "../secret/audit.csv"},
        "choices": {"south": {"record": "../secret/choice.json"}},
    }
    file.write_text(json.dumps(content))
    page = write_study_report(study).read_text(encoding="utf-8")
    told = re.findall(r'<p class="missing">(.*?)</p>', page)
    outside = [
        remark for remark in told if "expected a place in the study&#39;s folder, found one outside" in remark
    ]
    assert len(outside) == 8 and page.count("<img") == 2  # translations, and the curves of the factory


def test_no_image_of_this_machine_is_shown_that_is_none_of_the_clients_own(study):
    file, listed = study / "study.json", study / "clients/south/adaptation/cases.json"
    content, cases = json.loads(file.read_text(encoding="utf-8")), json.loads(listed.read_text())
    content["scores"] = [
        each for each in content["scores"] if each["predictions"] == str(listed.parent.relative_to(study))
    ]
    private = study.parent / "private"
    shutil.copytree(content["clients"]["south"]["data_root"], private, ignore=lambda *_: ["dataset.json"])
    (study / "own.nii.gz").write_bytes((private / "s1.nii.gz").read_bytes())
    image = {"s0": private / "s0.nii.gz", "s1": study / "own.nii.gz"}
    cases["cases"] = [
        case | {"image": str(image.get(case["case"], case["image"]))} for case in cases["cases"]
    ]

    def told() -> tuple[int, list[str]]:
        file.write_text(json.dumps(content))
        write_record(listed, cases)
        page = write_study_report(study).read_text(encoding="utf-8").partition("Segmentations</h2>")[2]
        page = page.partition("</section>")[0]
        return page.count("<img"), re.findall(r'<p class="missing">(.*?)</p>', page)

    content["scores"][0].pop("csv")
    shown, (remark,) = told()
    assert shown == 2 and remark.startswith(
        f"{private}/s0.nii.gz: expected an image in the study&#39;s folder"
    )
    content["clients"]["south"]["data_root"] = "/"  # no data root, whatever a record says
    assert told()[0] == 0
    (listed.parent / "s1_seg.nii.gz").unlink()
    (listed.parent / "s1_seg.nii.gz").symlink_to(private / "s1.nii.gz")
    cases["cases"] = cases["cases"][1:2]
    cases["cases"][0].pop("label")
    shown, (remark,) = told()
    assert shown == 0 and "expected a place in the study&#39;s folder, found one outside" in remark
    (listed.parent / "s1_seg.nhdr").write_text(f"NRRD0004\ndata file: {private}/s1.raw\n")
    (private / "s1.raw").touch()
    cases["cases"][0]["segmentation"] = "s1_seg.nhdr"
    shown, (remark,) = told()
    assert shown == 0 and "private/s1.raw: expected a place in the study&#39;s folder" in remark
    cases["cases"][0]["segmentation"] = str(private / "s1.nii.gz")
    shown, (remark,) = told()
    assert shown == 0 and "cases.json: expected segmentations in its own folder" in remark
