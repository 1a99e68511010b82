"""What listens to an engine: progress, tables of metrics, pictures, checkpoints."""

from shared_components.handlers.average_updates import AverageUpdates
from shared_components.handlers.best_weights import BestWeights
from shared_components.handlers.checkpoints import attach_checkpoints
from shared_components.handlers.disentanglement_pictures import DisentanglementPictures
from shared_components.handlers.falling_rates import FallingRates
from shared_components.handlers.finite_training import FiniteTraining
from shared_components.handlers.parallel import SharedUpdates
from shared_components.handlers.pictures import (
    FactoryPictures,
    TranslationPictures,
    picture_grid,
    save_picture,
)
from shared_components.handlers.progress import EpochProgress, MetricsTable
from shared_components.handlers.settings import SettingsFile
from shared_components.handlers.validation import Validation

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
