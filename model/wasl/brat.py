"""brat's standoff format: one `.ann` file as a list of lines, read with every fault named, and written."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from wasl.document import Document, Entity, Relation
from wasl.errors import Problem
from wasl.schema import Schema

_RELATION = re.compile(r"^(\S+) Arg1:(\S+) Arg2:(\S+)\s*$")
_SPAN = re.compile(r"^(\S+) (\d+ \d+(?:;\d+ \d+)*)$")
_IGNORED = "#AMN"  # notes, attributes, modifications, normalisations: nothing that is learnt


def format_annotations(document: Document) -> str:
    """The lines of a brat `.ann` file. A line break inside an entity is written as a space, as brat does."""
    breaks = str.maketrans("\r\n", "  ")
    entities = [f"{e.id}\t{e.label} {e.start} {e.end}\t{e.text.translate(breaks)}" for e in document.entities]
    relations = [f"{r.id}\t{r.label} Arg1:{r.head.id} Arg2:{r.tail.id}" for r in document.relations]
    return "".join(f"{line}\n" for line in entities + relations)


@dataclass
class _Reader:
    text: str
    schema: Schema
    file: Path
    entities: dict[str, Entity] = field(default_factory=dict)
    entity_lines: dict[str, int] = field(default_factory=dict)
    relations: list[Relation] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def problem(self, cause: str, message: str, line: int, offset: int | None = None) -> None:
        self.problems.append(Problem(cause, message, self.file, line, offset))

    def read(self, annotations: str) -> None:
        relation_lines = []
        for number, line in enumerate(annotations.lstrip("\ufeff").split("\n"), 1):
            line = line.rstrip("\r")
            if not line.strip() or line[0] in _IGNORED:
                continue
            if line[0] == "T":
                self.read_entity(line, number)
            elif line[0] == "R":
                relation_lines.append((number, line))  # after all entities, which brat may write in any order
            else:
                self.problem(
                    "unsupported annotation",
                    f"{line[:40]!r} is neither an entity (T), a relation (R) nor a note; remove the line",
                    number,
                )
        self.drop_overlaps()
        seen: set[tuple[str, str, str]] = set()
        for number, line in relation_lines:
            self.read_relation(line, number, seen)

    def read_entity(self, line: str, number: int) -> None:
        columns = line.split("\t")
        match = _SPAN.match(columns[1]) if len(columns) >= 3 else None
        if not match:
            return self.problem("malformed line", f"{line!r}; expected `T1<TAB>LABEL start end<TAB>text`", number)
        (id_, _, surface), (label, spans) = (columns[0], columns[1], "\t".join(columns[2:])), match.groups()
        if ";" in spans:
            return self.problem(
                "discontinuous span",
                f"{id_} covers {spans}; a mention is one stretch of text: keep one part, or join them",
                number,
                int(spans.split(" ", 1)[0]),
            )
        start, end = map(int, spans.split())
        if id_ in self.entities:
            return self.problem("duplicate id", f"{id_} is used on two lines; give each its own", number, start)
        if label not in self.schema.entities:
            known = ", ".join(self.schema.entities)
            return self.problem(
                "unknown label",
                f"{id_} has label {label!r}; annotation.conf lists {known}. Add it there or correct it",
                number,
                start,
            )
        if not start < end <= len(self.text):
            return self.problem(
                "offsets out of range",
                f"{id_} covers {start}-{end}, but the text has {len(self.text)} code points",
                number,
                start,
            )
        found = self.text[start:end]
        if re.sub(r"\s", " ", found) != re.sub(r"\s", " ", surface):
            return self.problem(*self.explain_misalignment(id_, start, end, surface), number, start)
        if found != found.strip():
            return self.problem(
                "span ends in white space", f"{id_} covers {found!r}; leave white space outside", number, start
            )
        self.entities[id_] = Entity(id_, label, start, end, found)
        self.entity_lines[id_] = number

    def explain_misalignment(self, id_: str, start: int, end: int, surface: str) -> tuple[str, str]:
        found = self.text[start:end]
        if "\r\n" in self.text and self.text.replace("\r\n", "\n")[start:end] == surface:
            return "CRLF line ends", (
                f"{id_} was annotated on a text with LF line ends, and the .txt now has CRLF: every offset after "
                "the first line is wrong; convert the .txt back to LF"
            )
        places = [m.start() for m in re.finditer(re.escape(surface), self.text)]
        near = min(places, key=lambda p: abs(p - start), default=None)
        where = f"it stands at {near}-{near + len(surface)}" if near is not None else "it does not occur in the text"
        return "misaligned offsets", (
            f"{id_}: the text at {start}-{end} is {found!r}, the annotation says {surface!r}; {where}. "
            "Offsets are code points of the .txt as it is, end exclusive"
        )

    def drop_overlaps(self) -> None:
        """Report and drop what overlaps an earlier (or longer) entity in a way the schema does not allow."""
        kept: list[Entity] = []
        for entity in sorted(self.entities.values(), key=lambda e: (e.start, -e.end)):
            clash = next((k for k in reversed(kept) if k.end > entity.start and not self.may_nest(k, entity)), None)
            if clash is None:
                kept.append(entity)
                continue
            advice = (
                "entities may not cross: keep one of them"
                if self.schema.containment
                else "keep the longest name, or allow nesting in annotation.conf with "
                "`<OVERLAP> Arg1:<ENTITY>, Arg2:<ENTITY>, <OVL-TYPE>:contain`"
            )
            self.problem(
                "overlapping entities",
                f"{entity.id} ({entity.text!r}) overlaps {clash.id} ({clash.text!r}); {advice}",
                self.entity_lines[entity.id],
                entity.start,
            )
        self.entities = {e.id: e for e in kept}

    def may_nest(self, outer: Entity, inner: Entity) -> bool:
        return outer.span != inner.span and inner.end <= outer.end and self.schema.may_contain(outer.label, inner.label)

    def read_relation(self, line: str, number: int, seen: set[tuple[str, str, str]]) -> None:
        id_, _, rest = line.partition("\t")
        match = _RELATION.match(rest)
        if not match:
            return self.problem("malformed line", f"{line!r}; expected `R1<TAB>label Arg1:T1 Arg2:T2`", number)
        label, head_id, tail_id = match.groups()
        for argument in (head_id, tail_id):
            if argument not in self.entities:
                return self.problem(
                    "dangling relation",
                    f"{id_} ({label}) names {argument}, which is no usable entity of this file",
                    number,
                )
        head, tail = self.entities[head_id], self.entities[tail_id]
        if label not in self.schema.relation_labels:
            known = ", ".join(self.schema.relation_labels)
            return self.problem(
                "unknown label", f"{id_} has label {label!r}; annotation.conf lists {known}", number, head.start
            )
        r, types = self.schema.relation_labels.index(label), self.schema.entities
        if not self.schema.allowed[types.index(head.label), types.index(tail.label), r]:
            return self.problem(
                "forbidden argument types",
                f"{id_}: {label} may not link {head.label} ({head.text!r}) to {tail.label} ({tail.text!r}); "
                "correct the labels or the direction, or allow the pair in annotation.conf",
                number,
                head.start,
            )
        if label in self.schema.symmetric and tail.start < head.start:
            head, tail = tail, head
        if head is tail or (label, head.id, tail.id) in seen:
            return self.problem(
                "duplicate relation", f"{id_}: {label} {head_id} {tail_id} is given twice or links to itself", number
            )
        seen.add((label, head.id, tail.id))
        self.relations.append(Relation(id_, label, head, tail))


def parse_annotations(
    text: str, annotations: str, schema: Schema, file: Path = Path("?.ann")
) -> tuple[Document, list[Problem]]:
    """The document that a `.ann` file describes, and every line of it that cannot be used.

    Args:
        text: the raw text, line ends as in the file.
        annotations: the content of the `.ann` file.
        schema: what may be annotated.
        file: the name to show in problems.
    """
    reader = _Reader(text, schema, file)
    reader.read(annotations)
    entities = tuple(sorted(reader.entities.values(), key=lambda e: (e.start, -e.end)))
    return Document(text, entities, tuple(reader.relations)), reader.problems
