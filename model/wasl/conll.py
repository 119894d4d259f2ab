"""Word-level corpora: one word and its IOB2 tag a line, sentences parted by empty lines (CoNLL 2003 and its kin)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from wasl.corpus import Corpus
from wasl.document import Document, Entity
from wasl.errors import CorpusError, Problem
from wasl.schema import Schema
from wasl.text import ARABIC

SENTENCES_IN_DOCUMENT = 40
_GAP = re.compile(r"[ \t]+")
_TAG = re.compile(r"O|[BI]-\S+")
_ARABIC_WORD = re.compile(f"[{ARABIC}]{{2}}")
_PROCLITICS = frozenset("وفبلكس")
_ENCLITICS = frozenset(["ه", "ها", "هم", "هن", "هما", "نا", "ي", "ني", "كم", "كما"])


@dataclass(frozen=True)
class Sentence:
    """Words and their IOB2 tags.

    Attributes:
        words, tags: as many of the one as of the other; a tag is `O`, `B-LABEL` or `I-LABEL`.
        clitics: letters at the start of each word that are split off in the file; all 0 where none are.
    """

    words: tuple[str, ...]
    tags: tuple[str, ...]
    clitics: tuple[int, ...]


def read_conll(path: str | Path) -> list[Sentence]:
    """Read a word-level corpus: the first column is the word, the second its tag; further columns are passed over.

    Raises:
        CorpusError: it is not there, not UTF-8, has a line without a tag or with one that is not IOB2, or no sentence.
            All faulty lines are listed at once.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        raise CorpusError([Problem("not found", "no such file", path)]) from None
    except UnicodeDecodeError as error:
        raise CorpusError([Problem("not UTF-8", f"at byte {error.start}; save it as UTF-8", path)]) from None
    sentences: list[Sentence] = []
    problems: list[Problem] = []
    words: list[str] = []
    tags: list[str] = []
    for number, line in enumerate([*lines, ""], 1):
        fields = _GAP.split(line.strip(" \t\r\ufeff"))
        if fields == [""]:
            if words:
                sentences.append(Sentence(tuple(words), tuple(tags), (0,) * len(words)))
            words, tags = [], []
        elif len(fields) < 2:
            problems.append(Problem("no tag", f"{line!r} has one column; write `word tag`", path, number))
        elif not _TAG.fullmatch(fields[1]):
            problems.append(Problem("not IOB2", f"tag {fields[1]!r}; write O, B-LABEL or I-LABEL", path, number))
        else:
            words.append(fields[0])
            tags.append(fields[1])
    if problems:
        raise CorpusError(problems)
    if not sentences:
        raise CorpusError([Problem("empty corpus", "no sentence in it", path)])
    return sentences


def tag_spans(tags: Sequence[str]) -> list[tuple[int, int, str]]:
    """(first word, last-plus-one word, label) of each entity; an I that continues nothing begins one, as in conlleval.

    >>> tag_spans(["B-LOC", "I-LOC", "O", "I-PER"])
    [(0, 2, 'LOC'), (3, 4, 'PER')]
    """
    spans: list[tuple[int, int, str]] = []
    for i, tag in enumerate(tags):
        if tag == "O":
            continue
        label = tag[2:]
        if tag[0] == "I" and spans and spans[-1][1:] == (i, label):
            spans[-1] = (spans[-1][0], i + 1, label)
        else:
            spans.append((i, i + 1, label))
    return spans


