from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared_components.errors import InputError
from shared_components.report import write_federated_report, write_training_report
from shared_components.report.pages import WEBP
from shared_components.report.run_sections import newest_pictures
from shared_components.report.training_report import best

TABLE = (
    "epoch,update,dice,meta_test,validation_dice\n1,10,3.0,5.0,0.25\n2,20,2.0,4.0,0.75\n3,30,1.0,3.0,0.5\n"
)


@pytest.fixture
def training(tmp_path) -> Path:
    """A folder as a training leaves it."""
    folder = tmp_path / "hearts <new>"
    (folder / "pictures").mkdir(parents=True)
    (folder / "metrics.csv").write_text(TABLE)
    for name in ("swaps_00002", "swaps_00010", "anatomy_00010", "odd_00001", "unnumbered"):
        Image.fromarray(np.full((4, 6), 90, np.uint8)).save(folder / "pictures" / f"{name}.png")
    (folder / "settings.json").write_text(json.dumps({"held_out": "D", "adapted": [""], "rate": 1e-3}))
    (folder / "model.pt").write_bytes(b"0" * 2000)
    return folder


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def test_the_page_shows_scores_pictures_settings_and_files(training):
    written = write_training_report(training)
    content = read(written)
    assert written == training / "report.html"
    assert "Training in hearts &lt;new&gt;" in content and "3 epochs, 30 updates" in content
    assert "<b>0.750</b><span>best validation Dice, epoch 2</span>" in content
    assert "<b>0.500</b><span>last validation Dice</span>" in content
    assert content.count("<img") == 2 + 3  # validation, losses; the newest picture of each kind
    assert content.index("Anatomy channels, epoch 10") < content.index("Style swaps, epoch 10")
    assert content.index("Style swaps, epoch 10") < content.index("Odd, epoch 1")
    assert "<td>adapted</td><td><code>[&#34;&#34;]</code></td>" in content
    assert '<a href="model.pt">model.pt</a>' in content and ">2.0 kB<" in content
    assert "checkpoint.pt" not in content


def test_pictures_are_inside_the_page_and_links_lead_to_files(training, tmp_path):
    written = write_training_report(training, tmp_path / "elsewhere" / "page.html")
    content = read(written)
    assert all(uri.startswith(WEBP) for uri in re.findall(r'src="(.*?)"', content))
    assert 'href="../hearts%20%3Cnew%3E/model.pt"' in content


def test_what_a_run_did_not_leave_is_said(training):
    for path in (training / "pictures").iterdir():
        path.unlink()
    (training / "settings.json").unlink()
    (training / "metrics.csv").write_text("epoch,update,loss\n1,10,0.5\n")
    content = read(write_training_report(training))
    assert "no validation" in content and "no settings" in content and "<h2>Pictures" not in content
    assert content.count("<img") == 1


def test_a_damaged_picture_becomes_a_remark(training):
    (training / "pictures" / "swaps_00010.png").write_text("no picture")
    assert "swaps_00010.png: expected a picture" in read(write_training_report(training))


def test_the_newest_picture_of_each_kind_known_kinds_first(training):
    found = newest_pictures(training / "pictures")
    assert [path.stem for path in found.values()] == ["anatomy_00010", "swaps_00010", "odd_00001"]
    assert newest_pictures(training / "none") == {}


def test_the_best_epoch_is_the_first_of_the_highest():
    values = ("", "0.5", "nan", "0.7", "0.7")
    assert best([{"epoch": str(n), "s": value} for n, value in enumerate(values)], "s") == (0.7, "3")


def test_without_metrics_the_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"metrics\.csv: expected a table, found no file"):
        write_training_report(tmp_path)


@pytest.fixture
def run(tmp_path):
    lines = [
        f"{r},{c},{n},2.5,1000000,500000,{1 / r}" for r in (1, 2, 3) for c, n in (("north", 9), ("south", 7))
    ]
    header = "round,client,images,seconds,bytes_up,bytes_down,generator"
    (tmp_path / "rounds.csv").write_text("\n".join([header, *lines]) + "\n")
    (tmp_path / "federation.yaml").write_text(
        "name: heads & hearts\nrounds: 5\nclients: {north: {domain: t1}, south: {domain: [t2, pet]}}\nseed: 3\n"
    )
    (tmp_path / "clients" / "south" / "pictures").mkdir(parents=True)
    Image.fromarray(np.zeros((4, 6), np.uint8)).save(
        tmp_path / "clients" / "south" / "pictures" / "factory_00002.png"
    )
    return tmp_path


def test_clients_losses_pictures_and_settings_are_shown(run):
    page = write_federated_report(run).read_text(encoding="utf-8")
    assert "<h1>heads &amp; hearts" in page
    assert "<b>3 of 5</b><span>rounds" in page and "<b>9.0 MB</b><span>exchanged" in page
    assert "<b>15 s</b>" in page
    assert '<td>south</td><td>t2, pet</td><td class="number">3</td><td class="number">7</td>' in page
    assert '<td class="number">7.5 s</td><td class="number">3.0 MB</td><td class="number">1.5 MB</td>' in page
    assert page.count("<img") == 2 and "Generated slices, epoch 2" in page
    assert "<td>seed</td>" in page and "<td>clients</td>" not in page and 'href="clients"' in page


def test_clients_that_were_left_out_are_named_with_rounds_and_reason(run):
    assert "Left out of rounds" not in write_federated_report(run).read_text(encoding="utf-8")
    rows = [f"{r},north,0,2.5,0,500000,,no answer within 9 s & more" for r in (4, 5)]
    lines = (run / "rounds.csv").read_text().splitlines()
    lines = [lines[0] + ",left_out", *(line + "," for line in lines[1:]), *rows]
    (run / "rounds.csv").write_text("\n".join(lines) + "\n")
    page = write_federated_report(run).read_text(encoding="utf-8")
    assert "<td>north</td><td>4, 5</td><td>no answer within 9 s &amp; more</td>" in page
    assert '<td>north</td><td>t1</td><td class="number">5</td><td class="number">9</td>' in page


def test_epsilon_stands_beside_each_client(run):
    assert ">Epsilon</th>" not in write_federated_report(run).read_text(encoding="utf-8")
    lines = (run / "rounds.csv").read_text().splitlines()
    spent = ["epsilon", *(f"{n}.25" for n in range(len(lines) - 1))]
    (run / "rounds.csv").write_text("".join(f"{a},{b}\n" for a, b in zip(lines, spent, strict=True)))
    with (run / "federation.yaml").open("a") as file:
        file.write("privacy: {clip: 1.0, noise: 0.8, delta: 1.0e-05, losses: false}\n")
    page = write_federated_report(run).read_text(encoding="utf-8")
    assert ">Epsilon</th>" in page and '<td class="number">5.25</td></tr>' in page
    assert "clipped to a norm of 1 and given noise of 0.8 times that" in page and "at delta 1e-05" in page


def test_without_settings_the_folder_names_the_run(run):
    (run / "federation.yaml").unlink()
    page = write_federated_report(run, run / "r.html").read_text(encoding="utf-8")
    assert f"<h1>{run.name}" in page and "<b>3</b><span>rounds" in page and "no settings" in page


def test_without_rounds_the_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"rounds\.csv: expected a table, found no file"):
        write_federated_report(tmp_path)
