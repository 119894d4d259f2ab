"""From raw text to what the encoder reads: words, sentences, pieces and windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np
from tokenizers import Tokenizer

from wasl.proclitics import ProcliticSplitter
from wasl.text import (
    DROPPED,
    PRESENTATION_FORM,
    check_text,
    find_sentences,
    find_words,
    normalise,
    skip_letters,
)

LONGEST_PROCLITIC = 4  # letters: «فلل», «وبال» and the like have fewer
PROCLITIC_LETTERS = "وفبلكسأ"
LETTERS = LONGEST_PROCLITIC + 1  # letters of a word's beginning that the proclitic head sees
LONGEST_GAP = 100  # words between the two ends of a relation; annotated ones have at most 73
LOOKED_AT = 4 * LETTERS  # characters of a word, marks and tatweel among them, in which those letters are looked for
LETTER_CLASSES = 64  # 0 none, 1 other, 2.. the Arabic letters U+0620..U+065D


@dataclass(frozen=True)
class Words:
    """The words of a raw text.

    Attributes:
        spans: shape (words, 2), int64: start and end offsets.
        sentence: shape (words,), int64: the sentence each word is in, never falling.
        letters: shape (words, LETTERS), int64: classes of the first letters, for the proclitic head.
        skippable: shape (words, LONGEST_PROCLITIC + 1), bool: may an entity start after this many letters?
    """

    spans: np.ndarray
    sentence: np.ndarray
    letters: np.ndarray
    skippable: np.ndarray

    def __len__(self) -> int:
        return len(self.spans)

    @cached_property
    def sentence_bounds(self) -> np.ndarray:
        """Shape (sentences with words, 2): first and last-plus-one word of each sentence."""
        cuts = np.flatnonzero(np.diff(self.sentence)) + 1
        return np.stack([np.r_[0, cuts], np.r_[cuts, len(self)]], axis=1) if len(self) else np.zeros((0, 2), np.int64)


@dataclass(frozen=True)
class Window:
    """What the encoder reads in one pass: whole sentences of one text, where they fit.

    Attributes:
        pieces: shape (pieces,), int64: token ids, with the special tokens at both ends.
        link_words: shape (links,): a word of the text ...
        link_pieces: shape (links,): ... and a piece of this window that covers a part of it.
        own: first and last-plus-one word whose vectors are taken from this window; its other words are context.
    """

    pieces: np.ndarray
    link_words: np.ndarray
    link_pieces: np.ndarray
    own: tuple[int, int]


@dataclass(frozen=True)
class Encoded:
    """A raw text ready for the network."""

    text: str
    words: Words
    windows: list[Window]


@dataclass(frozen=True)
class _Sentence:
    """One sentence's pieces, with the words that each covers."""

    ids: np.ndarray
    link_words: np.ndarray
    link_pieces: np.ndarray


