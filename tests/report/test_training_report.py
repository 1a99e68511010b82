from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared_components.errors import InputError
from shared_components.report import write_training_report
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
    assert all(uri.startswith("data:image/png;base64,") for uri in re.findall(r'src="(.*?)"', content))
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
