"""Scores made probabilities, and thresholds chosen, on documents that were not trained on."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import numpy as np

from wasl.alignment import align
from wasl.config import Calibration, ExtractorConfig
from wasl.decoding import Spans, calibrated, decode_relations, logit
from wasl.document import Document
from wasl.extractor import Extractor

FEWEST = 30  # items of each outcome; with fewer there is nothing to fit
THRESHOLDS = np.arange(0.1, 0.9, 0.02)


@dataclass(frozen=True)
class _Reading:
    """What an extractor says of an annotated document, before calibration.

    Attributes:
        spans: the entities it finds, all of them; their scores are not calibrated.
        place: shape (entities,): which annotated entity each one is; -1 for none.
        pairs, logits: of the entities found.
        stated: annotated relations: (head, tail, relation), entities counted as annotated.
        entities: how many are annotated.
        given_logits, given_right: of every lawful pair of annotated entities and relation, and whether it is stated.
    """

    spans: Spans
    place: np.ndarray
    pairs: np.ndarray
    logits: np.ndarray
    stated: set[tuple[int, int, int]]
    entities: int
    given_logits: np.ndarray
    given_right: np.ndarray


def calibrate(extractor: Extractor, documents: dict[str, Document]) -> ExtractorConfig:
    """The extractor's configuration with calibration and thresholds fitted on documents.

    Args:
        extractor: trained without these documents.
        documents: annotated.
    """
    bare = copy.copy(extractor)
    bare.config = replace(
        extractor.config, entity_calibration=Calibration(), relation_calibration=Calibration(), entity_threshold=0.0
    )
    readings = [reading for document in documents.values() if (reading := _read(bare, document))]
    if not readings:
        return extractor.config
    entity_logits = np.concatenate([logit(np.log(r.spans.scores)) for r in readings])
    relation_logits = np.concatenate([r.given_logits for r in readings])
    relation_right = np.concatenate([r.given_right for r in readings])
    config = replace(
        extractor.config,
        entity_calibration=platt(entity_logits, np.concatenate([r.place >= 0 for r in readings])),
        relation_calibration=platt(relation_logits, relation_right),
    )
    readings = [
        replace(r, spans=replace(r.spans, scores=calibrated(logit(np.log(r.spans.scores)), config.entity_calibration)))
        for r in readings
    ]
    config = replace(config, entity_threshold=_best_entity_threshold(readings, config))
    config = replace(config, relation_threshold=_best_relation_threshold(readings, bare, config))
    scores, right = _triples(readings, bare, config, config.relation_threshold)
    return replace(config, triple_calibration=platt(logit(np.log(scores)), right))


def _read(bare: Extractor, document: Document) -> _Reading | None:
    (readout,) = bare.read([document.text])
    if not len(readout.encoded.words):
        return None
    gold = align(document, readout.encoded.words, bare.schema)
    spans = bare.decode_spans(readout)
    keys = {
        (*s, k, label): i
        for i, (s, k, label) in enumerate(
            zip(gold.spans.tolist(), gold.skips.tolist(), gold.labels.tolist(), strict=True)
        )
    }
    place = [
        keys.get((*s, k, label), -1)
        for s, k, label in zip(spans.spans.tolist(), spans.skips.tolist(), spans.labels.tolist(), strict=True)
    ]
    stated = {(h, t, r) for h, t, r in gold.relations}
    given = Spans(gold.spans, gold.skips, gold.labels, np.ones(len(gold.entities)))
    pairs, logits = bare.pair_logits(readout, given)
    row, relation = np.nonzero(bare.schema.allowed[given.labels[pairs[:, 0]], given.labels[pairs[:, 1]]])
    symmetric = [r.symmetric for r in bare.schema.relations]
    right = [
        (h, t, r) in stated or (symmetric[r] and (t, h, r) in stated)
        for (h, t), r in zip(pairs[row].tolist(), relation.tolist(), strict=True)
    ]
    return _Reading(
        spans, np.array(place, dtype=np.int64), *bare.pair_logits(readout, spans), stated, len(gold.entities),
        logits[row, relation], np.array(right, dtype=bool),
    )  # fmt: skip


def platt(logits: np.ndarray, right: np.ndarray) -> Calibration:
    """Slope and shift of the logistic regression of `right` on `logits` (Platt 1999), by Newton's method with a light
    pull towards leaving the logits as they are; unchanged where there are too few items of either outcome.
    """
    if min(right.sum(), (~right).sum()) < FEWEST:
        return Calibration()
    x = np.stack([np.clip(logits, -30, 30), np.ones(len(logits))], axis=1).astype(np.float64)
    plain = np.array([1.0, 0.0])

    def loss(weights: np.ndarray) -> float:
        z = x @ weights
        return float(np.logaddexp(0, np.where(right, -z, z)).sum() + ((weights - plain) ** 2).sum() / 2)

    weights = plain
    for _ in range(100):
        p = 1 / (1 + np.exp(-np.clip(x @ weights, -60, 60)))
        gradient = x.T @ (p - right) + (weights - plain)
        hessian = (x * (p * (1 - p))[:, None]).T @ x + np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        while loss(weights - step) > loss(weights) and np.abs(step).max() > 1e-9:
            step = step / 2  # a full step overshoots where most probabilities are near 0 or 1
        weights = weights - step
        if np.abs(step).max() < 1e-8:
            break
    return Calibration(round(float(weights[0]), 6), round(float(weights[1]), 6))


def _best_entity_threshold(readings: list[_Reading], config: ExtractorConfig) -> float:
    """The threshold with the best entity F1."""
    gold = sum(r.entities for r in readings)
    scores = np.concatenate([r.spans.scores for r in readings])
    right = np.concatenate([r.place >= 0 for r in readings])
    if gold < FEWEST:
        return config.entity_threshold
    kept = scores >= THRESHOLDS[:, None]
    return _middle_of_best(200 * (kept & right).sum(axis=1) / (kept.sum(axis=1) + gold))


def _best_relation_threshold(readings: list[_Reading], extractor: Extractor, config: ExtractorConfig) -> float:
    """The threshold with the best mean of the strict F1 end to end and the F1 given the entities."""
    gold = sum(len(r.stated) for r in readings)
    if gold < FEWEST:
        return config.relation_threshold
    right = np.concatenate([r.given_right for r in readings])
    given = calibrated(np.concatenate([r.given_logits for r in readings]), config.relation_calibration)
    f1 = []
    for threshold in THRESHOLDS:
        kept_given = given >= threshold
        f1_given = 200 * (kept_given & right).sum() / (kept_given.sum() + right.sum())
        _, hits = _triples(readings, extractor, config, float(threshold))
        f1.append((200 * hits.sum() / (len(hits) + gold) + f1_given) / 2)
    return _middle_of_best(np.array(f1))


def _triples(
    readings: list[_Reading], extractor: Extractor, config: ExtractorConfig, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the relations found with a threshold, and whether they and their entities are right: shape (found,)."""
    scores, right = [np.zeros(0)], [np.zeros(0, dtype=bool)]
    for r in readings:
        kept = (r.spans.scores >= config.entity_threshold)[r.pairs].all(axis=1)
        found, score = decode_relations(
            r.logits[kept], r.pairs[kept], r.spans, extractor.schema, config.relation_calibration, threshold
        )
        scores.append(score)
        right.append(
            np.array([(r.place[h], r.place[t], label) in r.stated for h, t, label in found.tolist()], dtype=bool)
        )
    return np.concatenate(scores), np.concatenate(right)


def _middle_of_best(f1: np.ndarray) -> float:
    """The middle one of the thresholds within half a point of the best: a single peak on few documents is chance."""
    good = np.flatnonzero(f1 >= f1.max() - 0.5)
    return round(float(THRESHOLDS[good[len(good) // 2]]), 4)
