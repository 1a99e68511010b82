"""``report.html`` of a study: what the clients had, what the factory draws, and how well each model segments.

Written from ``<run_dir>/study.json``; paths in it are absolute or relative to ``run_dir``. Every key may be absent:
its section then says what is missing. ::

    name, date, machine, seed    text or numbers for the heading
    domains                      names, in order
    labels                       {"1": "brain", …}
    clients                      {client: {"data_root", "domain", "role",
                                  "subjects": {split: {"total", "labelled"}}, "epsilon", "epsilons": {training:
                                  epsilon}}}; the last two if its updates got noise: in all trainings, in each
    privacy                      {"clip", "noise", "delta"} of these updates, null without
    unseen                       {name: the same}: scanners whose test volumes alone were used
    coverage                     [text…], what the networks see of each client's images
    stages                       [{"client", "stage", "seconds", "status"}]
    scores                       [{"client", "method", "csv", "predictions"}]: the CSV of metrics.write_scores; the
                                 folder of the inference run (with cases.json), by default the CSV's; the methods'
                                 order is the table's, ours last; no "csv": there are no labels to score against
    choices                      {client: {"record", "picture"}} of the clients that chose a model, see
                                 shared_components.choice
    candidates                   {name in such a record: method}
    methods                      {method: a sentence about it}
    audit                        {client: CSV of what the factory gives away, see shared_components.audit}
    matrix                       {"sites": [client…], "models": [{"model", "scores": {client: CSV}}]}
    origins                      [text…], whose images and labels are in what, and what left whom
    pictures                     {client: {"real": [path…], "generated": [path…], "translations": [path…]}}:
                                 .npz of slices (N, H, W), a line for each array under its name, or pictures
    failed, waiting              [{"client", "stage", "cause"}], and the keys of stages that need one of these
    exchange                     [{"origin", "target", "what", "size" (bytes)}]: what went between places
    curves                       [{"title", "csv"}]; by default factory/rounds.csv and every <stage>/metrics.csv
                                 and clients/<client>/<stage>/metrics.csv
    notes                        [text…], shown at the end
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from shared_components.errors import InputError
from shared_components.files import write_text
from shared_components.report.curves import curves_uri, read_csv
from shared_components.report.html import Html, element, join, missing, page, picture, section, table
from shared_components.report.left_out import left_out_section
from shared_components.report.privacy import NO_LOSSES, epsilon_text, losses_stayed, privacy_note
from shared_components.report.study import Study
from shared_components.report.study_audit import audit_section
from shared_components.report.study_choice import choice_section
from shared_components.report.study_exchange import exchange_section
from shared_components.report.study_failed import failed_section
from shared_components.report.study_matrix import matrix_section
from shared_components.report.study_pictures import (
    disentanglement_section,
    overlays_section,
    pictures_section,
    translations_section,
)
from shared_components.report.study_scores import scores_section

ROUNDS = "rounds.csv"


def write_study_report(run_dir: str | Path, output: str | Path | None = None) -> Path:
    """Write a study's report.

    Args:
        run_dir: the study's folder, with ``study.json``.
        output: the page; by default ``<run_dir>/report.html``.
    Raises:
        InputError: no ``study.json``, or it is no JSON object.
    """
    study = Study(run_dir)
    content = page(
        str(study.content.get("name", Path(run_dir).resolve().name)),
        _subtitle(study),
        _facts(study),
        [
            failed_section(study),
            choice_section(study),
            scores_section(study),
            matrix_section(study),
            _origins_section(study),
            _clients_section(study),
            _left_out_section(study),
            pictures_section(study),
            audit_section(study),
            translations_section(study),
            disentanglement_section(study),
            overlays_section(study),
            _curves_section(study),
            _time_section(study),
            exchange_section(study),
            _notes_section(study),
        ],
    )
    return write_text(output or Path(run_dir) / "report.html", content)


def _subtitle(study: Study) -> str:
    machine = study.content.get("machine", "")
    if isinstance(machine, Mapping):
        machine = ", ".join(f"{key} {value}" for key, value in machine.items())
    parts = [study.content.get("date", ""), machine]
    if study.content.get("seed") is not None:
        parts.append(f"seed {study.content['seed']}")
    return " · ".join(str(part) for part in parts if part)


def _facts(study: Study) -> list[tuple[object, object]]:
    clients = study.part("clients", {})
    facts: list[tuple[object, object]] = []
    if clients:
        facts += [
            (len(clients), "clients"),
            (
                sum(client.get("role") == "unlabelled" for client in clients.values()),
                "of them without labels",
            ),
            (sum(_count(client, "total") for client in clients.values()), "volumes"),
        ]
    if study.part("domains", []):
        facts.append((len(study.part("domains", [])), "domains"))
    seconds = sum(float(stage.get("seconds") or 0) for stage in study.part("stages", []))
    return [*facts, (duration(seconds), "in all stages")] if seconds else facts


def duration(seconds: float) -> str:
    """Seconds as people read them: ``45 s``, ``12 min 5 s``, ``2 h 3 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _count(client: Mapping, key: str) -> int:
    return sum(int(split.get(key, 0)) for split in client.get("subjects", {}).values())


