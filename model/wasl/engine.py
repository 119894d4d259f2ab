"""Runs the network over windows, whatever text they are from: numpy in, numpy out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch

from wasl.encoding import Encoded, Window
from wasl.network import Network, collate

PIECES_IN_BATCH = 2048  # padded pieces in one encoder pass
PAIRS_IN_BATCH = 1024


class Engine(Protocol):
    """What `Extractor` needs of an engine."""

    def run_windows(self, windows: Sequence[tuple[Encoded, Window]]) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Vectors, tag logits and proclitic logits of each window's own words, in the order given."""

    def run_pairs(self, vectors: np.ndarray, spans: np.ndarray, labels: np.ndarray, pairs: np.ndarray) -> np.ndarray:
        """Relation logits; see `Network.score_pairs`."""


class TorchEngine:
    """The network on torch, on a CPU in fp32 or on a GPU in bf16."""

    def __init__(self, network: Network, pad_id: int, device: str = "cpu") -> None:
        self.network = network.to(device).eval()
        self.pad_id = pad_id

    @property
    def device(self) -> str:
        """Where the network is now; a trainer may have moved it."""
        return next(self.network.parameters()).device.type

    def run_windows(self, windows: Sequence[tuple[Encoded, Window]]) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        results: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = [_NOTHING] * len(windows)
        order = sorted(range(len(windows)), key=lambda i: len(windows[i][1].pieces))
        for group in _by_budget(order, [len(windows[i][1].pieces) for i in order]):
            batch = collate([windows[i] for i in group], self.pad_id)
            with torch.inference_mode(), torch.autocast(self.device, torch.bfloat16, enabled=self.device != "cpu"):
                out = self.network(batch.to(self.device))
            arrays = [t.float().cpu().numpy() for t in (out.vectors, out.tags, out.proclitics)]
            edges = np.cumsum([0] + [windows[i][1].own[1] - windows[i][1].own[0] for i in group])
            for i, low, high in zip(group, edges, edges[1:], strict=False):
                vectors, tags, proclitics = (a[low:high] for a in arrays)
                results[i] = (vectors, tags, proclitics)
        return results

    def run_pairs(self, vectors: np.ndarray, spans: np.ndarray, labels: np.ndarray, pairs: np.ndarray) -> np.ndarray:
        if not len(pairs):
            return np.zeros((0, len(self.network.schema.relations)), np.float32)
        parts = []
        for chunk in np.array_split(pairs, -(-len(pairs) // PAIRS_IN_BATCH)):
            used, renumbered = np.unique(chunk, return_inverse=True)
            low, high = spans[used, 0].min(), spans[used, 1].max()  # pairs are in text order: a chunk spans few words
            arrays = (vectors[low:high], spans[used] - low, labels[used], renumbered.reshape(-1, 2))
            tensors = [torch.from_numpy(np.ascontiguousarray(a)).to(self.device) for a in arrays]
            with torch.inference_mode():
                parts.append(self.network.score_pairs(*tensors).float().cpu().numpy())
        return np.concatenate(parts)


_NOTHING = (np.zeros((0, 0), np.float32),) * 3


def _by_budget(order: list[int], lengths: list[int]) -> Iterator[list[int]]:
    """Groups of windows, shortest first, that stay under the budget when padded to the longest of the group."""
    group: list[int] = []
    for i, length in zip(order, lengths, strict=True):
        if group and (len(group) + 1) * length > PIECES_IN_BATCH:
            yield group
            group = []
        group.append(i)
    if group:
        yield group
