"""Figures: exact-match precision, recall and F1, pooled over documents, with intervals from resampling documents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wasl.document import Document, Entity, Relation
from wasl.text import starts_inside_word

TASKS = ("entities", "boundaries", "strict", "given_gold")
RESAMPLES = 2000


@dataclass
class Tally:
    """Hits, predictions and gold items of one task by label, and of the gold entities that start inside a word.

    Attributes:
        hits, predicted, gold: `{task: Counter of labels}`.
        clitic_hits, clitic_gold: found exactly, and all.
    """

    hits: dict[str, Counter[str]] = field(default_factory=lambda: {task: Counter() for task in TASKS})
    predicted: dict[str, Counter[str]] = field(default_factory=lambda: {task: Counter() for task in TASKS})
    gold: dict[str, Counter[str]] = field(default_factory=lambda: {task: Counter() for task in TASKS})
    clitic_hits: int = 0
    clitic_gold: int = 0

    def add(self, task: str, gold: set[tuple[Any, ...]], predicted: set[tuple[Any, ...]]) -> None:
        """Count sets of items whose first part is their label."""
        self.gold[task].update(item[0] for item in gold)
        self.predicted[task].update(item[0] for item in predicted)
        self.hits[task].update(item[0] for item in gold & predicted)

    def __iadd__(self, other: Tally) -> Tally:
        for task in TASKS:
            self.hits[task].update(other.hits[task])
            self.predicted[task].update(other.predicted[task])
            self.gold[task].update(other.gold[task])
        self.clitic_hits += other.clitic_hits
        self.clitic_gold += other.clitic_gold
        return self


def entity_key(entity: Entity) -> tuple[Any, ...]:
    return entity.label, entity.start, entity.end


def relation_key(relation: Relation, strict: bool, symmetric: frozenset[str]) -> tuple[Any, ...]:
    """Label and both spans, with both entity labels where strict. A symmetric relation is the same either way round."""
    ends = [(e.start, e.end, *([e.label] if strict else [])) for e in (relation.head, relation.tail)]
    return (relation.label, *(sorted(ends) if relation.label in symmetric else ends))


def tally(gold: Document, predicted: Document, given_gold: Document | None, symmetric: frozenset[str]) -> Tally:
    """Compare one document.

    Args:
        gold: as annotated.
        predicted: as found from the raw text.
        given_gold: as found from the raw text and the annotated entities; None to leave that task out.
        symmetric: relation labels without direction.
    """
    counts = Tally()
    found = {entity_key(e) for e in predicted.entities}
    counts.add("entities", {entity_key(e) for e in gold.entities}, found)
    for task, strict, document in (
        ("boundaries", False, predicted), ("strict", True, predicted), ("given_gold", True, given_gold),
    ):  # fmt: skip
        if document is not None:
            counts.add(task, *({relation_key(r, strict, symmetric) for r in d.relations} for d in (gold, document)))
    inside = [e for e in gold.entities if starts_inside_word(gold.text, e.start)]
    counts.clitic_gold = len(inside)
    counts.clitic_hits = sum(entity_key(e) in found for e in inside)
    return counts


def pool(tallies: Iterable[Tally]) -> Tally:
    total = Tally()
    for counts in tallies:
        total += counts
    return total


def precision_recall_f1(hits: float, predicted: float, gold: float) -> tuple[float, float, float]:
    """Percentages; 0 where there is nothing to divide by."""
    precision = 100 * hits / predicted if predicted else 0.0
    recall = 100 * hits / gold if gold else 0.0
    return precision, recall, 200 * hits / (predicted + gold) if predicted + gold else 0.0


def interval(counts: np.ndarray) -> tuple[float, float] | None:
    """95 % interval of the pooled F1, by resampling documents with replacement (percentile bootstrap, Efron 1979).

    Args:
        counts: shape (documents, 3): hits, predicted, gold.

    Returns:
        lower and upper bound in percent; None for fewer than two documents.
    """
    if len(counts) < 2:
        return None
    draws = np.random.default_rng(0).integers(0, len(counts), size=(RESAMPLES, len(counts)))
    hits, predicted, gold = counts[draws].sum(axis=1).T
    f1 = 200 * hits / np.maximum(predicted + gold, 1)
    low, high = np.percentile(f1, [2.5, 97.5])
    return float(low), float(high)


@dataclass(frozen=True)
class Score:
    """Figures of one task, percentages 0 to 100.

    Attributes:
        precision, recall, f1: micro-averaged.
        support: gold items.
        ci95: interval of the F1 over documents; None for fewer than two.
        by_label: `{label: Score}`, without intervals; None in those themselves.
    """

    precision: float
    recall: float
    f1: float
    support: int
    ci95: tuple[float, float] | None = None
    by_label: dict[str, Score] | None = None

    def to_dict(self) -> dict[str, Any]:
        own = {"precision": round(self.precision, 2), "recall": round(self.recall, 2), "f1": round(self.f1, 2),
               "support": self.support}  # fmt: skip
        if self.by_label is None:
            return own
        bounds = None if self.ci95 is None else [round(b, 2) for b in self.ci95]
        return {**own, "ci95": bounds, "by_label": {k: v.to_dict() for k, v in self.by_label.items()}}


def score(task: str, groups: Sequence[Tally], repeats: int = 1) -> Score:
    """Pooled figures of one task.

    Args:
        task: one of `TASKS`.
        groups: one tally a document; the unit that is resampled.
        repeats: how often every document was counted (seeds); support is given for one.
    """
    total = pool(groups)
    columns = [(t.hits[task].total(), t.predicted[task].total(), t.gold[task].total()) for t in groups]
    hits, predicted, gold = total.hits[task], total.predicted[task], total.gold[task]

    def of(h: int, p: int, g: int, **more: Any) -> Score:
        return Score(*precision_recall_f1(h, p, g), g // repeats, **more)

    labels = sorted(gold.keys() | predicted.keys(), key=lambda label: (-gold[label], label))
    return of(
        hits.total(), predicted.total(), gold.total(),
        ci95=interval(np.array(columns, dtype=float).reshape(-1, 3)),
        by_label={label: of(hits[label], predicted[label], gold[label]) for label in labels},
    )  # fmt: skip


@dataclass(frozen=True)
class Figures:
    """All figures of an evaluation.

    Attributes:
        entities: exact start, end and label.
        boundaries: relations by label and both spans.
        strict: relations by label, both spans and both entity labels.
        given_gold: relations with the gold entities given.
        clitic_recall: percent of the gold entities that start inside a word which were found exactly.
        clitic_support: how many there are.
    """

    entities: Score
    boundaries: Score
    strict: Score
    given_gold: Score
    clitic_recall: float
    clitic_support: int

    def to_dict(self) -> dict[str, Any]:
        return {
            "entities": self.entities.to_dict(),
            "relations": {"boundaries": self.boundaries.to_dict(), "strict": self.strict.to_dict()},
            "relations_given_gold": self.given_gold.to_dict(),
            "clitic_starts": {"recall": round(self.clitic_recall, 2), "support": self.clitic_support},
        }


def figures(groups: Sequence[Tally], repeats: int = 1) -> Figures:
    """All figures of documents; see `score`."""
    total = pool(groups)
    entities, boundaries, strict, given_gold = (score(task, groups, repeats) for task in TASKS)
    recall = 100 * total.clitic_hits / total.clitic_gold if total.clitic_gold else 0.0
    return Figures(entities, boundaries, strict, given_gold, recall, total.clitic_gold // repeats)


def expected_calibration_error(scores: np.ndarray, right: np.ndarray, bins: int = 10) -> float:
    """Mean distance, in points, between the mean score and the share of right answers in `bins` bins of equal width,
    weighted by how many scores are in each (Guo et al. 2017).
    """
    if not len(scores):
        return 0.0
    bin_ = np.minimum((scores * bins).astype(int), bins - 1)
    total = 0.0
    for b in range(bins):
        inside = bin_ == b
        if inside.any():
            total += inside.sum() * abs(scores[inside].mean() - right[inside].mean())
    return float(100 * total / len(scores))
