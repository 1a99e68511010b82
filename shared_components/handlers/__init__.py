"""What listens to an engine: progress, tables of metrics, pictures, checkpoints."""

from shared_components.handlers.checkpoints import BestWeights, attach_checkpoints
from shared_components.handlers.course import AverageUpdates, FallingRates, FiniteTraining
from shared_components.handlers.disentanglement_pictures import DisentanglementPictures
from shared_components.handlers.parallel import SharedUpdates
from shared_components.handlers.pictures import (
    FactoryPictures,
    TranslationPictures,
    picture_grid,
    save_picture,
)
from shared_components.handlers.progress import EpochProgress, MetricsTable, SettingsFile, Validation

__all__ = [
    "AverageUpdates",
    "BestWeights",
    "DisentanglementPictures",
    "EpochProgress",
    "FactoryPictures",
    "FallingRates",
    "FiniteTraining",
    "MetricsTable",
    "SettingsFile",
    "SharedUpdates",
    "TranslationPictures",
    "Validation",
    "attach_checkpoints",
    "picture_grid",
    "save_picture",
]
