"""Training and scoring of wasl extractors: what `wasl train`, `evaluate` and `crossval` need."""

from __future__ import annotations

from wasl_training.config import TrainingConfig
from wasl_training.crossvalidation import crossval
from wasl_training.evaluation import evaluate
from wasl_training.training import train

__all__ = ["TrainingConfig", "crossval", "evaluate", "train"]
