"""What runs a network over windows, whatever text they are from: numpy in, numpy out."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from wasl.encoding import Encoded, Window
from wasl.pairs import PairIndex, index_pairs

PAIRS_IN_BATCH = 2048

# Vectors, tag logits and proclitic logits of a window's own words.
WordArrays = tuple[np.ndarray, np.ndarray, np.ndarray]


class Engine(ABC):
    """Runs a network.

    Attributes:
        relations: how many relation logits a pair has.
    """

    relations: int

    @abstractmethod
    def run_windows(self, windows: Sequence[tuple[Encoded, Window]]) -> list[WordArrays]:
        """Vectors, tag logits and proclitic logits of each window's own words, in the order given."""

    def start_windows(self, windows: Sequence[tuple[Encoded, Window]]) -> Callable[[], list[WordArrays]]:
        """Start on them; the function returned waits for the result. Where an engine cannot, all is done here."""
        found = self.run_windows(windows)
        return lambda: found

    @abstractmethod
    def run_index(self, vectors: np.ndarray, index: PairIndex) -> np.ndarray:
        """Relation logits of indexed pairs; see `wasl.network.Network.score_pairs`."""

    def run_pairs(self, vectors: np.ndarray, spans: np.ndarray, labels: np.ndarray, pairs: np.ndarray) -> np.ndarray:
        """Relation logits.

        Args:
            vectors: shape (words, hidden): of all words of a text.
            spans, labels, pairs: see `wasl.pairs.index_pairs`; the pairs in text order.

        Returns:
            shape (pairs, relations), without the schema's mask.
        """
        if not len(pairs):
            return np.zeros((0, self.relations), np.float32)
        parts = []
        for chunk in np.array_split(pairs, -(-len(pairs) // PAIRS_IN_BATCH)):
            used, renumbered = np.unique(chunk, return_inverse=True)
            low, high = spans[used, 0].min(), spans[used, 1].max()  # pairs are in text order: a chunk spans few words
            index = index_pairs(spans[used] - low, labels[used], renumbered.reshape(-1, 2))
            parts.append(self.run_index(vectors[low:high], index))
        return np.concatenate(parts)


def available_cores() -> int:
    """Processor cores that this process may use: those it is bound to, and no more than its container is given."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for file, parse in ((Path("/sys/fs/cgroup/cpu.max"), _cgroup2), (Path("/sys/fs/cgroup/cpu"), _cgroup1)):
        try:
            quota = parse(file)
        except (OSError, ValueError):
            continue
        if quota:
            return max(1, min(cores, round(quota)))
    return cores


def _cgroup2(file: Path) -> float:
    quota, period = file.read_text().split()
    return 0.0 if quota == "max" else int(quota) / int(period)


def _cgroup1(folder: Path) -> float:
    quota = int((folder / "cpu.cfs_quota_us").read_text())
    return max(0.0, quota / int((folder / "cpu.cfs_period_us").read_text()))
