"""Scores made probabilities, and the threshold for relations, on documents that were not trained on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from wasl.alignment import align
from wasl.config import Calibration, ExtractorConfig
from wasl.decoding import Spans, decode_relations
from wasl.document import Document
from wasl.extractor import Extractor

FEWEST = 30  # items of each outcome; with fewer there is nothing to fit
THRESHOLDS = np.arange(0.1, 0.9, 0.02)


def calibrate(extractor: Extractor, documents: dict[str, Document]) -> ExtractorConfig:
    """The extractor's configuration with calibration and relation threshold fitted on documents.

    Args:
        extractor: trained without these documents.
        documents: annotated.
    """
    entity_logits, entity_right, relation_logits, relation_right = [], [], [], []
    per_document = []
    bare = Extractor(
        extractor.network, extractor.text_encoder.tokenizer,
        replace(extractor.config, entity_calibration=Calibration(), relation_calibration=Calibration()),
        extractor.engine.device,
    )  # fmt: skip
    for document in documents.values():
        (readout,) = bare.read([document.text])
        if not len(readout.encoded.words):
            continue
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
        entity_logits.append(np.log(spans.scores) - np.log1p(-np.minimum(spans.scores, 1 - 1e-12)))
        entity_right.append(np.array(place) >= 0)
        stated = {(h, t, r) for h, t, r in gold.relations}
        pairs, logits = bare.pair_logits(readout, spans)
        per_document.append((logits, pairs, spans, place, stated))
        given = Spans(gold.spans, gold.skips, gold.labels, np.ones(len(gold.entities)))
        pairs, logits = bare.pair_logits(readout, given)
        lawful = bare.schema.allowed[given.labels[pairs[:, 0]], given.labels[pairs[:, 1]]]
        row, relation = np.nonzero(lawful)
        relation_logits.append(logits[row, relation])
        symmetric = [r.symmetric for r in bare.schema.relations]
        relation_right.append(
            np.array(
                [
                    (h, t, r) in stated or (symmetric[r] and (t, h, r) in stated)
                    for (h, t), r in zip(pairs[row].tolist(), relation.tolist(), strict=True)
                ],
                dtype=bool,
            )
        )
    config = extractor.config
    if entity_logits:
        config = replace(
            config,
            entity_calibration=platt(np.concatenate(entity_logits), np.concatenate(entity_right)),
            relation_calibration=platt(np.concatenate(relation_logits), np.concatenate(relation_right)),
        )
    return replace(config, relation_threshold=_best_threshold(per_document, bare, config))


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


def _best_threshold(documents: list[Any], extractor: Extractor, config: ExtractorConfig) -> float:
    """The threshold with the best strict F1 end to end, the middle one of those within half a point of it."""
    gold = sum(len(stated) for *_, stated in documents)
    if gold < FEWEST:
        return config.relation_threshold
    f1 = []
    for threshold in THRESHOLDS:
        hits = predicted = 0
        for logits, pairs, spans, place, stated in documents:
            found, _ = decode_relations(
                logits, pairs, spans.labels, extractor.schema, config.relation_calibration, float(threshold)
            )
            predicted += len(found)
            hits += sum((place[h], place[t], r) in stated for h, t, r in found.tolist())
        f1.append(200 * hits / max(predicted + gold, 1))
    good = np.flatnonzero(np.array(f1) >= max(f1) - 0.5)
    return round(float(THRESHOLDS[good[len(good) // 2]]), 4)
