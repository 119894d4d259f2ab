"""Annotations as the network sees them: entities as runs of words with proclitic letters left out at the start."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wasl.document import Document, Entity, Relation
from wasl.encoding import LONGEST_GAP, LONGEST_PROCLITIC, Words
from wasl.errors import Problem
from wasl.schema import Schema
from wasl.text import letters_to_skip


@dataclass(frozen=True)
class Aligned:
    """The usable annotations of a document.

    Attributes:
        entities: those that are whole words less proclitic letters, inside one sentence.
        spans: shape (entities, 2), int64: first and last-plus-one word.
        skips: shape (entities,), int64: letters of the first word that are left out.
        labels: shape (entities,), int64: indices into the schema's entity labels.
        layers: shape (entities,), int64: the tag layer each is written in.
        relations: as (head, tail, relation) indices, where both ends are usable, in one sentence, not too far apart.
        problems: what is left out, and why.
    """

    entities: tuple[Entity, ...]
    spans: np.ndarray
    skips: np.ndarray
    labels: np.ndarray
    layers: np.ndarray
    relations: tuple[tuple[int, int, int], ...]
    problems: tuple[Problem, ...]


def align(document: Document, words: Words, schema: Schema, file: Path = Path("?")) -> Aligned:
    """Find the words of each entity; name every annotation that words cannot express."""
    usable: list[tuple[Entity, int, int, int]] = []
    problems: list[Problem] = []
    for entity in sorted(document.entities, key=lambda e: (e.start, -e.end)):
        first = int(np.searchsorted(words.spans[:, 1], entity.start, side="right"))
        last = int(np.searchsorted(words.spans[:, 1], entity.end, side="left")) + 1
        fault = _fault(document.text, entity, words, first, last)
        if fault:
            problems.append(Problem(*fault, file, None, entity.start))
            continue
        skip = letters_to_skip(document.text, int(words.spans[first, 0]), entity.start)
        usable.append((entity, first, last, skip))
    spans = np.array([(f, t) for _, f, t, _ in usable], dtype=np.int64).reshape(-1, 2)
    labels = np.array([schema.entities.index(e.label) for e, *_ in usable], dtype=np.int64)
    layers, deep = _layers(spans, labels, schema)
    for i in deep:
        entity = usable[i][0]
        problems.append(
            Problem("nested too deep", f"{entity.id} ({entity.text!r}) is the third {entity.label} in one another",
                    file, None, entity.start)
        )  # fmt: skip
    keep = [i for i in range(len(usable)) if i not in deep]
    index = {usable[i][0].id: k for k, i in enumerate(keep)}
    relations = tuple(_relations(document.relations, index, words, spans[keep], schema, file, problems))
    return Aligned(
        tuple(usable[i][0] for i in keep),
        spans[keep],
        np.array([usable[i][3] for i in keep], dtype=np.int64),
        labels[keep],
        layers[keep],
        relations,
        tuple(problems),
    )


def _fault(text: str, entity: Entity, words: Words, first: int, last: int) -> tuple[str, str] | None:
    name = f"{entity.id} ({entity.text!r})"
    if first >= len(words) or last > len(words) or words.spans[first, 0] >= entity.end:
        return "no word", f"{name} covers no word"
    if words.spans[last - 1, 1] != entity.end or words.spans[last - 1, 0] >= entity.end:
        word = text[words.spans[last - 1, 0] : words.spans[last - 1, 1]]
        return "ends inside a word", f"{name} ends inside {word!r}; move its end to the end of the word"
    if words.sentence[first] != words.sentence[last - 1]:
        return "crosses sentences", f"{name} runs over the end of a sentence; annotate the parts"
    skip = letters_to_skip(text, int(words.spans[first, 0]), entity.start)
    if skip > LONGEST_PROCLITIC or not words.skippable[first, skip]:
        word = text[words.spans[first, 0] : words.spans[first, 1]]
        return "starts inside a word", (
            f"{name} starts {skip} letters inside {word!r}, and these are no proclitics; move its start"
        )
    return None


def _layers(spans: np.ndarray, labels: np.ndarray, schema: Schema) -> tuple[np.ndarray, set[int]]:
    """The tag layer of each entity (sorted outermost first), and those for which no layer is left."""
    layers = np.zeros(len(spans), dtype=np.int64)
    if not schema.containment:
        return layers, set()
    choices = {
        label: [k for k, layer in enumerate(schema.tag_layers) if layer == (name,)]
        for label, name in enumerate(schema.entities)
    }
    taken: dict[int, list[tuple[int, int]]] = {}
    deep: set[int] = set()
    for i, ((first, last), label) in enumerate(zip(spans.tolist(), labels.tolist(), strict=True)):
        free = [k for k in choices[label] if all(b <= first or last <= a for a, b in taken.get(k, ()))]
        if not free:
            deep.add(i)
            continue
        layers[i] = free[0]
        taken.setdefault(free[0], []).append((first, last))
    return layers, deep


def _relations(
    relations: tuple[Relation, ...],
    index: dict[str, int],
    words: Words,
    spans: np.ndarray,
    schema: Schema,
    file: Path,
    problems: list[Problem],
) -> list[tuple[int, int, int]]:
    found = []
    for relation in relations:
        name = f"{relation.id} ({relation.label}: {relation.head.text!r}, {relation.tail.text!r})"
        if relation.head.id not in index or relation.tail.id not in index:
            problems.append(
                Problem(
                    "argument not usable", f"{name} has an entity that is left out", file, None, relation.head.start
                )
            )
            continue
        head, tail = index[relation.head.id], index[relation.tail.id]
        if words.sentence[spans[head, 0]] != words.sentence[spans[tail, 0]]:
            problems.append(
                Problem("crosses sentences", f"{name} links two sentences; relations are within one", file, None,
                        relation.head.start)
            )  # fmt: skip
            continue
        left, right = sorted((head, tail))
        if spans[right, 0] - spans[left, 1] > LONGEST_GAP:
            message = f"{name} links entities more than {LONGEST_GAP} words apart"
            problems.append(Problem("too far apart", message, file, None, relation.head.start))
            continue
        found.append((head, tail, schema.relation_labels.index(relation.label)))
    return found
