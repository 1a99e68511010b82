"""Write a report as one HTML file: ``python scripts/report.py FOLDER [--out report.html]``."""

from __future__ import annotations

from shared_components.command_line import run
from shared_components.report.__main__ import report

if __name__ == "__main__":
    run(report)
