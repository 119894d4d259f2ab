"""Which words the relation head reads of each pair of entities: indices, made with arrays, for any engine."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from wasl.encoding import LONGEST_GAP

DISTANCES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)  # upper edges of the buckets of words between head and tail
BUCKETS = 2 * (len(DISTANCES) + 1)  # head first, or tail first
LEVELS = LONGEST_GAP.bit_length()  # a maximum over a gap is that of two runs of 2 ** level words


@dataclass(frozen=True)
class PairIndex:
    """Pairs of entities, as indices; numpy arrays here, tensors in the network.

    Attributes:
        entity_words: shape (entities, longest), int64: the words of each entity, its last one repeated.
        entity_shares: shape (entities, longest), float32: one over the number of its words; 0 for the repeated ones.
        labels: shape (entities,), int64: indices into the schema's entity labels.
        gaps: shape (gaps, 3), int64: of each run of words between two entities, the level and the first words of two
            runs of `2 ** level` words that together cover it; (0, 0, 0) where there is none.
        gap_filled: shape (gaps, 1), float32: 1, or 0 where there are no words between.
        pairs: shape (pairs, 4), int64: head and tail, indices of entities; gap; bucket of the distance.
    """

    entity_words: Any
    entity_shares: Any
    labels: Any
    gaps: Any
    gap_filled: Any
    pairs: Any


PAIR_FIELDS = tuple(f.name for f in fields(PairIndex))


def index_pairs(spans: np.ndarray, labels: np.ndarray, pairs: np.ndarray) -> PairIndex:
    """The indices of pairs.

    Args:
        spans: shape (entities, 2): first and last-plus-one word.
        labels: shape (entities,): indices into the schema's entity labels.
        pairs: shape (pairs, 2): head and tail, indices of entities, with at most LONGEST_GAP words between.
    """
    lengths = spans[:, 1] - spans[:, 0]
    steps = np.arange(int(lengths.max(initial=1)))
    entity_words = np.minimum(spans[:, :1] + steps, spans[:, 1:] - 1)
    shares = np.where(steps < lengths[:, None], 1 / lengths[:, None], 0).astype(np.float32)
    head, tail = pairs[:, 0], pairs[:, 1]
    left = np.where(spans[head, 0] <= spans[tail, 0], head, tail)
    start = spans[left, 1]
    length = np.maximum(spans[head + tail - left, 0] - start, 0)
    bucket = np.searchsorted(DISTANCES, length) + (left != head) * (len(DISTANCES) + 1)
    start = np.where(length, start, 0)  # an empty gap is the same everywhere
    known, gap = np.unique(start * (LONGEST_GAP + 1) + length, return_inverse=True)
    start, length = np.divmod(known, LONGEST_GAP + 1)
    level = np.maximum(np.frexp(length.astype(np.float64))[1] - 1, 0).astype(np.int64)
    second = np.where(length, start + length - (1 << level), 0)
    return PairIndex(
        entity_words.astype(np.int64),
        shares,
        labels.astype(np.int64),
        np.stack([level, start, second], axis=1).astype(np.int64),
        (length > 0).astype(np.float32)[:, None],
        np.stack([head, tail, gap.reshape(-1), bucket], axis=1).astype(np.int64),
    )
