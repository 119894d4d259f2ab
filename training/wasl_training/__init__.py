"""Training and scoring of wasl extractors: what `wasl train`, `evaluate` and `crossval` need.

What is named here is imported where it is first used: scoring needs neither torch nor transformers, which take seconds.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wasl_training.config import TrainingConfig
    from wasl_training.crossvalidation import crossval
    from wasl_training.evaluation import evaluate
    from wasl_training.training import train

__all__ = ["TrainingConfig", "crossval", "evaluate", "train"]
_MODULES = {"TrainingConfig": "config", "crossval": "crossvalidation", "evaluate": "evaluation", "train": "training"}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *_MODULES]
