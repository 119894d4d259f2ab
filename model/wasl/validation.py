"""Everything that is wrong with a corpus, and what is in it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from wasl.alignment import align
from wasl.corpus import read_corpus
from wasl.encoding import find_word_table
from wasl.errors import Problem


@dataclass(frozen=True)
class Validation:
    """What `validate` found.

    Attributes:
        documents: how many can be used.
        entities, relations: how many can be used, by label.
        problems: everything that cannot, with file, line and offset.
    """

    documents: int
    entities: Counter[str]
    relations: Counter[str]
    problems: tuple[Problem, ...]


def validate(folder: str | Path) -> Validation:
    """Check a corpus as `train` would, all files and all faults at once.

    Raises:
        CorpusError: there is no usable document in it at all.
        SchemaError: its `annotation.conf` is missing or cannot be understood.
    """
    corpus = read_corpus(folder, skip_invalid=True)
    problems = list(corpus.problems)
    entities: Counter[str] = Counter()
    relations: Counter[str] = Counter()
    for id_, document in corpus.documents.items():
        file = Path(folder) / f"{id_}.ann"
        aligned = align(document, find_word_table(document.text), corpus.schema, file)
        problems += aligned.problems
        entities.update(e.label for e in aligned.entities)
        relations.update(corpus.schema.relation_labels[r] for *_, r in aligned.relations)
    return Validation(len(corpus.documents), entities, relations, tuple(problems))
