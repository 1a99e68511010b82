"""Rows of a table of unseen domains, which domains are left out in turn, and where the runs lie.

A row says how a training of ``bundles/segmentation`` differs from its defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared_components.data.dataset_json import DATASET_FILE
from shared_components.data.phantoms import make_cardiac
from shared_components.data.phantoms.cardiac import SCANNERS
from shared_components.data.spinal_cord import SITES, make_spinal_cord
from shared_components.metrics.intervals import Design

UNET: dict[str, Any] = {"configs": ("unet.yaml",), "network": {"anatomy_channels": "$len(@labels)"}}
AVERAGED = {"average": 0.99, "batch_size": 8}  # as ours, whose batch has two halves of 4
META_LEARNING = ("meta_learning.yaml",)
FIRST_ORDER = {"second_order": False}  # half the time; a row of the ablation has the second order
FULL = "meta_learning_augmented"  # what the ablations take something away from
CONVOLUTIONS = {"looks": "mild", "convolution_probability": 0.5}
KEPT = {"looks": "strong", "keep_contrast": 0.5}
DISENTANGLEMENT = (
    "reconstruction_weight",
    "regression_weight",
    "prior_weight",
    "domain_weight",
    "rank_weight",
)
TESTS = "tests"  # folder beside data roots whose tests are not for scoring


@dataclass(frozen=True)
class UnseenRow:
    """A method.

    Attributes:
        name: in the table.
        configs: merged after ``common.yaml`` and ``train.yaml``.
        overrides: values of the training.
        network: values that inference needs as well, since they shape the network.
        unseen: trained on the held-out domain itself, with all its labels: a bound, not a rival.
        synthetic: trained by a study (factory, source model) on synthetic volumes; no image leaves its site.
        ablation: without something that the full method has.
        matched: a U-Net on labels alone, with as many updates as ours makes with and without labels.
    """

    name: str
    configs: tuple[str, ...] = ()
    overrides: Mapping[str, Any] = field(default_factory=dict)
    network: Mapping[str, Any] = field(default_factory=dict)
    unseen: bool = False
    synthetic: bool = False
    ablation: bool = False
    matched: bool = False


def _matched(looks: str) -> UnseenRow:
    name = f"U-Net, running average, {looks} looks, as many updates"
    return UnseenRow(name, **UNET, overrides={**AVERAGED, "looks": looks}, matched=True)


def _self_trained(name: str, **overrides: Any) -> UnseenRow:
    return UnseenRow(f"self-trained U-Net, {name}", overrides=overrides)


def _meta_learned(name: str, **overrides: Any) -> UnseenRow:
    return UnseenRow(f"meta-learning, {name}", META_LEARNING, {**FIRST_ORDER, **overrides})


def _without(what: str, **overrides: Any) -> UnseenRow:
    return UnseenRow(f"without {what}", META_LEARNING, {**FIRST_ORDER, **overrides}, ablation=True)


ROWS = {
    "unet": UnseenRow("U-Net", **UNET, overrides={"looks": "none"}),
    "unet_mild": UnseenRow("U-Net, mild looks", **UNET, overrides={"looks": "mild"}),
    "unet_augmented": UnseenRow("U-Net, strong looks", **UNET, overrides={"looks": "strong"}),
    "averaged_mild": _matched("mild"),
    "averaged": _matched("strong"),
    "self_trained_mild": _self_trained("mild looks", looks="mild"),
    "self_trained_convolutions": _self_trained("mild looks, random convolutions", **CONVOLUTIONS),
    "self_trained_kept": _self_trained("strong looks that keep half of the contrast", **KEPT),
    "self_trained": _self_trained("strong looks", looks="strong"),
    "meta_learning": _meta_learned("no looks", looks="none"),
    "meta_learning_mild": _meta_learned("mild looks", looks="mild"),
    "meta_learning_convolutions": _meta_learned("mild looks, random convolutions", **CONVOLUTIONS),
    "meta_learning_kept": _meta_learned("strong looks that keep half of the contrast", **KEPT),
    FULL: _meta_learned("strong looks", looks="strong"),
    "no_unlabelled": _without("unlabelled images", unlabelled_updates=False),
    "no_teacher": _without("the teacher of unlabelled images", teacher_epochs=[]),
    "no_disentanglement": _without("disentanglement losses", **dict.fromkeys(DISENTANGLEMENT, 0.0)),
    "no_meta_learning": _without("meta-learning", meta_learning=False),
    "no_average": _without("the running average of the weights", average=0.0),
    "second_order": UnseenRow("with the second order", META_LEARNING, {"second_order": True}, ablation=True),
    "synthetic": UnseenRow("segmentation on synthetic volumes, all labels of one site", synthetic=True),
    "bound": UnseenRow(
        "U-Net trained on the unseen domain, all its labels",
        **UNET,
        overrides={"looks": "none", "label_fraction": 1.0},
        unseen=True,
    ),
}


@dataclass(frozen=True)
class UnseenBench:
    """A scenario at a size, in a folder of its own.

    Attributes:
        name: key of ``SCENARIOS``.
        output_dir: the folder lies in it, see :attr:`folder`.
        fast: a third of the updates of everything.
        smoke: the smallest sizes.
    """

    name: str
    output_dir: Path
    fast: bool = False
    smoke: bool = False

    @property
    def scenario(self) -> UnseenScenario:
        """What is done."""
        return SCENARIOS[self.name]

    @property
    def folder(self) -> Path:
        """``<output_dir>/<scenario>``, with the size."""
        size = [word for word in ("fast", "smoke") if getattr(self, word)]
        return Path(self.output_dir).resolve() / "_".join([self.name, *size])

    @property
    def rows(self) -> tuple[str, ...]:
        """Keys of the rows that there are."""
        return tuple(row for row in ROWS if row not in self.scenario.without)

    def data(self, seed: int) -> Path:
        """Client data roots of a seed, one per domain."""
        return self.folder / f"data{seed}"

    def places(self, seeds: Sequence[int], domains: Sequence[str], rows: Sequence[str]) -> list[UnseenRun]:
        """All runs, a seed after the other, so that whole tables of the first seeds come early."""
        return [UnseenRun(self, seed, domain, row) for seed in seeds for row in rows for domain in domains]

    def found(self) -> list[UnseenRun]:
        """Runs of which something lies in the folder."""
        seeds = sorted(int(path.name.removeprefix("seed")) for path in self.folder.glob("seed[0-9]*"))
        places = self.places(seeds, self.scenario.domains, self.rows)
        return [place for place in places if place.predictions.is_dir()]


@dataclass(frozen=True)
class UnseenRun:
    """A run: one row, held-out domain and seed.

    Attributes:
        bench: whose run.
        seed: of the subjects, the choice of labelled ones and the training.
        held_out: the domain that is scored.
        row: key of ``ROWS``.
    """

    bench: UnseenBench
    seed: int
    held_out: str
    row: str

    @property
    def data(self) -> Path:
        """Client data roots of the seed, one per domain."""
        return self.bench.data(self.seed)

    @property
    def tested(self) -> Path:
        """The data root whose test volumes are scored."""
        return self.data / self.bench.scenario.tests / self.held_out

    @property
    def training(self) -> Path:
        """Output of the training, or of the study that trains."""
        return self.bench.folder / f"seed{self.seed}" / self.held_out / self.row / "training"

    @property
    def trained(self) -> Path:
        """Where the training has put ``model.pt`` and ``metrics.csv``."""
        return self.training / "generalisation" if ROWS[self.row].synthetic else self.training

    @property
    def predictions(self) -> Path:
        """Segmentations of the held-out domain's test subjects, and their scores."""
        return self.training.parent / "predictions"

    def __str__(self) -> str:
        return f"seed {self.seed}, {self.held_out} held out, {ROWS[self.row].name}"


