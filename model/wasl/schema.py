"""What may be annotated: entity labels, relation labels and their argument types, as brat's `annotation.conf` says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np

from wasl.errors import SchemaError

_SECTION = re.compile(r"^\[(\w+)\]$")
_MACRO = re.compile(r"^<([\w-]+)>\s*=\s*(\S+)$")
_ARGUMENT = re.compile(r"^(Arg\d):(\S+)$")


@dataclass(frozen=True)
class RelationType:
    """A relation label with every pair of entity labels its head and tail may have.

    Attributes:
        label: the label.
        pairs: the allowed (head label, tail label) pairs.
        symmetric: whether it has no direction; then it is stored once, in text order.
    """

    label: str
    pairs: frozenset[tuple[str, str]]
    symmetric: bool = False


@dataclass(frozen=True)
class Schema:
    r"""Entity labels, relation types and which entities may contain which.

    Attributes:
        entities: entity labels, in the order of the file.
        relations: relation types, in the order of the file.
        containment: (outer label, inner label) pairs that may nest; empty in a flat schema.
        source: the `annotation.conf` it was read from.

    >>> schema = Schema.parse("[entities]\nPER\nORG\n[relations]\nworks_for\tArg1:PER, Arg2:ORG\n")
    >>> schema.relations[0].pairs
    frozenset({('PER', 'ORG')})
    """

    entities: tuple[str, ...]
    relations: tuple[RelationType, ...]
    containment: frozenset[tuple[str, str]]
    source: str

    @classmethod
    def parse(cls, source: str, name: str = "annotation.conf") -> Schema:
        """Read the text of an `annotation.conf`.

        Raises:
            SchemaError: a line cannot be understood; the message names the file and the line.
        """
        return _Parser(name).parse(source)

    @classmethod
    def read(cls, path: Path) -> Schema:
        """Read an `annotation.conf`; raises SchemaError as `parse` does, and where the file is missing or not UTF-8."""
        try:
            return cls.parse(path.read_text(encoding="utf-8"), str(path))
        except FileNotFoundError:
            raise SchemaError(
                f"{path}: not found; a corpus needs an annotation.conf that lists its entity and relation types"
            ) from None
        except UnicodeDecodeError as error:
            raise SchemaError(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from None

    @cached_property
    def relation_labels(self) -> tuple[str, ...]:
        return tuple(r.label for r in self.relations)

    @cached_property
    def symmetric(self) -> frozenset[str]:
        return frozenset(r.label for r in self.relations if r.symmetric)

    @cached_property
    def allowed(self) -> np.ndarray:
        """Shape (entities, entities, relations), bool: may this head label and tail label stand in this relation?

        A symmetric relation allows the pair in both orders where the file allows it in one.
        """
        index = {label: i for i, label in enumerate(self.entities)}
        allowed = np.zeros((len(self.entities), len(self.entities), len(self.relations)), dtype=bool)
        for r, relation in enumerate(self.relations):
            for head, tail in relation.pairs:
                allowed[index[head], index[tail], r] = True
                if relation.symmetric:
                    allowed[index[tail], index[head], r] = True
        return allowed

    @cached_property
    def tag_layers(self) -> tuple[tuple[str, ...], ...]:
        """Entity labels by layer of BIO tags. Entities of one layer never overlap.

        A flat schema has one layer of all labels. Where containment is allowed each label has its own layer, and two
        if it may contain itself.
        """
        if not self.containment:
            return (self.entities,)
        layers = [(label,) for label in self.entities]
        return tuple(layers + [(label,) for label in self.entities if (label, label) in self.containment])

    @cached_property
    def tag_slices(self) -> tuple[slice, ...]:
        """Where each tag layer stands in the tag logits. A layer of n labels has 2n + 1 tags: O, then B, I of each."""
        edges = np.cumsum([0] + [2 * len(layer) + 1 for layer in self.tag_layers]).tolist()
        return tuple(slice(a, b) for a, b in pairwise(edges))

    def may_contain(self, outer: str, inner: str) -> bool:
        return (outer, inner) in self.containment


class _Parser:
    """One pass over an `annotation.conf`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.line = 0
        self.macros: dict[str, list[str]] = {}
        self.entities: list[str] = []
        self.pairs: dict[str, set[tuple[str, str]]] = {}
        self.symmetric: dict[str, bool] = {}
        self.containment: set[tuple[str, str]] = set()

    def fail(self, message: str) -> SchemaError:
        return SchemaError(f"{self.name}:{self.line}: {message}")

    def parse(self, source: str) -> Schema:
        section = ""
        relation_lines: list[tuple[int, str]] = []
        for self.line, raw in enumerate(source.lstrip("\ufeff").splitlines(), 1):
            line = raw.split("#", 1)[0].rstrip() if raw.lstrip().startswith("#") else raw.rstrip()
            if not line.strip():
                continue
            header = _SECTION.match(line.strip())
            macro = _MACRO.match(line.strip())
            if header:
                section = header[1]
                if section not in ("entities", "relations", "events", "attributes"):
                    raise self.fail(f"unknown section [{section}]; brat knows entities, relations, events, attributes")
            elif macro:
                self.macros[macro[1]] = macro[2].split("|")
            elif section == "entities":
                self.add_entity(line.strip())
            elif section == "relations":
                relation_lines.append((self.line, line.strip()))
            elif not section:
                raise self.fail(f"{line.strip()!r} stands before any section such as [entities]")
        if not self.entities:
            raise SchemaError(f"{self.name}: no entity types; list them under [entities], one a line")
        for self.line, line in relation_lines:  # after all entity types, which arguments may name ahead
            self.add_relation(line)
        relations = tuple(
            RelationType(label, frozenset(pairs), self.symmetric[label]) for label, pairs in self.pairs.items()
        )
        return Schema(tuple(self.entities), relations, frozenset(self.containment), source)

    def add_entity(self, label: str) -> None:
        if label.startswith("!") or set(label) == {"-"}:
            return  # brat's abstract groups and separators: never annotated
        if re.search(r"[\s,|:<>]", label):
            raise self.fail(f"entity type {label!r} holds a space or one of , | : < >; use letters, digits, _ and -")
        if label in self.entities:
            raise self.fail(f"entity type {label!r} is listed twice")
        self.entities.append(label)

    def add_relation(self, line: str) -> None:
        label, _, rest = line.partition("\t") if "\t" in line else line.partition(" ")
        arguments: dict[str, list[str]] = {}
        options: dict[str, str] = {}
        for part in (p.strip() for p in rest.split(",") if p.strip()):
            argument = _ARGUMENT.match(part)
            if argument:
                arguments[argument[1]] = self.expand(argument[2])
            elif part.startswith("<") and ":" in part:
                key, value = part.split(":", 1)
                options[key.strip("<>")] = value
            else:
                raise self.fail(f"cannot read {part!r}; write `label<TAB>Arg1:A|B, Arg2:C`")
        if set(arguments) != {"Arg1", "Arg2"}:
            raise self.fail(f"{label}: needs Arg1 and Arg2; write `{label}<TAB>Arg1:A|B, Arg2:C`")
        pairs = {(head, tail) for head in arguments["Arg1"] for tail in arguments["Arg2"]}
        if label == "<OVERLAP>":
            self.add_overlap(pairs, options.get("OVL-TYPE", ""))
            return
        symmetric = "symmetric" in options.get("REL-TYPE", "")
        if self.symmetric.setdefault(label, symmetric) != symmetric:
            raise self.fail(f"{label}: symmetric on one line and not on another; make all its lines agree")
        self.pairs.setdefault(label, set()).update(pairs)

    def add_overlap(self, pairs: set[tuple[str, str]], kind: str) -> None:
        kinds = set(kind.split("|"))
        if not kinds <= {"contain", "equal", "cross", "<ANY>"}:
            raise self.fail(f"<OVL-TYPE>:{kind}: expected contain")
        if "contain" not in kinds and "<ANY>" not in kinds:
            raise self.fail(f"<OVL-TYPE>:{kind}: only containment can be learnt; write <OVL-TYPE>:contain")
        self.containment |= pairs

    def expand(self, types: str) -> list[str]:
        found: list[str] = []
        for name in types.split("|"):
            if name in ("<ENTITY>", "<ANY>"):
                found += self.entities
            elif name.startswith("<") and name.strip("<>") in self.macros:
                found += self.macros[name.strip("<>")]
            else:
                found.append(name)
        for name in found:
            if name not in self.entities:
                raise self.fail(f"entity type {name!r} is not listed under [entities]")
        return found
