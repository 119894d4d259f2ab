"""Predictions as files: JSON lines, Parquet, brat, HTML. A file is written beside and renamed when it is whole."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wasl.corpus import write_document
from wasl.document import Document
from wasl.errors import ArgumentError
from wasl.inputs import Input

if TYPE_CHECKING:
    import pyarrow

# A row group of Parquet ends after so many rows or characters of text, whichever comes first: by content alone, so that
# the same records give the same bytes.
GROUP_ROWS, GROUP_CHARACTERS = 1024, 2**23


class Format(StrEnum):
    """What `wasl predict` writes."""

    jsonl = "jsonl"
    parquet = "parquet"
    brat = "brat"
    html = "html"


def to_line(record: Input, document: Document) -> str:
    """A prediction as one line of JSON: source, the record's own id where it has one, then the document."""
    given = {} if record.id is None else {"id": record.id}
    return json.dumps({"source": record.source, **given, **document.to_dict()}, ensure_ascii=False)


def check_output(format_: Format, output: Path | None) -> None:
    """Know before the work begins that its result can be written.

    Raises:
        ArgumentError: Parquet without a file to write, or without pyarrow; a folder where a file is to be written, or
            the other way round.
    """
    if format_ is Format.parquet:
        if output is None:
            raise ArgumentError("Parquet needs a file to be written to: add --output FILE")
        import_pyarrow("--format parquet")
    if output is None:
        return
    into_folder = format_ in (Format.brat, Format.html)
    if output.exists() and output.is_dir() != into_folder:
        there, wanted = ("a file", "a folder") if into_folder else ("a folder", "a file")
        raise ArgumentError(
            f"{output}: {there}, but {format_.value} is written to {wanted}; name another with --output"
        )


def import_pyarrow(purpose: str) -> Any:
    """The module `pyarrow`, with `pyarrow.parquet` loaded.

    Raises:
        ArgumentError: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ArgumentError(f"{purpose} needs pyarrow: pip install 'wasl[archive]'") from error
    return pyarrow


@contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """A file beside `path` to write, which takes its place when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".part")
    yield beside
    with beside.open("rb+") as stream:
        os.fsync(stream.fileno())  # else a power cut could leave the name with nothing in it
    beside.replace(path)


def write_output(lines: Iterable[str], output: Path, format_: Format, conf: str = "") -> None:
    """Write predictions in order.

    Args:
        lines: what `to_line` gave.
        output: a file (JSONL, Parquet), or a folder (brat, HTML); folders above it are made.
        format_: what to write.
        conf: the model's `annotation.conf`, for brat.
    """
    if format_ is Format.jsonl:
        with written_beside(output) as beside, beside.open("w", encoding="utf-8", newline="\n") as stream:
            stream.writelines(f"{line}\n" for line in lines)
    elif format_ is Format.parquet:
        with written_beside(output) as beside:
            _write_parquet(lines, beside)
    else:
        _write_folder(lines, output, format_, conf)


def _write_folder(lines: Iterable[str], folder: Path, format_: Format, conf: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if format_ is Format.brat:
        (folder / "annotation.conf").write_text(conf, encoding="utf-8")
    used: set[str] = set()
    for number, line in enumerate(lines, 1):
        record = json.loads(line)
        document, source = Document.from_dict(record), Path(record["source"])
        name = source.stem if source.suffix else f"{number:06d}"
        name = name if name not in used else f"{name}-{number:06d}"
        used.add(name)
        if format_ is Format.brat:
            write_document(document, folder, name)
        else:
            (folder / f"{name}.html").write_text(document.to_html(), encoding="utf-8")


def parquet_schema() -> pyarrow.Schema:
    """The columns of a Parquet output."""
    pa = import_pyarrow("--format parquet")
    entity = [("id", pa.string()), ("label", pa.string()), ("start", pa.int64()), ("end", pa.int64()),
              ("text", pa.string()), ("score", pa.float64())]  # fmt: skip
    relation = [("id", pa.string()), ("label", pa.string()), ("head", pa.string()), ("tail", pa.string()),
                ("score", pa.float64())]  # fmt: skip
    return pa.schema(
        [("source", pa.string()), ("id", pa.string()), ("text", pa.string()),
         ("entities", pa.list_(pa.struct(entity))), ("relations", pa.list_(pa.struct(relation)))]
    )  # fmt: skip


def _write_parquet(lines: Iterable[str], path: Path) -> None:
    pa, schema = import_pyarrow("--format parquet"), parquet_schema()
    with pa.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for rows in _groups(lines):
            writer.write_table(pa.Table.from_pylist(rows, schema), row_group_size=len(rows))


def _groups(lines: Iterable[str]) -> Iterator[list[dict[str, Any]]]:
    rows: list[dict[str, Any]] = []
    characters = 0
    for line in lines:
        row = json.loads(line)
        if not isinstance(row.get("id"), str | None):
            row["id"] = json.dumps(row["id"], ensure_ascii=False)  # one column, one type
        rows.append(row)
        characters += len(row["text"])
        if len(rows) >= GROUP_ROWS or characters >= GROUP_CHARACTERS:
            yield rows
            rows, characters = [], 0
    if rows:
        yield rows
