"""A text with its entities and relations, and the forms it can be written in."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from wasl.errors import TextError


@dataclass(frozen=True)
class Entity:
    """A mention of a named thing.

    Attributes:
        id: `T1`, `T2`, ... unique in the document.
        label: its type, one of the schema's entity labels.
        start, end: code points of the raw text, end exclusive.
        text: the raw text between them.
        score: probability that span and label are right, 0 to 1; 1 for an annotation.
    """

    id: str
    label: str
    start: int
    end: int
    text: str
    score: float = 1.0

    @property
    def span(self) -> tuple[int, int]:
        return self.start, self.end


@dataclass(frozen=True)
class Relation:
    """A stated link from one entity to another.

    Attributes:
        id: `R1`, `R2`, ... unique in the document.
        label: its type, one of the schema's relation labels.
        head, tail: the entities; of a symmetric relation the head is the first in the text.
        score: probability that it is stated and its two entities are right, 0 to 1; 1 for an annotation.
    """

    id: str
    label: str
    head: Entity
    tail: Entity
    score: float = 1.0


@dataclass(frozen=True)
class Document:
    """A raw text, its entities in text order and its relations.

    >>> document = Document("باريس في فرنسا", (Entity("T1", "LOC", 0, 5, "باريس"),))
    >>> document.to_dict()["entities"][0]["end"]
    5
    """

    text: str
    entities: tuple[Entity, ...] = ()
    relations: tuple[Relation, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The document as plain data: `text`, `entities`, `relations` (whose head and tail are entity ids)."""
        return {
            "text": self.text,
            "entities": [
                {"id": e.id, "label": e.label, "start": e.start, "end": e.end, "text": e.text, "score": e.score}
                for e in self.entities
            ],
            "relations": [
                {"id": r.id, "label": r.label, "head": r.head.id, "tail": r.tail.id, "score": r.score}
                for r in self.relations
            ],
        }

    def to_json(self) -> str:
        """`to_dict` on one line of JSON, Arabic letters as they are."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Document:
        """The document `to_dict` made.

        Raises:
            TextError: a key is missing, an entity's offsets do not give its text, or a relation names no entity.
        """
        try:
            text = data["text"]
            entities = {
                e["id"]: Entity(e["id"], e["label"], e["start"], e["end"], e["text"], e.get("score", 1.0))
                for e in data.get("entities", ())
            }
            relations = tuple(
                Relation(r["id"], r["label"], entities[r["head"]], entities[r["tail"]], r.get("score", 1.0))
                for r in data.get("relations", ())
            )
            wrong = next((e for e in entities.values() if text[e.start : e.end] != e.text), None)
        except (KeyError, TypeError) as error:
            raise TextError(f"not a document: {error!r} is missing or of the wrong type") from error
        if wrong is not None:
            raise TextError(
                f"entity {wrong.id}: the text at {wrong.start}-{wrong.end} is {text[wrong.start : wrong.end]!r}, "
                f"not {wrong.text!r}; offsets are code points, end exclusive"
            )
        return cls(text, tuple(entities.values()), relations)

    def to_brat(self) -> str:
        """The lines of a brat `.ann` file; the raw text is its `.txt`."""
        from wasl.brat import format_annotations

        return format_annotations(self)

    def to_html(self) -> str:
        """A page that shows the text, right to left, with its entities marked and its relations listed."""
        from wasl.html import render

        return render(self)

    def slice(self, start: int, end: int) -> Document:
        """The part of the text in [start, end) as a document of its own, with what lies wholly inside it."""
        inside = {
            e.id: Entity(e.id, e.label, e.start - start, e.end - start, e.text, e.score)
            for e in self.entities
            if start <= e.start and e.end <= end
        }
        relations = tuple(
            Relation(r.id, r.label, inside[r.head.id], inside[r.tail.id], r.score)
            for r in self.relations
            if r.head.id in inside and r.tail.id in inside
        )
        return Document(self.text[start:end], tuple(inside.values()), relations)