def glue_clitics(sentence: Sentence) -> Sentence:
    """Proclitics and enclitics that a corpus writes as words of their own, put back onto their hosts.

    A single و ف ب ل ك س is put before the next Arabic word, unless an entity begins with it; an entity that follows
    starts after it (`Sentence.clitics`). A pronoun is put behind the word before, unless an entity ends there. Arabic
    spelling is kept to: ل + الصين is للصين, حياة + ها is حياتها. A word that is tagged as beginning an entity with
    لل has its first letter taken for such a proclitic, which these corpora leave on.

    >>> glue_clitics(Sentence(("و", "ل", "الصين", "حق", "ها"), ("O", "O", "B-LOC", "O", "O"), (0,) * 5))
    Sentence(words=('وللصين', 'حقها'), tags=('B-LOC', 'O'), clitics=(2, 0))
    """
    words: list[str] = []
    tags: list[str] = []
    clitics: list[int] = []
    waiting = ""  # proclitics to be put before the next word
    waiting_tag = "O"
    for i, (word, tag) in enumerate(zip(sentence.words, sentence.tags, strict=True)):
        follower = sentence.words[i + 1] if i + 1 < len(sentence.words) else ""
        inside = i + 1 < len(sentence.tags) and sentence.tags[i + 1][0] == "I"
        follows = bool(_ARABIC_WORD.match(follower)) or (follower in _PROCLITICS and len(waiting) < 2 and not inside)
        if word in _PROCLITICS and tag[0] != "B" and (tag[0] == "I") == inside and follows:
            waiting, waiting_tag = waiting + word, tag if not waiting else waiting_tag
            continue
        hosted = bool(words) and not waiting and bool(_ARABIC_WORD.match(words[-1]))
        if word in _ENCLITICS and hosted and (tag[0] == "I" or tag == tags[-1] == "O"):
            host = words[-1]
            words[-1] = (host[:-1] + "ت" if host.endswith("ة") else host) + word
            continue
        letters = len(waiting) if tag[0] == "B" else 0
        if waiting.endswith("ل") and word.startswith("ال"):
            word = word[1:]
        elif tag[0] == "B" and not waiting and word.startswith("لل") and len(word) > 3:
            letters = 1
        words.append(waiting + word)
        tags.append(waiting_tag if waiting_tag != "O" else tag)
        clitics.append(letters)
        waiting, waiting_tag = "", "O"
    if waiting:
        words.append(waiting)
        tags.append(waiting_tag)
        clitics.append(0)
    return Sentence(tuple(words), tuple(tags), tuple(clitics))


def to_document(sentences: Iterable[Sentence]) -> Document:
    """Sentences as a raw text, a line each, words parted by spaces; entities start after their proclitics."""
    lines: list[str] = []
    entities: list[Entity] = []
    at = 0
    for sentence in sentences:
        line = " ".join(sentence.words)
        starts = [at]
        for word in sentence.words:
            starts.append(starts[-1] + len(word) + 1)
        for first, last, label in tag_spans(sentence.tags):
            start, end = starts[first] + sentence.clitics[first], starts[last] - 1
            entities.append(Entity(f"T{len(entities) + 1}", label, start, end, line[start - at : end - at]))
        lines.append(line)
        at += len(line) + 1
    return Document("\n".join(lines), tuple(entities))


def to_corpus(sentences: Sequence[Sentence], labels: Sequence[str] | None = None) -> Corpus:
    """A corpus without relations, of the documents of `in_documents`.

    Args:
        sentences: in the order of the file, so that neighbours are each other's context.
        labels: of the schema; where None, those that occur, sorted.
    """
    if labels is None:
        labels = labels_of(sentences)
    schema = Schema.parse("[entities]\n" + "".join(f"{label}\n" for label in labels))
    return Corpus(schema, {f"{n:05d}": to_document(part) for n, part in enumerate(in_documents(sentences))})


def labels_of(sentences: Iterable[Sentence]) -> list[str]:
    """The labels that occur, sorted."""
    return sorted({tag[2:] for sentence in sentences for tag in sentence.tags if tag != "O"})


def in_documents(sentences: Sequence[Sentence]) -> list[Sequence[Sentence]]:
    """Runs of `SENTENCES_IN_DOCUMENT` sentences: these files do not say where their documents begin."""
    return [sentences[i : i + SENTENCES_IN_DOCUMENT] for i in range(0, len(sentences), SENTENCES_IN_DOCUMENT)]
