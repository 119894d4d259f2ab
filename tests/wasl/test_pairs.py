"""The indices of pairs, against the plain reading of what they mean."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wasl.encoding import LONGEST_GAP
from wasl.pairs import DISTANCES, LEVELS, index_pairs

lengths = st.lists(st.tuples(st.integers(0, LONGEST_GAP), st.integers(1, 7)), min_size=2, max_size=6)


@given(lengths, st.randoms())
def test_every_index_is_of_the_words_it_stands_for(lengths, random) -> None:  # type: ignore[no-untyped-def]
    edges, at = [], 0
    for gap, length in lengths:
        edges.append((at + gap, at + gap + length))
        at += gap + length
    spans, labels = np.array(edges), np.arange(len(edges))
    pairs = [(i, j) for i in range(len(edges)) for j in (i - 1, i + 1) if 0 <= j < len(edges)]
    random.shuffle(pairs)
    index = index_pairs(spans, labels, np.array(pairs))
    for (first, last), words, shares in zip(edges, index.entity_words, index.entity_shares, strict=True):
        assert words[shares > 0].tolist() == list(range(first, last))
        assert np.isclose(shares.sum(), 1)
    for (head, tail), (head_, tail_, gap, bucket) in zip(pairs, index.pairs.tolist(), strict=True):
        assert (head, tail) == (head_, tail_)
        left, right = min(head, tail), max(head, tail)
        between = range(edges[left][1], edges[right][0])
        level, first, second = index.gaps[gap].tolist()
        covered = {*range(first, first + 2**level), *range(second, second + 2**level)}
        assert covered == set(between) if len(between) else index.gap_filled[gap] == 0
        assert level < LEVELS
        buckets = sum(len(between) > edge for edge in DISTANCES)
        assert bucket == buckets + (len(DISTANCES) + 1) * (head > tail)


def test_pairs_with_the_same_gap_share_it() -> None:
    spans = np.array([[0, 1], [4, 5], [9, 10]])
    index = index_pairs(spans, np.zeros(3, np.int64), np.array([[0, 1], [1, 0], [1, 2], [2, 1]]))
    assert len(index.gaps) == 2
    assert index.pairs[:, 2].tolist() == [0, 0, 1, 1]
