"""Scoring an extractor on annotated documents."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wasl.corpus import Corpus
from wasl.document import Document
from wasl.errors import CorpusError, Problem
from wasl.extractor import Extractor
from wasl.schema import Schema
from wasl_training.metrics import (
    Figures,
    Tally,
    entity_key,
    expected_calibration_error,
    figures,
    relation_key,
    tally,
)


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found.

    Attributes:
        figures: pooled over the documents.
        tallies: `{document id: counts}`.
        predictions: `{document id: document as predicted}`.
        calibration: expected calibration error in points, by `entities` and `relations`: how far the scores of what was
            predicted are from the share of it that is right.
    """

    figures: Figures
    tallies: dict[str, Tally]
    predictions: dict[str, Document]
    calibration: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """The figures as the command line writes them."""
        calibration = {name: round(error, 2) for name, error in self.calibration.items()}
        return {**self.figures.to_dict(), "calibration_error": calibration}


def evaluate(extractor: Extractor, corpus: Corpus) -> Evaluation:
    """Predict every document of a corpus from its raw text and compare.

    Raises:
        CorpusError: the corpus has labels that the extractor does not know.
    """
    check_labels(extractor.schema, corpus.schema)
    tallies, predictions = {}, {}
    for id_, gold in corpus.documents.items():
        (readout,) = extractor.read([gold.text])
        predictions[id_] = extractor.decode(readout)
        given = extractor.relate(gold, readout)
        tallies[id_] = tally(gold, predictions[id_], given, corpus.schema.symmetric)
    calibration = _calibration(corpus, predictions)
    return Evaluation(figures(list(tallies.values())), tallies, predictions, calibration)


def _calibration(corpus: Corpus, predictions: dict[str, Document]) -> dict[str, float]:
    symmetric = corpus.schema.symmetric
    scores: dict[str, list[float]] = {"entities": [], "relations": []}
    right: dict[str, list[bool]] = {"entities": [], "relations": []}
    for id_, gold in corpus.documents.items():
        entities = {entity_key(e) for e in gold.entities}
        relations = {relation_key(r, True, symmetric) for r in gold.relations}
        scores["entities"] += [e.score for e in predictions[id_].entities]
        right["entities"] += [entity_key(e) in entities for e in predictions[id_].entities]
        scores["relations"] += [r.score for r in predictions[id_].relations]
        right["relations"] += [relation_key(r, True, symmetric) in relations for r in predictions[id_].relations]
    return {
        name: expected_calibration_error(np.array(scores[name]), np.array(right[name], dtype=bool)) for name in scores
    }


def check_same_rules(main: Schema, other: Schema) -> None:
    """Raise CorpusError where two schemas differ in labels, argument types or nesting, so that documents do not mix."""
    check_labels(main, other, "the main corpus")
    check_labels(other, main, "an --also corpus")
    rules = [({r.label: (r.pairs, r.symmetric) for r in s.relations}, s.containment) for s in (main, other)]
    if rules[0] != rules[1]:
        differing = [label for label in rules[0][0] if rules[0][0][label] != rules[1][0].get(label)] or ["<OVERLAP>"]
        message = f"the corpora allow different arguments of {', '.join(differing)}; give them the same annotation.conf"
        raise CorpusError([Problem("rules differ", message, Path("annotation.conf"))])


def check_labels(known: Schema, wanted: Schema, what: str = "the model") -> None:
    """Raise CorpusError where `wanted` has labels that `known` has not."""
    missing = [
        *(label for label in wanted.entities if label not in known.entities),
        *(label for label in wanted.relation_labels if label not in known.relation_labels),
    ]
    if missing:
        raise CorpusError(
            [Problem("label sets differ", f"{what} does not know {', '.join(missing)}; it knows "
                     f"{', '.join((*known.entities, *known.relation_labels))}", Path("annotation.conf"))]
        )  # fmt: skip
