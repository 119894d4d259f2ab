"""Annotated documents varied, so that a few articles show more than they say.

Proclitics are glued onto entities and taken off again. Arabic writes و ف ب ل ك as one word with what follows. Whether a
name's first letter is its own is learnt from the names that occur; here the same name is seen both ways. The article's
alif falls after ل: ل + الصين is written للصين.

Words are hidden from the encoder (word dropout; Iyyer et al. 2015, doi 10.3115/v1/P15-1162), so that it reads a name
from what stands around it too.

Pieces are cut into smaller ones that the tokenizer knows too (subword regularisation; Kudo 2018, arXiv 1804.10959), so
that a name is also seen in the pieces that rarer names are made of.

Mentions are replaced by others of the same label (Dai and Adel 2020, arXiv 2010.11683), so that what stands around a
name is learnt beside the name.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from tokenizers import Tokenizer

from wasl.document import Document, Entity, Relation
from wasl.encoding import PROCLITIC_LETTERS, Encoded, Window
from wasl.text import ARABIC, TATWEEL

# How often each proclitic stands before an entity in Arabic news, roughly.
_PROCLITICS, _WEIGHTS = ("و", "ل", "ب", "ف", "ك", "ول", "وب"), (50, 25, 12, 3, 2, 5, 3)
WORD_START = "▁"  # of SentencePiece: a piece of its own, but not of a word that has letters
_ARABIC_LETTER = re.compile(f"[{ARABIC}]")


def hide_words(encoded: Encoded, random_: random.Random, share: float, mask: int) -> Encoded:
    """A copy in which the pieces of some words are the mask token.

    Args:
        encoded: the original.
        random_: the source of chance.
        share: chance for each word.
        mask: the token's id.
    """
    hidden = np.array([random_.random() < share for _ in range(len(encoded.words))])
    windows = []
    for window in encoded.windows:
        pieces = window.pieces.copy()
        pieces[window.link_pieces[hidden[window.link_words]]] = mask
        windows.append(replace(window, pieces=pieces))
    return replace(encoded, windows=windows)


class PieceCutter:
    """Cuts pieces in two.

    Args:
        tokenizer: whose pieces they are.
        most_pieces: in a window; where it has so many, no more are cut.
    """

    def __init__(self, tokenizer: Tokenizer, most_pieces: int) -> None:
        self.most_pieces = most_pieces
        vocabulary = tokenizer.get_vocab()
        special = set(tokenizer.get_added_tokens_decoder())
        inner = getattr(tokenizer.model, "continuing_subword_prefix", None) or ""  # "##" of WordPiece
        self.halves: dict[int, list[tuple[int, int]]] = {}
        for piece, id_ in vocabulary.items():
            first = len(inner) if inner and piece.startswith(inner) else 0
            cuts = [(piece[:at], inner + piece[at:]) for at in range(first + 1, len(piece))]
            found = [
                (vocabulary[a], vocabulary[b])
                for a, b in cuts
                if a in vocabulary and b in vocabulary and a != WORD_START
            ]
            if found and id_ not in special:
                self.halves[id_] = found

    def __call__(self, encoded: Encoded, random_: random.Random, share: float) -> Encoded:
        """A copy in which the pieces of some words are cut, each at a place by chance.

        Args:
            encoded: the original.
            random_: the source of chance.
            share: chance for each word.
        """
        chosen = np.array([random_.random() < share for _ in range(len(encoded.words))])
        return replace(encoded, windows=[self._cut(window, random_, chosen) for window in encoded.windows])

    def _cut(self, window: Window, random_: random.Random, chosen: np.ndarray) -> Window:
        pieces: list[int] = []
        parts = np.ones(len(window.pieces), dtype=np.int64)
        of_chosen = np.zeros(len(window.pieces), dtype=bool)
        of_chosen[window.link_pieces[chosen[window.link_words]]] = True
        room = self.most_pieces - len(window.pieces)
        for i, piece in enumerate(window.pieces.tolist()):
            if of_chosen[i] and room > 0 and piece in self.halves:
                pieces += random_.choice(self.halves[piece])
                parts[i] = 2
                room -= 1
            else:
                pieces.append(piece)
        first = np.cumsum(parts) - parts  # where each piece is now
        links = parts[window.link_pieces]
        within = np.arange(links.sum()) - np.repeat(np.cumsum(links) - links, links)
        return replace(
            window,
            pieces=np.array(pieces, dtype=np.int64),
            link_words=np.repeat(window.link_words, links),
            link_pieces=np.repeat(first[window.link_pieces], links) + within,
        )


def vary_proclitics(document: Document, random_: random.Random, glue: float, unglue: float) -> Document:
    """A copy of the document in which some entities have gained and some have lost a proclitic.

    Args:
        document: the original.
        random_: the source of chance.
        glue, unglue: chance for each entity without, and with, a proclitic.
    """
    text = document.text
    edits: list[tuple[int, int, str]] = []  # start, end, new text; ends where an entity starts (or after its alif)
    barrier = 0
    for start in sorted({e.start for e in document.entities}):
        inside_another = any(e.start < start < e.end for e in document.entities)
        edit = None if inside_another else _edit(text, start, barrier, random_, glue, unglue)
        if edit:
            edits.append(edit)
        barrier = max([barrier] + [e.end for e in document.entities if e.start == start])
    if not edits:
        return document
    return _apply(document, edits)


def _edit(
    text: str, start: int, barrier: int, random_: random.Random, glue: float, unglue: float
) -> tuple[int, int, str] | None:
    begin = start
    while begin > barrier and not text[begin - 1].isspace() and begin > start - 4:
        begin -= 1
    before = text[begin:start]
    if not before and (start == 0 or text[start - 1].isspace()):
        return _glue(text, start, random_) if random_.random() < glue else None
    letters = before.replace(TATWEEL, "")
    clean = letters and all(c in PROCLITIC_LETTERS for c in letters) and (begin == 0 or text[begin - 1].isspace())
    if clean and random_.random() < unglue:
        alif = "ا" if letters[-1] == "ل" and text[start] == "ل" else ""  # للصين was ل + الصين
        return begin, start, alif
    return None


def _glue(text: str, start: int, random_: random.Random) -> tuple[int, int, str]:
    proclitic = random_.choices(_PROCLITICS, _WEIGHTS)[0]
    if not _ARABIC_LETTER.match(text[start]):
        return start, start, proclitic + (TATWEEL if proclitic[-1] in "لبك" and random_.random() < 0.7 else "")
    article = proclitic[-1] == "ل" and text.startswith("ال", start)
    return start, start + (1 if article else 0), proclitic


def _apply(document: Document, edits: list[tuple[int, int, str]]) -> Document:
    """The document with the edits made and every offset moved along.

    An edit's new text stays outside of the entity that follows, but for an alif that is put back.
    """
    pieces: list[str] = []
    done = shift = 0
    starts: dict[int, int] = {}  # raw entity start: new start, where an edit touches it
    shifts: list[tuple[int, int]] = []  # (raw offset, shift from there on)
    for begin, end, new in edits:
        pieces += [document.text[done:begin], new]
        done = end
        restored = new == "ا" and end > begin
        anchor = end if end > begin and document.text[begin:end] != "ا" else begin
        starts[anchor] = begin + shift + (0 if restored else len(new))
        shift += len(new) - (end - begin)
        shifts.append((end, shift))
    pieces.append(document.text[done:])
    text = "".join(pieces)

    def moved(offset: int) -> int:
        return offset + next((s for at, s in reversed(shifts) if at <= offset), 0)

    def move(entity: Entity) -> Entity:
        start = starts.get(entity.start, moved(entity.start))
        end = moved(entity.end)
        return replace(entity, start=start, end=end, text=text[start:end])

    entities = {e.id: move(e) for e in document.entities}
    relations = tuple(
        Relation(r.id, r.label, entities[r.head.id], entities[r.tail.id], r.score) for r in document.relations
    )
    return Document(text, tuple(entities.values()), relations)


def mentions_by_label(documents: Iterable[Document]) -> dict[str, list[str]]:
    """The different mentions of each label, sorted; those that lost a letter of their own to a proclitic left out."""
    found: dict[str, set[str]] = {}
    for document in documents:
        for entity in document.entities:
            if not document.text[: entity.start].endswith("ل"):
                found.setdefault(entity.label, set()).add(entity.text)
    return {label: sorted(mentions) for label, mentions in found.items()}


def replace_mentions(
    document: Document, mentions: Mapping[str, Sequence[str]], random_: random.Random, chance: float
) -> Document:
    """A copy of the document in which some entities have been replaced by others of the same label.

    Args:
        document: the original; entities that overlap another stay as they are.
        mentions: what there is to choose from, by label.
        random_: the source of chance.
        chance: for each entity, 0 to 1.
    """
    ordered = sorted(document.entities, key=lambda e: (e.start, -e.end))
    pieces: list[str] = []
    moved: dict[str, Entity] = {}
    done = shift = reach = 0  # raw text copied, its shift in the copy, end of the entities so far
    for i, entity in enumerate(ordered):
        text = entity.text
        alone = reach <= entity.start and (i + 1 == len(ordered) or entity.end <= ordered[i + 1].start)
        reach = max(reach, entity.end)
        if alone and mentions.get(entity.label) and random_.random() < chance:
            text = random_.choice(mentions[entity.label])
            if document.text[: entity.start].endswith("ل") and text.startswith("ال"):
                text = text[1:]  # ل + الصين is written للصين
            pieces += [document.text[done : entity.start], text]
            done = entity.end
        start = entity.start + shift
        moved[entity.id] = replace(entity, start=start, end=start + len(text), text=text)
        shift += len(text) - len(entity.text)
    pieces.append(document.text[done:])
    relations = tuple(replace(r, head=moved[r.head.id], tail=moved[r.tail.id]) for r in document.relations)
    return Document("".join(pieces), tuple(moved[e.id] for e in document.entities), relations)
