"""Several extractors read as one, to annotate raw text that a single one then learns from.

The mean of trained networks is right more often than any of them, and what it finds in raw text can be taught to one
network of the same size (self-training with an ensemble; Hinton et al. 2015, arXiv 1503.02531).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np

from wasl.decoding import log_softmax
from wasl.encoding import Encoded, Window
from wasl.engine import Engine, WordArrays
from wasl.errors import ArgumentError
from wasl.extractor import Extractor
from wasl.pairs import PairIndex


class CommitteeEngine(Engine):
    """The mean of engines' log probabilities; a word's vectors lie side by side."""

    def __init__(self, engines: Sequence[Engine], slices: Sequence[slice]) -> None:
        self.engines = engines
        self.slices = slices
        self.relations = engines[0].relations

    def run_windows(self, windows: Sequence[tuple[Encoded, Window]]) -> list[WordArrays]:
        found = [engine.run_windows(windows) for engine in self.engines]
        return [
            (
                np.concatenate([vectors for vectors, _, _ in members], axis=1),
                np.mean([self._log_tags(tags) for _, tags, _ in members], axis=0),
                np.mean([log_softmax(proclitics) for _, _, proclitics in members], axis=0),
            )
            for members in zip(*found, strict=True)
        ]

    def _log_tags(self, tags: np.ndarray) -> np.ndarray:
        return np.concatenate([log_softmax(tags[:, where]) for where in self.slices], axis=1)

    def run_index(self, vectors: np.ndarray, index: PairIndex) -> np.ndarray:
        members = np.split(vectors, len(self.engines), axis=1)
        logits: np.ndarray = np.mean(
            [e.run_index(v, index) for e, v in zip(self.engines, members, strict=True)], axis=0
        )
        return logits


def committee(extractors: Sequence[Extractor]) -> Extractor:
    """An extractor that predicts what the mean of others says; with the first one's calibration, so calibrate it anew.

    Raises:
        ArgumentError: they differ in labels, or in the size of their vectors.
    """
    first = extractors[0]
    for other in extractors:
        if other.schema != first.schema or other.config.encoder["hidden_size"] != first.config.encoder["hidden_size"]:
            raise ArgumentError("the members of a committee need the same schema and encoders of the same width")
    together = copy.copy(first)
    together.folder = None
    together.engine = CommitteeEngine([e.engine for e in extractors], first.schema.tag_slices)
    return together
