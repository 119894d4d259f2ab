"""Annotations of articles that are not in this repository: pack them without their text, and bring the two together.

    python scripts/referenced.py pack CORPUS --texts ant-news.jsonl.xz --output ant-annotations.jsonl
    python scripts/referenced.py unpack ant-annotations.jsonl --texts ant-news.jsonl.xz --schema annotation.conf \
        --output CORPUS

A packed file has a line for each article: its `id` in the raw file, a hash of its title and text, its entities as label
and offsets, and its relations as label and the numbers of two entities. `unpack` makes a corpus like any other of it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import wasl
from wasl.corpus import SCHEMA_FILE, Corpus, write_document
from wasl.document import Document, Entity, Relation
from wasl.errors import CorpusError, Problem
from wasl.schema import Schema
from wasl_training.raw import read_articles


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    pack_ = commands.add_parser("pack")
    pack_.add_argument("corpus", type=Path)
    unpack = commands.add_parser("unpack")
    unpack.add_argument("file", type=Path)
    unpack.add_argument("--schema", type=Path, required=True)
    for command in (pack_, unpack):
        command.add_argument("--texts", type=Path, nargs="+", required=True, help="raw articles, as JSON lines")
        command.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    if options.command == "pack":
        rows = pack(wasl.read_corpus(options.corpus), options.texts)
        lines = [json.dumps(row, separators=(",", ":")) for row in rows]
        options.output.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        print(f"{len(lines)} articles")
        return
    corpus = read_referenced(options.file, options.texts, options.schema.read_text(encoding="utf-8"))
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / SCHEMA_FILE).write_text(corpus.schema.source, encoding="utf-8")
    for id_, document in corpus.documents.items():
        write_document(document, options.output, id_)
    print(f"{len(corpus.documents)} articles")


def pack(corpus: Corpus, texts: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """A line for each document, found among raw articles by its whole text.

    Raises:
        CorpusError: no raw article has a document's text.
    """
    wanted = {document.text: id_ for id_, document in corpus.documents.items()}
    ids = {wanted[a.text]: a.id for a in read_articles(texts) if a.text in wanted}
    missing = [id_ for id_ in corpus.documents if id_ not in ids]
    if missing:
        message = f"no article of {', '.join(map(str, texts))} has this text; the text must be title, line break, text"
        raise CorpusError([Problem("unknown text", message, Path(f"{id_}.txt")) for id_ in missing])
    for id_, document in sorted(corpus.documents.items(), key=lambda item: ids[item[0]]):
        number = {e.id: n for n, e in enumerate(document.entities)}
        yield {
            "id": ids[id_],
            "sha256": _hash(document.text),
            "entities": [[e.label, e.start, e.end] for e in document.entities],
            "relations": [[r.label, number[r.head.id], number[r.tail.id]] for r in document.relations],
        }


def read_referenced(file: Path, texts: Sequence[Path], schema: str) -> Corpus:
    """The packed annotations of a file on the texts they are of, as a corpus.

    Args:
        file: written by `pack`.
        texts: raw articles, as JSON lines.
        schema: text of an `annotation.conf`.

    Raises:
        CorpusError: an article is missing, or its text is another.
    """
    packed = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    rows = {row["id"]: (number, row) for number, row in enumerate(packed, 1)}
    documents: dict[str, Document] = {}
    problems: list[Problem] = []
    for article in read_articles(texts):
        if article.id not in rows or article.id in documents:
            continue
        number, row = rows[article.id]
        if _hash(article.text) != row["sha256"]:
            message = f"article {article.id} has another text than was annotated; use the same version of the corpus"
            problems.append(Problem("another text", message, file, number))
        documents[article.id] = _document(article.text, row)
    for id_, (number, _) in rows.items():
        if id_ not in documents:
            message = f"article {id_} is not among {', '.join(map(str, texts))}"
            problems.append(Problem("missing text", message, file, number))
    if problems:
        raise CorpusError(problems)
    return Corpus(Schema.parse(schema), {id_: documents[id_] for id_ in rows})


def _document(text: str, row: dict[str, Any]) -> Document:
    entities = [
        Entity(f"T{n}", label, start, end, text[start:end]) for n, (label, start, end) in enumerate(row["entities"], 1)
    ]
    relations = [
        Relation(f"R{n}", label, entities[head], entities[tail])
        for n, (label, head, tail) in enumerate(row["relations"], 1)
    ]
    return Document(text, tuple(entities), tuple(relations))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


if __name__ == "__main__":
    main()
