"""The best lawful reading, against brute force."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from wasl.config import Calibration
from wasl.decoding import (
    Spans,
    best_tags,
    calibrated,
    candidate_pairs,
    decode_entities,
    decode_relations,
    log_softmax,
    logit,
)
from wasl.encoding import LONGEST_PROCLITIC, find_word_table
from wasl.schema import Schema

FLAT = Schema.parse(
    "[entities]\nORG\nLOC\n[relations]\nin\tArg1:ORG, Arg2:LOC\nrival\tArg1:ORG, Arg2:ORG, <REL-TYPE>:symmetric\n"
)
NESTED = Schema.parse(FLAT.source + "<OVERLAP>\tArg1:ORG, Arg2:LOC, <OVL-TYPE>:contain\n")


def lawful(path: tuple[int, ...]) -> bool:
    return all(tag % 2 or tag == 0 or (i and path[i - 1] in (tag, tag - 1)) for i, tag in enumerate(path))


@pytest.mark.parametrize("seed", range(20))
def test_viterbi_finds_the_best_lawful_path(seed: int) -> None:
    logs = log_softmax(np.random.default_rng(seed).normal(size=(9, 5)) * 2)
    bounds = np.array([[0, 4], [4, 5], [5, 9]])
    path = best_tags(logs, bounds)
    for first, last in bounds:
        part = tuple(path[first:last].tolist())
        best = max(
            (p for p in itertools.product(range(5), repeat=last - first) if lawful(p)),
            key=lambda p: sum(logs[first + i, tag] for i, tag in enumerate(p)),
        )
        assert part == best


def tags_for(schema: Schema, words: int, *entities: tuple[int, int, str, int]) -> np.ndarray:
    """Logits that say exactly these entities (first, last + 1, label, layer)."""
    slices = schema.tag_slices
    logits = np.zeros((words, slices[-1].stop))
    for where in slices:
        logits[:, where.start] = 6
    for first, last, label, layer in entities:
        begin = slices[layer].start + 2 * schema.tag_layers[layer].index(label) + 1
        logits[first:last, slices[layer].start] = 0
        logits[first, begin] = 8
        logits[first + 1 : last, begin + 1] = 8
    return logits


def decode(schema: Schema, text: str, tags: np.ndarray, proclitics: np.ndarray | None = None, threshold: float = 0.0):  # type: ignore[no-untyped-def]
    words = find_word_table(text)
    if proclitics is None:
        proclitics = np.zeros((len(words), LONGEST_PROCLITIC + 1))
        proclitics[:, 0] = 9
    return decode_entities(tags, proclitics, words, schema, Calibration(), threshold)


def test_entities_side_by_side_and_to_the_end() -> None:
    text = "شركة علي بابا الصين هواوي"
    tags = tags_for(FLAT, 5, (1, 3, "ORG", 0), (3, 4, "LOC", 0), (4, 5, "ORG", 0))
    found = decode(FLAT, text, tags)
    assert found.spans.tolist() == [[1, 3], [3, 4], [4, 5]]
    assert found.labels.tolist() == [0, 1, 0]
    assert (found.scores > 0.9).all()


def test_the_score_is_the_probability_of_span_and_proclitic() -> None:
    tags = tags_for(FLAT, 2, (0, 1, "ORG", 0))
    proclitics = np.zeros((2, LONGEST_PROCLITIC + 1))
    found = decode(FLAT, "وعلي بابا", tags, proclitics)
    logs = log_softmax(tags)
    expected = np.exp(logs[0, 1]) * (1 - np.exp(logs[1, 2])) * 0.5  # و may be left out or not: half each
    assert found.scores[0] == pytest.approx(expected, abs=1e-6)


def test_proclitics_that_the_word_does_not_have_are_never_left_out() -> None:
    proclitics = np.zeros((2, LONGEST_PROCLITIC + 1))
    proclitics[:, 1] = 50
    found = decode(FLAT, "الصين والهند", tags_for(FLAT, 2, (0, 1, "LOC", 0), (1, 2, "LOC", 0)), proclitics)
    assert found.skips.tolist() == [0, 1]


def test_entities_below_the_threshold_are_left_out() -> None:
    tags = tags_for(FLAT, 3, (0, 1, "ORG", 0), (2, 3, "LOC", 0))
    tags[2] /= 6
    assert len(decode(FLAT, "هواوي في الصين", tags)) == 2
    assert decode(FLAT, "هواوي في الصين", tags, threshold=0.8).labels.tolist() == [0]


def test_nesting_follows_the_schema() -> None:
    text = "بنك الصين الكبير"
    inside = tags_for(NESTED, 3, (0, 3, "ORG", 0), (1, 2, "LOC", 1))
    assert decode(NESTED, text, inside).spans.tolist() == [[0, 3], [1, 2]]
    around = tags_for(NESTED, 3, (1, 2, "ORG", 0), (0, 3, "LOC", 1))  # LOC may not hold ORG
    assert len(decode(NESTED, text, around)) == 1
    crossing = tags_for(NESTED, 3, (0, 2, "ORG", 0), (1, 3, "LOC", 1))
    assert len(decode(NESTED, text, crossing)) == 1


def test_candidate_pairs_are_lawful_and_within_sentences() -> None:
    words = find_word_table("هواوي آبل الصين. هواوي")
    spans = np.array([[0, 1], [1, 2], [2, 3], [4, 5]])
    pairs = candidate_pairs(spans, np.array([0, 0, 1, 0]), words, FLAT)
    assert sorted(map(tuple, pairs.tolist())) == [(0, 1), (0, 2), (1, 0), (1, 2)]


def test_relations_symmetric_once_and_masked_by_the_schema() -> None:
    sure = Spans(np.array([[0, 1], [1, 2], [2, 3]]), np.zeros(3, np.int64), np.array([0, 0, 1]), np.ones(3))
    pairs = np.array([[0, 1], [1, 0], [0, 2], [1, 2]])
    logits = np.array([[9.0, 1.0], [9.0, 3.0], [-1.0, 9.0], [2.0, 9.0]])
    found, scores = decode_relations(logits, pairs, sure, FLAT, Calibration(), 0.5)
    assert found.tolist() == [[0, 1, 1], [1, 2, 0]]
    given_both = 1 / (1 + np.exp(-2.0))
    assert scores == pytest.approx([given_both, given_both])
    unsure = replace(sure, scores=np.array([0.7, 0.5, 0.9]))
    found, scores = decode_relations(logits, pairs, unsure, FLAT, Calibration(), 0.5)
    assert found.tolist() == [[0, 1, 1], [1, 2, 0]]
    assert scores == pytest.approx([0.7 * 0.5 * given_both, 0.5 * 0.9 * given_both])


def test_logit_and_calibration() -> None:
    p = np.array([0.001, 0.5, 0.999])
    assert logit(np.log(p)) == pytest.approx(np.log(p / (1 - p)))
    assert np.isfinite(logit(np.array([0.0, -1e-30, -1e9]))).all()
    assert calibrated(np.array([2.0]), Calibration(0.5, -1.0)) == pytest.approx([0.5])
