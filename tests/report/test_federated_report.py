from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from shared_components.errors import InputError
from shared_components.report import write_federated_report


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