@dataclass(frozen=True)
class UnseenScenario:
    """Domains of which each has labels and may be left out.

    Attributes:
        words: what they are and which labels are used, for the table.
        domains: names of the domains, and of their data roots.
        make: writes the data roots of a seed into a folder, at full or smallest size. What is there is kept.
        study: federation file in ``scripts`` whose study makes the row on synthetic volumes.
        label_fraction: share of the training subjects of every domain whose labels are used.
        values: of the bundle's config, for training and inference.
        inference: of the bundle's config, for inference alone, for every row alike.
        smoke: the same at the smallest size, after ``smoke.yaml``.
        tests: where, in a seed's data, the data roots are whose test volumes are scored.
        without: keys of the rows that it has not.
        design: what repeats when the experiment does.
    """

    words: str
    domains: Sequence[str]
    make: Callable[[Path, int, bool], None]
    study: str
    label_fraction: float = 1.0
    values: Mapping[str, Any] = field(default_factory=dict)
    inference: Mapping[str, Any] = field(default_factory=dict)
    smoke: Mapping[str, Any] = field(default_factory=dict)
    tests: str = "."
    without: Sequence[str] = ()
    design: Design = field(default_factory=Design)

    def bundle_values(self, smoke: bool) -> dict[str, Any]:
        """``values`` of a size."""
        return {**self.values, **(self.smoke if smoke else {})}


def _make_hearts(folder: Path, seed: int, smoke: bool) -> None:
    small: dict[str, Any] = {"subjects": (4, 1, 1), "coarseness": 3.0} if smoke else {}
    make_cardiac(folder, seed=seed, generalisation=True, **small)


def _make_cords(folder: Path, seed: int, smoke: bool) -> None:
    """The same real images whatever the seed: with the labels to train on, and beside them those to be tested on."""
    tests = folder / TESTS
    if not (tests / SITES[-1] / DATASET_FILE).is_file():  # the last that is written
        make_spinal_cord(folder, SITES, force=True)
        make_spinal_cord(tests, (), force=True)


SCENARIOS = {
    "cardiac": UnseenScenario(
        "Cardiac phantoms; each column's domain was held out. Labels in 10% of the training subjects of every other "
        "domain, but where a row says otherwise, and in all their validation subjects.",
        tuple(SCANNERS),
        _make_hearts,
        "unseen_scanner.yaml",
        label_fraction=0.1,
    ),
    "spine_unseen": UnseenScenario(
        "Spinal cords of six real hospitals; each column's was held out, and its run 1 is the test. Every other "
        "hospital has labels of one volume and none of its repetition; the second sessions choose the weights.",
        SITES,
        _make_cords,
        "spine.yaml",
        values={
            "labels": {0: "background", 1: "white matter", 2: "grey matter"},
            "image_size": 64,
            "spacing": 0.7,
            "orientation": "RAS",
        },
        inference={"largest_component": [[1, 2]]},  # a cord is in one piece
        smoke={"image_size": 32, "spacing": 1.4},
        tests=TESTS,
        without=("bound",),  # of whoever was scanned in one session alone, nothing but the test is labelled
        design=Design(same_subjects=True, draw_clients=True),  # a hospital shows one person
    ),
}
