"""Scoring on word-level corpora, as their papers do: IOB2 tags of words, counted by seqeval."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seqeval.metrics import classification_report
from seqeval.scheme import IOB2

from wasl.conll import Sentence, in_documents, to_document
from wasl.document import Document
from wasl.errors import ArgumentError
from wasl.extractor import Extractor
from wasl_training.metrics import Score


@dataclass(frozen=True)
class WordFigures:
    """Figures of a word-level corpus: seqeval's strict mode, IOB2 (an entity counts where all its words agree).

    Attributes:
        micro_f1: F1 over all entities, in percent.
        macro_f1: mean of the labels' F1, in percent.
        by_label: figures of each of the corpus's labels.
        left_out: `{label: gold entities}` of the corpus's labels that no label of the model stands for.
    """

    micro_f1: float
    macro_f1: float
    by_label: dict[str, Score]
    left_out: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """The figures as the command line writes them."""
        by_label = {label: one.to_dict() for label, one in self.by_label.items()}
        return {
            "micro_f1": round(self.micro_f1, 2),
            "macro_f1": round(self.macro_f1, 2),
            "by_label": by_label,
            "left_out": self.left_out,
        }


def read_label_map(text: str, model: Sequence[str]) -> dict[str, str]:
    """Which of a corpus's labels each label of a model stands for.

    Args:
        text: `PER=PERS,ORG=ORG`, or a JSON file that holds an object of the same.
        model: the model's labels.

    Raises:
        ArgumentError: it cannot be read, or names a label the model does not have.
    """
    if Path(text).is_file():
        try:
            found = json.loads(Path(text).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ArgumentError(f'{text}: not JSON ({error}); write {{"PER": "PERS", ...}}') from None
        if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
            raise ArgumentError(f'{text}: not an object of labels; write {{"PER": "PERS", ...}}')
        pairs = list(found.items())
    else:
        pairs = [(model_label, label) for model_label, _, label in (part.partition("=") for part in text.split(","))]
        if not all(all(pair) for pair in pairs):
            raise ArgumentError(f"{text!r}: neither a file nor MODEL_LABEL=CORPUS_LABEL pairs such as PER=PERS,ORG=ORG")
    unknown = [label for label, _ in pairs if label not in model]
    if unknown:
        raise ArgumentError(f"the model has no label {', '.join(unknown)}; it has {', '.join(model)}")
    return dict(pairs)


def evaluate_words(
    extractor: Extractor, sentences: Sequence[Sentence], labels: Mapping[str, str] | None = None
) -> WordFigures:
    """Predict the words' tags from raw text and count.

    Sentences are read many at a time (`wasl.conll.in_documents`), so that neighbours are context. A word that holds
    part of a predicted entity is part of it; proclitics are in the word here.

    Args:
        extractor: predicts.
        sentences: words and gold tags.
        labels: `{model's label: corpus's label}`; the same names where None. Predictions of other labels, and gold of
            labels that none stands for, are left out.
    """
    labels = {label: label for label in extractor.schema.entities} if labels is None else labels
    known = set(labels.values())
    chunks = in_documents(sentences)
    documents = extractor.predict_many(to_document(chunk).text for chunk in chunks)
    predicted = [
        tags for chunk, document in zip(chunks, documents, strict=True) for tags in word_tags(document, chunk, labels)
    ]
    gold = [[tag if tag[2:] in known else "O" for tag in s.tags] for s in sentences]
    counts = Counter(tag[2:] for s in sentences for tag in s.tags if tag[0] == "B" and tag[2:] not in known)
    report = classification_report(gold, predicted, mode="strict", scheme=IOB2, output_dict=True, zero_division=0)
    by_label = {
        label: Score(100 * row["precision"], 100 * row["recall"], 100 * row["f1-score"], int(row["support"]))
        for label, row in report.items()
        if not label.endswith(" avg")
    }
    return WordFigures(
        100 * report["micro avg"]["f1-score"],
        100 * report["macro avg"]["f1-score"],
        by_label,
        dict(sorted(counts.items())),
    )


def word_tags(document: Document, sentences: Sequence[Sentence], labels: Mapping[str, str]) -> list[list[str]]:
    """IOB2 tags of the words of the sentences that a document was made of (`wasl.conll.to_document`)."""
    entities = sorted((e for e in document.entities if e.label in labels), key=lambda e: (e.start, -e.end))
    tags: list[list[str]] = []
    at = n = 0
    for sentence in sentences:
        row = []
        inside: int | None = None  # the entity that the word before is part of
        for word in sentence.words:
            end = at + len(word)
            while n < len(entities) and entities[n].end <= at:
                n += 1
            if n < len(entities) and entities[n].start < end:
                row.append(("I-" if inside == n else "B-") + labels[entities[n].label])
                inside = n
            else:
                row.append("O")
                inside = None
            at = end + 1
        tags.append(row)
    return tags