def _origins_section(study: Study) -> Html:
    lines = [element("li", line) for line in study.part("origins", [])]
    return section("What came from where", element("ul", *lines)) if lines else Html("")


def _clients_section(study: Study) -> Html:
    clients = {**study.part("clients", {}), **study.part("unseen", {})}
    if not clients:
        return section("Clients and their data", missing("no clients: the study lists none (“clients”)"))
    splits = list(dict.fromkeys(split for client in clients.values() for split in client.get("subjects", {})))
    noisy = any("epsilon" in client for client in clients.values())
    rows = [
        [
            name,
            client.get("domain", ""),
            client.get("role", ""),
            *(_volumes(client, split) for split in splits),
            *([epsilon_text(client.get("epsilon"), client.get("epsilons"))] if noisy else []),
        ]
        for name, client in clients.items()
    ]
    head = ["Client", "Domain", "Role", *(split.capitalize() for split in splits)]
    head += ["Epsilon"] if noisy else []
    promise = f" {privacy_note(study.part('privacy', {}))}" if "privacy" in study.content else ""
    seen = [element("li", line) for line in study.part("coverage", [])]
    partly = (
        " Of label maps that are known in part (“annotated” and “ignore” in dataset.json) the rest is neither trained "
        "on nor scored."
        if any(_count(client, "partly") for client in clients.values())
        else ""
    )
    return section(
        "Clients and their data",
        table(head, rows, numeric_from=3),
        *([element("ul", *seen, class_="note")] if seen else []),
        note="Volumes in each split, with how many of them carry labels. Labels of an unlabelled client's test "
        "volumes serve for scoring alone; of an unseen scanner nothing but the test volumes is read."
        + partly
        + promise,
    )


def _volumes(client: Mapping, split: str) -> Html:
    counts = client.get("subjects", {}).get(split, {})
    partly = f", {counts['partly']} in part" if counts.get("partly") else ""
    return join(
        [counts.get("total", 0), element("small", f" ({counts.get('labelled', 0)} labelled{partly})")]
    )


def _left_out_section(study: Study) -> Html:
    sections = []
    for file in sorted(study.root.glob("*/rounds.csv")):
        with contextlib.suppress(InputError):  # the curves say what is wrong with it
            sections.append(left_out_section(read_csv(file), file.parent))
    return join(sections)


def _curves_section(study: Study) -> Html:
    curves = study.part("curves", []) or _found_curves(study.root)
    parts: list[Html] = []
    for curve in curves:
        parts.append(element("h3", curve.get("title", "")))
        if Path(curve.get("csv", "")).name == ROUNDS and losses_stayed(study.part("privacy", {})):
            parts.append(element("p", NO_LOSSES))
            continue
        try:
            parts.append(picture(curves_uri(study.path(curve.get("csv", ""))), curve.get("csv", "")))
        except InputError as error:
            parts.append(missing(study.told(error)))
    return section("Training curves", *(parts or [missing("no tables of losses were found")]))


def _found_curves(root: Path) -> list[dict[str, str]]:
    paths = [
        *sorted(root.glob(f"factory/{ROUNDS}")),
        *sorted(root.glob(f"source_model/{ROUNDS}")),
        *sorted(root.glob("*/metrics.csv")),
        *sorted(root.glob("clients/*/**/metrics.csv")),
    ]
    return [
        {
            "title": ", ".join(path.relative_to(root).parts[:-1]).replace("clients, ", ""),
            "csv": str(path.relative_to(root)),
        }
        for path in paths
    ]


def _time_section(study: Study) -> Html:
    stages = study.part("stages", [])
    if not stages:
        return section("Time", missing("no stages: the study lists none (“stages”)"))
    longest = max(float(stage.get("seconds") or 0) for stage in stages) or 1.0
    rows = []
    for stage in stages:
        seconds = float(stage.get("seconds") or 0)
        share = f"--share: {100 * seconds / longest:.1f}%"
        bar = element("td", duration(seconds), class_="share", style=share)
        rows.append([stage.get("client") or "all", stage.get("stage", ""), stage.get("status", ""), bar])
    return section("Time", table(["Client", "Stage", "Status", "Wall time"], rows, numeric_from=9))


def _notes_section(study: Study) -> Html:
    notes = study.part("notes", [])
    return section("Notes", *(element("p", note) for note in notes)) if notes else Html("")
