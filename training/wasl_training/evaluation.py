"""Scoring an extractor on annotated documents."""

from __future__ import annotations

from dataclasses import dataclass

from wasl.corpus import Corpus
from wasl.document import Document
from wasl.errors import CorpusError, Problem
from wasl.extractor import Extractor
from wasl.schema import Schema
from wasl_training.metrics import Figures, Tally, figures, tally


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found.

    Attributes:
        figures: pooled over the documents.
        tallies: `{document id: counts}`.
        predictions: `{document id: document as predicted}`.
    """

    figures: Figures
    tallies: dict[str, Tally]
    predictions: dict[str, Document]


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
    return Evaluation(figures(list(tallies.values())), tallies, predictions)


def check_labels(known: Schema, wanted: Schema, what: str = "the model") -> None:
    """Raise CorpusError where `wanted` has labels that `known` has not."""
    missing = [
        *(label for label in wanted.entities if label not in known.entities),
        *(label for label in wanted.relation_labels if label not in known.relation_labels),
    ]
    if missing:
        from pathlib import Path

        raise CorpusError(
            [Problem("label sets differ", f"{what} does not know {', '.join(missing)}; it knows "
                     f"{', '.join((*known.entities, *known.relation_labels))}", Path("annotation.conf"))]
        )  # fmt: skip
