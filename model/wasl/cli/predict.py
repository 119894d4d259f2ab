"""`wasl predict`: entities and relations of texts from files or standard input."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TextIO

import typer

from wasl.corpus import write_document
from wasl.document import Document
from wasl.errors import ArgumentError
from wasl.extractor import Extractor
from wasl.inputs import Input, read_inputs
from wasl.pretrained import EMBEDDED


class Format(StrEnum):
    """What `wasl predict` writes."""

    jsonl = "jsonl"
    brat = "brat"
    html = "html"


def predict_command(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Text files, or .jsonl files with a text a line; else standard input.")
    ] = None,
    model: Annotated[str, typer.Option(help="A model folder, a hub id, or `embedded`.")] = EMBEDDED,
    output: Annotated[
        Path | None, typer.Option(help="File to write (jsonl), or folder (brat, html); else standard output.")
    ] = None,
    format_: Annotated[Format, typer.Option("--format", help="What to write.")] = Format.jsonl,
    whole: Annotated[bool, typer.Option("--whole", help="Read standard input as one text, not as one a line.")] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Texts that are read ahead.")] = 32,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where a killed run with the same --output (jsonl) stopped.")
    ] = False,
) -> None:
    """Find entities and relations in texts. A text that cannot be read is reported and passed over; the exit status is
    1 where there was one.
    """
    bad: list[str] = []

    def report(source: str, why: str) -> None:
        bad.append(source)
        print(f"wasl: {source}: {why}", file=sys.stderr)

    if resume and (format_ is not Format.jsonl or output is None):
        raise ArgumentError("--resume goes with --format jsonl and --output FILE")
    extractor = Extractor.from_pretrained(model)
    done = _finished(output) if resume and output is not None else set()
    texts = read_inputs(files or [], sys.stdin.buffer, whole=whole, bad=report)
    inputs = (text for text in texts if text.source not in done)
    documents = predict_inputs(extractor, inputs, batch_size)
    if format_ is Format.jsonl:
        _write_lines(documents, output, append=bool(done))
    elif output is None:
        _print_one(documents, format_)
    else:
        _write_folder(documents, output, format_, extractor.schema.source)
    if bad:
        print(f"wasl: {len(bad)} text{'s' if len(bad) > 1 else ''} could not be read", file=sys.stderr)
        raise typer.Exit(1)


def predict_inputs(
    extractor: Extractor, inputs: Iterator[Input], batch_size: int = 32
) -> Iterator[tuple[str, Document]]:
    """(source, document) of each input, lazily and in order."""
    first, second = itertools.tee(inputs)
    documents = extractor.predict_many((i.text for i in second), batch_size)
    for document, item in zip(documents, first, strict=False):
        yield item.source, document


def _finished(output: Path) -> set[str]:
    """Sources that a killed run wrote beside `output`; a line it left half-written is cut off."""
    beside = output.with_name(output.name + ".part")
    if not beside.is_file():
        return set()
    written = beside.read_bytes()
    whole = written[: written.rfind(b"\n") + 1]
    with beside.open("r+b") as stream:
        stream.truncate(len(whole))
    return {json.loads(line)["source"] for line in whole.splitlines()}


def _write_lines(documents: Iterator[tuple[str, Document]], output: Path | None, append: bool) -> None:
    def write(stream: TextIO) -> None:
        for source, document in documents:
            stream.write(json.dumps({"source": source, **document.to_dict()}, ensure_ascii=False) + "\n")
            stream.flush()

    if output is None:
        sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
        return write(sys.stdout)
    output.parent.mkdir(parents=True, exist_ok=True)
    beside = output.with_name(output.name + ".part")
    with beside.open("a" if append else "w", encoding="utf-8") as stream:
        write(stream)
    beside.replace(output)


def _print_one(documents: Iterator[tuple[str, Document]], format_: Format) -> None:
    found = list(itertools.islice(documents, 2))
    if len(found) > 1:
        raise ArgumentError(f"several texts as {format_.value} need a folder to be written to: add --output FOLDER")
    for _, document in found:
        sys.stdout.write(document.to_brat() if format_ is Format.brat else document.to_html())


def _write_folder(documents: Iterator[tuple[str, Document]], folder: Path, format_: Format, conf: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if format_ is Format.brat:
        (folder / "annotation.conf").write_text(conf, encoding="utf-8")
    used: set[str] = set()
    for number, (source, document) in enumerate(documents, 1):
        name = Path(source).stem if Path(source).suffix else f"{number:06d}"
        name = name if name not in used else f"{name}-{number:06d}"
        used.add(name)
        if format_ is Format.brat:
            write_document(document, folder, name)
        else:
            (folder / f"{name}.html").write_text(document.to_html(), encoding="utf-8")
