"""Source domains for domain generalisation: the held-out domain left out, labels for a few subjects."""

from __future__ import annotations

import hashlib
import math
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from shared_components.data.client_root import ClientRoot, data_roots, refuse_other_classes
from shared_components.data.dataset_json import DATASET_FILE, read_description
from shared_components.errors import InputError


def source_domains(domains: Sequence[str], held_out: str | None = None) -> list[str]:
    """The federation's domains without the held-out one; a slice's domain index counts these.

    Raises:
        InputError: ``held_out`` is none of ``domains``, or the only one.
    """
    if held_out is not None and held_out not in domains:
        raise InputError(
            f"held_out: expected one of the domains {', '.join(map(repr, domains))} or null, found {held_out!r}; "
            "a misspelt name would let the domain train"
        )
    sources = [domain for domain in domains if domain != held_out]
    if not sources:
        raise InputError(
            f"held_out: leaves none of the domains {list(domains)}; name one more or hold none out"
        )
    return sources


def domain_items(
    dataset_dir: str | os.PathLike | Sequence[str | os.PathLike],
    split: str,
    held_out: str | None = None,
    labelled: bool | None = None,
    domains: Sequence[str] | None = None,
    labels: Mapping[int, str] | Mapping[str, str] | None = None,
) -> list[dict[str, str]]:
    """Items of a split of several client data roots, without those of the held-out domain.

    Of a data root of the held-out domain only the name of its domain is read: its entries are not listed and
    its images are not even looked up. The held-out domain need not have a data root here. Those whose labels are
    used must have the same classes.

    Args:
        dataset_dir: a data root, or several, one or more for a domain.
        split: ``training``, ``validation`` or ``test``.
        held_out: the domain left out; ``None`` leaves none out.
        labelled: ``True`` or ``False`` keeps the items with or without a label; ``None`` keeps all.
        domains: all domains of the federation, the held-out one too; ``None``: those of the data roots.
        labels: label value to class name that the data roots must have, from 0 without a gap; ``None``: any.
    Returns:
        Items as :func:`shared_components.data.datalist` gives them.
    Raises:
        InputError: a faulty data root or one named twice, a domain that the federation lacks, a held-out domain
            that nobody knows, labels of other classes than another's, or no item left.
    """
    roots = data_roots(dataset_dir)
    _refuse_repeats(roots)
    found = {root: _domain(root) for root in roots}
    known = list(dict.fromkeys(found.values())) if domains is None else list(domains)
    source_domains(known, held_out)
    for root, domain in found.items():
        if domain not in known:
            raise InputError(
                f"{Path(root) / DATASET_FILE}: 'domain' is {domain!r}, the federation has "
                f"{', '.join(map(repr, known))}; correct it, or the federation's `domains`"
            )
    sources = [root for root, domain in found.items() if domain != held_out]
    loaded = [ClientRoot.load(root) for root in sources]
    items = [item for root in loaded for item in root.items(split, labelled)]
    if not items:
        kind = {True: "labelled ", False: "unlabelled ", None: ""}[labelled]
        without = ", or set val_interval: 0 to train without" if split == "validation" else ""
        raise InputError(
            f"{split}: no {kind}images in {', '.join(map(str, sources)) or 'any data root'}"
            f"{'' if held_out is None else f' ({held_out!r} is held out)'}; add some to their {DATASET_FILE}{without}"
        )
    if labelled is not False:
        refuse_other_classes([root for root in loaded if root.items(split, labelled=True)], labels)
    return items


def _refuse_repeats(roots: Sequence[str | os.PathLike]) -> None:
    places = [Path(root).resolve() for root in roots]
    for number, place in enumerate(places):
        if place in places[:number]:
            raise InputError(f"dataset_dir: names {roots[number]} twice; name each data root once")


def _domain(root: str | os.PathLike) -> str:
    """The domain that a data root states; nothing else of it is used."""
    content, faults = read_description(root)
    if faults:
        raise InputError(str(faults[0]))
    return content["domain"]


def few_labels(
    items: Sequence[Mapping[str, str]], fraction: float | Mapping[str, float], seed: int = 0
) -> list[dict[str, str]]:
    """Keep the labels of a fraction of every domain's labelled subjects; the others become unlabelled.

    A subject keeps all its labels or none: items of the same ``patient`` (by default each item is a subject of
    its own) go together. The draw depends on the seed and the names of domain and subject alone, not on the order
    or on other subjects' files, and a larger fraction keeps the subjects of a smaller one.

    Args:
        items: training items, as :func:`domain_items` gives them.
        fraction: 0 (no labels) to 1 (all), the same for every domain or by domain (1 where not stated);
            ceil(fraction · labelled subjects) subjects keep their labels.
        seed: seed of the draw.
    Returns:
        All the items, in order.
    Raises:
        InputError: a fraction beyond 0 to 1, or one of a domain that no item has.
    """
    subjects: dict[str, set[str]] = defaultdict(set)
    for item in items:
        subjects[item["domain"]] |= {patient(item)} if "label" in item else set()
    fractions = _fractions(fraction, list(subjects))
    kept = {
        domain: set(in_drawn_order(names, f"{seed}/{domain}")[: _count(fractions[domain], len(names))])
        for domain, names in subjects.items()
    }
    return [
        {key: value for key, value in item.items() if key != "label" or patient(item) in kept[item["domain"]]}
        for item in items
    ]


def patient(item: Mapping[str, str]) -> str:
    """Whose image an item is: several frames of one heart are one patient's."""
    return item.get("patient", item["subject"])


def in_drawn_order(names: Iterable[str], key: str) -> list[str]:
    """Different names in a random order that depends on ``key`` (a seed, say) and the names alone.

    The order of two names does not depend on which others there are, nor on where the files lie.
    """
    return sorted(set(names), key=lambda name: hashlib.sha256(f"{key}/{name}".encode()).digest())


def _fractions(fraction: float | Mapping[str, float], domains: Sequence[str]) -> dict[str, float]:
    stated = dict(fraction) if isinstance(fraction, Mapping) else dict.fromkeys(domains, fraction)
    for domain, value in stated.items():
        if domain not in domains:
            raise InputError(
                f"label_fraction: names the domain {domain!r}, the training items have "
                f"{', '.join(map(repr, domains))}; correct the name"
            )
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= 1:
            raise InputError(f"label_fraction: expected a number of 0 to 1, found {value!r} for {domain!r}")
    return {domain: stated.get(domain, 1.0) for domain in domains}


def _count(fraction: float, subjects: int) -> int:
    return math.ceil(round(fraction * subjects, 6))  # 0.07 of 100 is 7.000000000000001, which is no 8


def require_labels(items: Sequence[Mapping[str, str]]) -> None:
    """Refuse to train where nobody has labels; in a federation a client without any learns from the others'.

    Raises:
        InputError: no item has a label.
    """
    if not any("label" in item for item in items):
        raise InputError(
            f"training: expected labels of some of the {len(items)} images, found none; add label maps to the "
            f"{DATASET_FILE} of a data root"
        )
