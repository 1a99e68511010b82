"""The folder of a study in which further rows are run: their lengths, stages and places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from shared_components.benchmarks.quality_scenarios import QualityScenario
from shared_components.benchmarks.runs import FOLDER
from shared_components.study.client_stages import study_stages
from shared_components.study.settings import PLAIN as PLAIN_SOURCE
from shared_components.study.settings import PREDICTIONS
from shared_components.study.source_model import Weights, source_weights
from shared_components.study.stage import Stage, inference_configs, make_stage, merged_config
from shared_components.study.study import Study

PLAIN = {"looks": "none", "convolution_probability": 0.0, "val_interval": 0, "quiet": True}
"""Of a U-Net with rotation, scaling, shear, translation and flips alone; the last weights are used."""


class Lengths:
    """Updates of a study's trainings at one client.

    Args:
        study: the study.
    """

    def __init__(self, study: Study) -> None:
        source = self._config(study, "pretrain", ("common.yaml", "pretrain.yaml"))
        adaptation = self._config(study, "train", ("common.yaml", "train.yaml"))
        self.epoch = int(source.get_parsed_content("epoch_length"))
        self.source = self.epoch * int(source.get_parsed_content("max_epochs"))
        phases = adaptation.get_parsed_content("phases")
        self.translation, self.segmentation, self.self_training = map(int, phases)

    @property
    def adaptation(self) -> int:
        """Of the segmenter, after the source model's."""
        return self.segmentation + self.self_training

    def epochs(self, updates: int) -> int:
        """How many there are in some updates."""
        return max(1, round(updates / self.epoch))

    @staticmethod
    def _config(study: Study, section: str, names: Sequence[str]) -> ConfigParser:
        config = merged_config(tuple(str(Path(study.adaptation) / "configs" / name) for name in names))
        own = {key: value for key, value in config.get().items() if key != config.meta_key}
        return ConfigParser({**own, **study.section("overrides"), **study.section(section)})


@dataclass(frozen=True)
class Bench:
    """A study whose rows are built.

    Attributes:
        study: the study.
        scenario: whose clients it has.
        data: folder of the data roots.
    """

    study: Study
    scenario: QualityScenario
    data: Path

    @cached_property
    def lengths(self) -> Lengths:
        """Of the study's trainings."""
        return Lengths(self.study)

    @cached_property
    def study_stages(self) -> dict[str, Stage]:
        """The study's own, by key."""
        return {stage.key: stage for stage in study_stages(self.study)}

    def roots(self, pattern: str, client: str) -> list[Path]:
        """Data roots of a client's domain, see :meth:`QualityScenario.roots`."""
        return self.scenario.roots(pattern, self.data, self.study.roots[client].domains[0])

    def stage(
        self,
        client: str,
        name: str,
        configs: Sequence[str],
        own: Mapping[str, Any],
        root: Path | None = None,
        needs: Sequence[str] = (),
        reads: Sequence[str] = (),
    ) -> Stage:
        """A stage in the rows' folder; ``root`` is read in place of the client's own data root."""
        read = [str(root)] if root else list(self.study.roots[client].folders)
        data = {"dataset_dir": str(root)} if root else {}
        made = make_stage(self.study, client, name, configs, {**data, **own}, needs, (*read, *reads))
        return replace(made, folder=self.folder(client, name))

    def folder(self, client: str, name: str) -> Path:
        return self.study.folder / FOLDER / client / name

    def model(self, client: str, name: str) -> str:
        """The file that a training of a row writes."""
        return str(self.folder(client, name) / "model.pt")

    def segmented(
        self,
        client: str,
        name: str,
        owner: str | None = None,
        root: Path | None = None,
        configs: Sequence[str] = (),
        own: Mapping[str, Any] | None = None,
    ) -> Stage:
        """Segment and score the client's test volumes with a model, by default one that it has trained itself."""
        files = inference_configs(self.study, client)
        values = {
            "ckpt_path": self.model(owner or client, name),
            **self.study.section("inference"),
            **(own or {}),
        }
        needs = (f"{owner or client}/{name}",)
        return self.stage(client, f"{name}{PREDICTIONS}", (*files, *configs), values, root, needs)

    def plain(self) -> Weights:
        """The source model of no varied intensities; the usual one where the study has none."""
        study = self.study
        alone = f"{study.source}/{PLAIN_SOURCE}" in self.study_stages and not study.federates_source
        has = alone or PLAIN_SOURCE in study.needed_variants
        return source_weights(study, PLAIN_SOURCE) if has else source_weights(study)
