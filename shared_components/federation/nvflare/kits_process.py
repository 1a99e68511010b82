"""Runs several startup kits on one machine, until the parent ends: ``python -m … kits_process LOGS KIT KIT …``"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from shared_components.federation.nvflare.leash import end_all, hold


def main(logs: str, *kits: str) -> None:
    """Start each kit as its own script does, with the job's code alone; wait for all of them."""
    hold()
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    processes = []
    for kit in map(Path, kits):
        with (Path(logs) / f"{kit.name}.txt").open("w", encoding="utf-8") as log:
            command = ("bash", str(kit / "startup" / "sub_start.sh"), "--once")
            processes.append(
                subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            )
    for process in processes:
        process.wait()
    end_all(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
