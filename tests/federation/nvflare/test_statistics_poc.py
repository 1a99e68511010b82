"""Statistics over certificates, through the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared_components.benchmarks.faulty_study import wait_until
from shared_components.federation.statistics.page import read_statistics, write_statistics
from shared_components.federation.statistics.site import asked, local_statistics
from shared_components.files import make_folder
from tests.federation.nvflare.processes import federate, left_running
from tests.federation.tiny import federation, write_file

pytest.importorskip("nvflare")
from shared_components.federation.nvflare.kits import ADMIN, started
from shared_components.federation.nvflare.poc import SERVER, ProofOfConcept


def expected(values, folder: Path):
    """What the local engine tells with the minimum of a site file that states none."""
    tiny = federation(values)
    wanted = asked(tiny, bins=8)
    write_statistics(folder, "tiny", wanted, local_statistics(tiny, wanted))
    return read_statistics(folder)


@pytest.mark.thorough
def test_a_rehearsal_with_certificates_tells_what_the_local_engine_tells(values, tmp_path):
    file = write_file(tmp_path / "f.yaml", values)
    ended = federate("stats", file, "--bins", "8", "--engine", "poc", "--trust")
    output = ended.communicate()[0]
    assert ended.returncode == 0, output
    assert "north   t1      3 (3 labelled)" in output
    assert read_statistics(tmp_path / "run" / "statistics") == expected(values, tmp_path / "local")
    assert not (tmp_path / "run" / "statistics" / "nvflare").exists() and left_running(tmp_path) == []


def is_registered(log: Path) -> bool:
    """Whether a site's log says that the server knows it; asking the server instead takes a process of its own."""
    return log.is_file() and "Successfully registered client" in log.read_text(encoding="utf-8")


@pytest.mark.thorough
def test_sites_that_run_are_asked_through_the_administrators_kit_and_slow_ones_are_named(values, tmp_path):
    rehearsal = ProofOfConcept(federation(values), quiet=True)
    kits = rehearsal._kits(fresh=True)
    for name in values["clients"]:
        values["clients"][name].pop("data_root")
    file = write_file(tmp_path / "f.yaml", values, output_dir=str(tmp_path / "out"))
    logs = make_folder(tmp_path / "logs")
    with started([kits / SERVER, *(kits / name for name in values["clients"])], logs):
        assert wait_until(lambda: all(is_registered(logs / f"{name}.txt") for name in values["clients"]), 90)
        asking = federate("stats", file, "--startup_kit", kits / ADMIN, "--timeout", "0.001", "--trust")
        output = asking.communicate()[0]
    assert asking.returncode == 2
    assert output.count("no answer within 0.001 s (--timeout); its process was ended") == 3
    assert "error: tiny: no statistics of island, north, south" in output
