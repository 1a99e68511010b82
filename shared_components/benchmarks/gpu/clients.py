"""Several clients of a federation on one device, side by side and one after the other."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from shared_components.benchmarks.gpu.bundles import LABELS, data, run_folder
from shared_components.benchmarks.gpu.place import Place, Row
from shared_components.benchmarks.repository import BUNDLES
from shared_components.benchmarks.tables import read_table
from shared_components.federation.federation_file import federation_from
from shared_components.federation.local import make_engine

DOMAINS = ("t1", "t2", "pet")
SMALL = {
    **{"image_size": 32, "channels": [8, 8, 8, 8], "discriminator_channels": [8, 8, 8, 8]},
    **{"z_dim": 16, "w_dim": 16, "growth": {}},
}
LARGE = {
    **{"image_size": 64, "spacing": 3.4, "growth": {}, "z_dim": 512, "w_dim": 512},
    **{"channels": [352, 352, 352, 224, 112], "discriminator_channels": [352, 352, 352, 224, 112]},
}


def side_by_side(place: Place) -> Iterator[Row]:
    """Three clients in a process each: the slowest one's update; then in one process, by turns."""
    for workers in (3, 1) if not place.smoke else (0,):
        seconds, updates, total = _trained(place, workers)
        remark = f"the federation took {total:.1f} s, its start included"
        processes = {0: "this process", 1: "one process"}.get(workers, f"{workers} processes")
        yield Row(f"3 clients, {processes}: an update of the slowest", seconds / updates, remark=remark)


def _trained(place: Place, workers: int) -> tuple[float, int, float]:
    """Seconds of the slowest client's later rounds, updates of a round, seconds of the whole."""
    out, updates = run_folder(place, f"federation_{workers}"), 2 if place.smoke else 10
    values = {
        **{"name": "clients", "bundle": str(BUNDLES / "factory"), "domains": list(DOMAINS), "labels": LABELS},
        "clients": {name: {"data_root": data(place, name), "domain": name} for name in DOMAINS},
        **{"rounds": 3, "updates_per_round": updates, "workers": workers, "output_dir": out},
        "overrides": {"picture_every": 0, **(SMALL if place.smoke else LARGE)},
    }
    federation = federation_from(values, place.folder / "federation.yaml")
    total = place.seconds(lambda: make_engine(federation, quiet=True).run(force=True))
    rows = read_table(place.folder / "runs" / f"federation_{workers}" / "rounds.csv")
    rounds = {row["round"] for row in rows[3:]}
    slowest = [max(float(row["seconds"]) for row in rows if row["round"] == number) for number in rounds]
    return statistics.median(slowest), updates, total