class TextEncoder:
    """Cuts raw texts into windows of token ids, remembering which pieces make up which word.

    Args:
        tokenizer: any fast tokenizer, WordPiece and SentencePiece alike.
        max_pieces: most pieces in a window, special tokens included.
        context_pieces: how much of the sentences before is repeated at the start of a window, for context.
        split_proclitics: whether proclitics are set apart before the tokenizer; see `wasl.proclitics`.
    """

    def __init__(
        self, tokenizer: Tokenizer, max_pieces: int = 192, context_pieces: int = 0, split_proclitics: bool = False
    ) -> None:
        self.tokenizer = tokenizer
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        self.max_pieces = max_pieces
        self.context_pieces = context_pieces
        self.split = ProcliticSplitter(tokenizer) if split_proclitics else None
        self.prefix, self.suffix = _special_tokens(tokenizer)
        if max_pieces < len(self.prefix) + len(self.suffix) + 8:
            raise ValueError(f"max_pieces={max_pieces} leaves no room for text")

    def encode(self, text: str, *, context: bool = True) -> Encoded:
        """The windows of a text; without `context` no window repeats sentences of the one before.

        Raises:
            TextError: the text is not a string or holds a lone surrogate.
        """
        check_text(text)
        words = find_word_table(text)
        sentences = self._tokenise(text, words)
        return Encoded(text, words, self._windows(sentences, words, context))

    def _tokenise(self, text: str, words: Words) -> list[_Sentence]:
        """The pieces of each sentence that has words."""
        first_last = words.sentence_bounds
        normal = [normalise(text[words.spans[a, 0] : words.spans[b - 1, 1]]) for a, b in first_last]
        if self.split is not None:
            normal = [self.split(sentence) for sentence in normal]
        if not normal:
            return []
        encodings = self.tokenizer.encode_batch([n.text for n in normal], add_special_tokens=False)
        # All sentences at once, one after the other: an array operation takes about as long for one as for ten.
        ids = [np.asarray(e.ids, dtype=np.int64) for e in encodings]
        origins = [np.append(n.origin, n.origin[-1] + 1 if len(n.origin) else 0) for n in normal]
        characters, pieces = (np.cumsum([0, *map(len, parts)]) for parts in (origins, ids))
        spans = np.concatenate([np.asarray(e.offsets, dtype=np.int64).reshape(-1, 2) for e in encodings])
        spans += np.repeat(characters[:-1], np.diff(pieces))[:, None]
        origin = np.concatenate(origins) + np.repeat(words.spans[first_last[:, 0], 0], np.diff(characters))
        link_pieces, link_words = _link(origin, spans, words.spans)
        cuts = np.searchsorted(link_pieces, pieces)
        return [
            _Sentence(one, link_words[low:high], link_pieces[low:high] - first)
            for one, first, low, high in zip(ids, pieces[:-1].tolist(), cuts.tolist(), cuts[1:].tolist(), strict=False)
        ]

    def _windows(self, sentences: list[_Sentence], words: Words, context: bool) -> list[Window]:
        """Greedy packing of whole sentences; a sentence that is too long alone is cut into overlapping windows."""
        room = self.max_pieces - len(self.prefix) - len(self.suffix)
        windows: list[Window] = []
        bounds = words.sentence_bounds
        at = 0
        while at < len(sentences):
            if len(sentences[at].ids) > room:
                windows += self._cut(sentences[at], tuple(bounds[at]), room)
                at += 1
                continue
            start, used = at, 0
            budget = self.context_pieces if context else 0
            while start > 0 and len(sentences[start - 1].ids) <= budget:
                start -= 1
                budget -= len(sentences[start].ids)
                used += len(sentences[start].ids)
            while start < at and used + len(sentences[at].ids) > room:  # context gives way to the text itself
                used -= len(sentences[start].ids)
                start += 1
            end = at
            while end < len(sentences) and used + len(sentences[end].ids) <= room:
                used += len(sentences[end].ids)
                end += 1
            windows.append(self._join(sentences[start:end], (int(bounds[at, 0]), int(bounds[end - 1, 1]))))
            at = end
        return windows

    def _join(self, sentences: Sequence[_Sentence], own: tuple[int, int]) -> Window:
        shifts = np.cumsum([len(self.prefix)] + [len(s.ids) for s in sentences])
        return Window(
            np.concatenate([self.prefix, *(s.ids for s in sentences), self.suffix]),
            np.concatenate([s.link_words for s in sentences]),
            np.concatenate([s.link_pieces + shift for s, shift in zip(sentences, shifts, strict=False)]),
            own,
        )

    def _cut(self, sentence: _Sentence, bounds: tuple[int, int], room: int) -> list[Window]:
        """Windows over one long sentence, each half over the one before; a word belongs to the window where it stands
        furthest from the edges.
        """
        total, step = len(sentence.ids), room // 2
        starts = [*range(0, total - room, step), total - room]
        first_piece = np.full(bounds[1] - bounds[0], total)
        np.minimum.at(first_piece, sentence.link_words - bounds[0], sentence.link_pieces)
        first_piece = np.minimum.accumulate(first_piece[::-1])[::-1]  # words without a piece go with the next
        seams = [0, *((a + room + b) // 2 for a, b in pairwise(starts)), total + 1]
        windows = []
        for start, low, high in zip(starts, seams, seams[1:], strict=False):
            mine = np.flatnonzero((first_piece >= low) & (first_piece < high)) + bounds[0]
            if not len(mine):
                continue
            inside = (sentence.link_pieces >= start) & (sentence.link_pieces < start + room)
            part = _Sentence(
                sentence.ids[start : start + room], sentence.link_words[inside], sentence.link_pieces[inside] - start
            )
            windows.append(self._join([part], (int(mine[0]), int(mine[-1]) + 1)))
        return windows


def _special_tokens(tokenizer: Tokenizer) -> tuple[np.ndarray, np.ndarray]:
    """The ids that the tokenizer puts before and after a text."""
    probe = tokenizer.encode("1")
    mask = np.asarray(probe.special_tokens_mask)
    text = np.flatnonzero(mask == 0)
    ids = np.asarray(probe.ids, dtype=np.int64)
    return (ids[: text[0]], ids[text[-1] + 1 :]) if len(text) else (ids[:1], ids[1:])


def find_word_table(text: str) -> Words:
    """The words of a raw text, with the sentences they are in and what the proclitic head needs."""
    spans = find_words(text)
    bounds = find_sentences(text)
    sentence = np.maximum(np.searchsorted(bounds[:, 0], spans[:, 0], side="right") - 1, 0)
    return Words(spans, sentence, *_beginnings(text, spans))


def _beginnings(text: str, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`letters` and `skippable` of `Words`, of the normalised letters among a word's first characters."""
    codes = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
    dropped, folded, classes, proclitic = _tables()
    low = np.minimum(codes, len(dropped) - 1)  # no character beyond the basic plane is any of these
    kept = np.flatnonzero(~dropped[low])
    before = np.searchsorted(kept, words)  # letters that stand before each word's start and end
    looked_at = np.minimum(words[:, 1], words[:, 0] + LOOKED_AT)
    steps = np.arange(LETTERS)
    at = before[:, :1] + steps
    there = at < np.searchsorted(kept, looked_at)[:, None]
    found = low[kept[np.minimum(at, max(len(kept) - 1, 0))]] if len(kept) else np.zeros(at.shape, np.int64)
    letters = np.where(there, classes[found], 0)
    more = (before[:, 1] - before[:, 0])[:, None] > steps[:LONGEST_PROCLITIC] + 1
    may_skip = np.logical_and.accumulate(there & proclitic[found], axis=1)[:, :LONGEST_PROCLITIC]
    skippable = np.column_stack([np.ones(len(words), dtype=bool), np.logical_and.accumulate(may_skip & more, axis=1)])
    if folded[low].any():  # ligatures and other presentation forms are several letters, or other ones: word by word
        for i in np.flatnonzero(np.diff(np.searchsorted(np.flatnonzero(folded[low]), words), axis=1)[:, 0]).tolist():
            letters[i], skippable[i] = _beginning(text, *words[i].tolist())
    return letters, skippable


def _beginning(text: str, start: int, end: int) -> tuple[np.ndarray, np.ndarray]:
    """The same of one word, whatever is in it."""
    letters = np.zeros(LETTERS, dtype=np.int64)
    skippable = np.zeros(LONGEST_PROCLITIC + 1, dtype=bool)
    skippable[0] = True
    plain = normalise(text[start : min(end, start + LOOKED_AT)]).text
    for j, letter in enumerate(plain[:LETTERS]):
        letters[j] = _letter_class(ord(letter))
    for j, letter in enumerate(plain[:LONGEST_PROCLITIC]):
        if letter not in PROCLITIC_LETTERS or skip_letters(text, start, end, j + 1) >= end:
            break
        skippable[j + 1] = True
    return letters, skippable


def _letter_class(code: int) -> int:
    return code - 0x0620 + 2 if 0 <= code - 0x0620 < LETTER_CLASSES - 2 else 1


@lru_cache(maxsize=1)
def _tables() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of each character of the basic plane: is it dropped, is it folded, its letter class, is it a proclitic letter?"""
    characters = [chr(code) for code in range(2**16)]
    dropped, folded = (np.array([bool(p.match(c)) for c in characters]) for p in (DROPPED, PRESENTATION_FORM))
    classes = np.array([_letter_class(code) for code in range(2**16)])
    return dropped, folded, classes, np.isin(np.arange(2**16), [ord(letter) for letter in PROCLITIC_LETTERS])


def _link(origin: np.ndarray, pieces: np.ndarray, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All (piece, word) pairs that share a character.

    Args:
        origin: shape (characters + 1,): raw offset of each normalised character.
        pieces: shape (pieces, 2): normalised offsets.
        words: shape (words, 2): raw offsets.
    """
    starts, ends = origin[pieces[:, 0]], origin[np.maximum(pieces[:, 1] - 1, pieces[:, 0])] + 1
    ends = np.where(pieces[:, 1] > pieces[:, 0], ends, starts)
    low = np.searchsorted(words[:, 1], starts, side="right")  # first word that ends after the piece starts
    high = np.searchsorted(words[:, 0], ends, side="left")  # first word that starts at the piece's end or later
    counts = np.maximum(high - low, 0)
    piece_index = np.repeat(np.arange(len(pieces)), counts)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return piece_index, np.repeat(low, counts) + within
