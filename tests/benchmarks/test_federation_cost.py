from __future__ import annotations

from types import SimpleNamespace

import pytest

from shared_components.benchmarks.federation_cost import SIZES, federation_benchmark, round_times
from shared_components.networks.discriminator import Discriminator
from shared_components.networks.generator import Generator

SAID = """3 clients read their images and build their networks
round 1/2 | loss 0.500 | 3 clients | 2.0 MB up, 1.0 MB down | 5.00 s, 0:05 left
round 1: a still at work
round 2/2 | loss 0.400 | 2 clients | 2.0 MB up, 1.0 MB down | left out: c (OSError: 2 s, 3 left) | 7.50 s, 0:00 left
"""


@pytest.mark.parametrize(
    ("engine", "workers", "expected"),
    [
        ("local", 2, [(5.0, 4.5), (7.5, 5.5)]),
        ("local", 3, [(5.0, 3.0), (7.5, 3.0)]),
        ("nvflare", 2, [(5.0, 3.0), (7.5, 3.0)]),
    ],
)
def test_a_round_takes_as_long_as_its_slowest_worker_trains_and_more(engine, workers, expected):
    """With two workers a and c share the first."""
    seconds = {"1": {"a": 1.5, "b": 2.0, "c": 3.0}, "2": {"a": 2.5, "b": 1.0, "c": 3.0}}
    rows = [
        {"round": number, "client": name, "seconds": str(value)}
        for number, of_round in seconds.items()
        for name, value in of_round.items()
    ]
    federation = SimpleNamespace(engine=engine, workers=workers, clients=dict.fromkeys("abc"))
    assert round_times(federation, SAID, rows) == expected


@pytest.mark.parametrize(("size", "millions"), zip(SIZES, (1, 30), strict=True))
def test_sizes_have_the_parameters_that_they_are_named_after(size, millions):
    """Generator, its average and discriminator."""
    values = size.overrides
    common = {"size": values["image_size"], "domains": 3, "positions": 16}
    mapping = {"z_dim": values["z_dim"], "w_dim": values["w_dim"], "mapping_layers": 2, "mapping_lr": 0.01}
    generator = Generator(**common, channels=values["channels"], **mapping)
    discriminator = Discriminator(
        **common, channels=values["discriminator_channels"], width=values["w_dim"], group_size=4
    )
    numbers = [sum(p.numel() for p in network.parameters()) for network in (generator, discriminator)]
    assert (2 * numbers[0] + numbers[1]) / 1e6 == pytest.approx(millions, rel=0.1)


@pytest.mark.thorough
def test_a_run_is_measured(tmp_path):
    """The local engine alone, at the smallest size, through the command line."""
    table = federation_benchmark(tmp_path, clients=(1,), engines=("local",), smoke=True)
    row = [cell.strip() for cell in table.splitlines()[2].split("|")[1:-1]]
    assert row[:2] == ["local", "1"] and float(row[3]) > 0 and float(row[4]) > 0
    assert 0.1 < float(row[-1].split()[0]) < 3
    assert (tmp_path / "federation_smoke" / "federation.md").read_text() == table
