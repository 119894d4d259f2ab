"""Texts to predict on, from files, folders and standard input, each with its place so that a bad one can be named."""

from __future__ import annotations

import csv
import json
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wasl.errors import ArgumentError, TextError
from wasl.text import check_text

if TYPE_CHECKING:
    import pyarrow.parquet

STANDARD_INPUT = "standard input"
SUFFIXES = (".txt", ".jsonl", ".csv", ".parquet")  # what is read of a folder
PARQUET_BATCH = 256  # rows; texts may be long
_BOM = b"\xef\xbb\xbf"
_PARQUET_ERRORS = (OSError, ValueError, NotImplementedError, KeyError)  # pyarrow's own are of these


@dataclass(frozen=True)
class Input:
    """One text.

    Attributes:
        source: `FILE`; in a file of many texts `FILE:LINE` (JSONL) or `FILE:ROW` (Parquet from 1; CSV, whose header is
            row 1).
        text: the raw text.
        id: the record's own `id`, any JSON value, where it has one.
        size: about how many bytes of the file it takes up.
    """

    source: str
    text: str
    id: Any = None
    size: int = 0


@dataclass(frozen=True)
class Unreadable:
    """A place where a text was expected and none could be read.

    Attributes:
        source: as of `Input`.
        why: what is wrong, and how to mend it.
        size: about how many bytes of the file it takes up.
    """

    source: str
    why: str
    size: int = 0


Record = Input | Unreadable


def find_files(paths: Iterable[Path], leave_out: Path | None = None) -> Iterator[Path]:
    """The files to read, lazily: a file is itself; of a folder all `SUFFIXES` inside, at any depth, sorted by name.

    Hidden files and folders are passed over; so are links to folders, which may lead round in a circle.

    Args:
        paths: files and folders. What is not there is returned too, for the reader to report.
        leave_out: a file or folder inside the folders that is not read, such as the one that is being written.
    """
    hidden = leave_out.resolve() if leave_out is not None else None
    for path in paths:
        if path.is_dir():
            yield from _walk(path, hidden)
        else:
            yield path


def _walk(folder: Path, leave_out: Path | None) -> Iterator[Path]:
    try:
        with os.scandir(folder) as entries:
            found = sorted((e.name, e.is_dir(follow_symlinks=False), e.is_file()) for e in entries if e.name[0] != ".")
    except OSError:
        yield folder  # for the reader to report
        return
    for name, is_folder, is_file in found:
        path = folder / name
        wanted = is_folder or (is_file and path.suffix.lower() in SUFFIXES)
        if not wanted or (leave_out is not None and path.resolve() == leave_out):
            continue
        if is_folder:
            yield from _walk(path, leave_out)
        else:
            yield path


def check_files(files: Iterable[Path], text_field: str = "text") -> int:
    """Read the headers of all CSV and Parquet files, so that a wrong `--text-field` is known at once, not after hours.

    Args:
        files: what `find_files` gave.
        text_field: the column the texts are in.

    Returns:
        The bytes of all files together.

    Raises:
        ArgumentError: a file has no such column, or it is Parquet and pyarrow is not installed.
    """
    total = 0
    for path in files:
        suffix = path.suffix.lower()
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                continue  # a pipe would be used up by a look at its header
            total += status.st_size
            if suffix == ".csv":
                with path.open("rb") as stream:
                    names = _csv_header(csv.reader(_decoded(stream), strict=True))
            elif suffix == ".parquet":
                with _open_parquet(path) as file:
                    names = file.schema_arrow.names
            else:
                continue
        except (*_PARQUET_ERRORS, csv.Error) as error:
            if isinstance(error, ArgumentError):
                raise
            continue  # reported when its turn comes
        if names and text_field not in names:
            raise _missing_column(path, text_field, names)
    return total


def read_inputs(
    paths: Iterable[Path],
    stdin: Iterable[bytes] = (),
    *,
    whole: bool = False,
    text_field: str = "text",
    leave_out: Path | None = None,
) -> Iterator[Record]:
    """Texts in order, lazily; what cannot be read is in its place as `Unreadable`.

    A file is one text; a `.jsonl` file holds one a line, as `{"text": ...}`, `.csv` and `.parquet` one a row. A folder
    is all of these inside. Without paths, each line of standard input is a text (or such an object); with `whole`, all
    of it is one.

    Args:
        paths: what to read; none for standard input.
        stdin: its lines.
        whole: read standard input as one text.
        text_field: the field or column the text is in.
        leave_out: see `find_files`.

    Raises:
        ArgumentError: a CSV or Parquet file has no such column, or it is Parquet and pyarrow is not installed.
    """
    paths = list(paths)
    if not paths and whole:
        data = b"".join(stdin)
        yield _read_text(STANDARD_INPUT, data)
    elif not paths:
        yield from _read_lines(STANDARD_INPUT, stdin, text_field, json_only=False)
    for path in paths:
        count = 0
        for file in find_files([path], leave_out):
            count += 1
            yield from _read_file(file, text_field)
        if not count:
            yield Unreadable(_name(path), f"no {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} file in this folder")


def _read_file(path: Path, text_field: str) -> Iterator[Record]:
    name, suffix = _name(path), path.suffix.lower()
    try:
        if suffix == ".jsonl":
            with path.open("rb") as stream:
                yield from _read_lines(name, stream, text_field, json_only=True)
        elif suffix == ".csv":
            with path.open("rb") as stream:
                yield from _read_csv(path, stream, text_field)
        elif suffix == ".parquet":
            yield from _read_parquet(path, text_field)
        else:
            yield _read_text(name, path.read_bytes())
    except FileNotFoundError:
        yield Unreadable(name, "no such file")
    except OSError as error:
        yield Unreadable(name, f"cannot be read: {error.strerror or error}")


def _name(path: Path) -> str:
    """The path as text that can be written: bytes of it that are not UTF-8 as escapes."""
    return str(path).encode("utf-8", "backslashreplace").decode("utf-8")


def _read_text(source: str, data: bytes) -> Record:
    try:
        return Input(source, data.decode("utf-8"), size=len(data))
    except UnicodeDecodeError as error:
        return Unreadable(source, _not_utf8(data, error), len(data))


def _not_utf8(data: bytes, error: UnicodeDecodeError) -> str:
    return f"not UTF-8: byte 0x{data[error.start]:02X} at byte {error.start}; save it as UTF-8"


def _read_lines(name: str, stream: Iterable[bytes], text_field: str, json_only: bool) -> Iterator[Record]:
    for number, line in enumerate(stream, 1):
        data = line.removeprefix(_BOM) if number == 1 else line
        if not data.strip():
            continue
        data, source = data.rstrip(b"\r\n"), f"{name}:{number}"
        if not json_only and not data.lstrip().startswith(b"{"):
            record = _read_text(source, data)
        else:
            try:
                text, id_ = _from_json(data.decode("utf-8"), text_field)
                record = Input(source, text, id_, len(line))
            except UnicodeDecodeError as error:
                record = Unreadable(source, _not_utf8(data, error), len(line))
            except TextError as error:
                record = Unreadable(source, str(error), len(line))
        yield record


def _from_json(line: str, text_field: str) -> tuple[str, Any]:
    """The text and the id of a JSON object."""
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise TextError(f"not JSON: {error.msg} at column {error.colno}") from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets nested without end
        raise TextError(f"JSON that cannot be read: {error}") from None
    if not isinstance(record, dict) or not isinstance(record.get(text_field), str):
        raise TextError(
            f'no "{text_field}" in it; expected {{"{text_field}": "..."}}, or name another with --text-field'
        )
    id_ = record.get("id")
    try:
        json.dumps(id_, ensure_ascii=False).encode("utf-8")
    except (UnicodeEncodeError, RecursionError):
        raise TextError('"id" cannot be written again: it holds half a character, or nests without end') from None
    return check_text(record[text_field]), id_


def _decoded(stream: Iterable[bytes]) -> Iterator[str]:
    """Lines as text; bytes that are not UTF-8 become lone surrogates, so that only the row that holds them is bad."""
    for number, line in enumerate(stream):
        yield (line if number else line.removeprefix(_BOM)).decode("utf-8", "surrogateescape")


def _csv_header(rows: Iterator[list[str]]) -> list[str]:
    csv.field_size_limit(2**31 - 1)  # the default, 131072, is less than a long article
    return [name.strip() for name in next(rows, [])]


def _missing_column(path: Path, text_field: str, names: list[str]) -> ArgumentError:
    return ArgumentError(
        f'{_name(path)}: no column "{text_field}" in it; its columns are {", ".join(names)}: '
        "name the one that holds the texts with --text-field"
    )


def _read_csv(path: Path, stream: Iterable[bytes], text_field: str) -> Iterator[Record]:
    name = _name(path)
    # Strict: a quote out of place is reported, else all that follows it could be swallowed as one text.
    rows = csv.reader(_decoded(stream), strict=True)
    try:
        header = _csv_header(rows)
    except csv.Error as error:
        yield Unreadable(f"{name}:1", f"the header cannot be read: {error}")
        return
    if not header:
        yield Unreadable(name, f'empty: expected a header with a column "{text_field}"')
        return
    if text_field not in header:
        raise _missing_column(path, text_field, header)
    number = 1
    while True:
        number += 1
        source = f"{name}:{number}"
        try:
            row = next(rows, None)
        except csv.Error as error:
            yield Unreadable(source, f"not CSV: {error}; quote a text with double quotes, and double those inside it")
            continue
        if row is None:
            return
        if row:
            yield _from_row(source, row, header, text_field)


def _from_row(source: str, row: list[str], header: list[str], text_field: str) -> Record:
    size = sum(len(value.encode("utf-8", "surrogateescape")) + 1 for value in row)
    if len(row) != len(header):
        why = f"{len(row)} fields where the header has {len(header)}; quote a text that holds commas or line breaks"
        return Unreadable(source, why, size)
    fields = dict(zip(header, row, strict=True))
    text, id_ = fields[text_field], fields.get("id")
    for value in (text, id_ or ""):
        data = value.encode("utf-8", "surrogateescape")
        try:
            data.decode("utf-8")
        except UnicodeDecodeError as error:
            return Unreadable(source, _not_utf8(data, error), size)
    return Input(source, text, id_, size)


def _open_parquet(path: Path) -> pyarrow.parquet.ParquetFile:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise ArgumentError(f"{_name(path)}: Parquet needs pyarrow: pip install 'wasl[archive]'") from error
    # Pages are read as they are needed: a row group may be larger than the memory.
    return pyarrow.parquet.ParquetFile(path, pre_buffer=False, buffer_size=2**20)


def _read_parquet(path: Path, text_field: str) -> Iterator[Record]:
    name, row = _name(path), 0
    try:
        with _open_parquet(path) as file:
            names = file.schema_arrow.names
            if text_field not in names:
                raise _missing_column(path, text_field, names)
            size = path.stat().st_size // max(1, file.metadata.num_rows)
            columns = list(dict.fromkeys([text_field, *(["id"] if "id" in names else [])]))
            for batch in file.iter_batches(batch_size=PARQUET_BATCH, columns=columns):
                texts, ids = batch.column(text_field), batch.column("id") if "id" in names else None
                for i in range(batch.num_rows):
                    row += 1
                    yield _from_cells(f"{name}:{row}", texts[i], None if ids is None else ids[i], size)
    except ArgumentError:
        raise
    except _PARQUET_ERRORS as error:
        if isinstance(error, FileNotFoundError):
            raise
        place, rest = (f"{name}:{row + 1}", ", nor can the rows after it") if row else (name, "")
        yield Unreadable(place, f"cannot be read as Parquet{rest}: {str(error).splitlines()[0]}; copy the file again")


def _from_cells(source: str, text: Any, id_: Any, size: int) -> Record:
    try:
        value, id_ = text.as_py(), None if id_ is None else id_.as_py()
        if value is None:
            return Unreadable(source, "no text in it: null", size)
        if not isinstance(id_, str | int | float | None):
            id_ = str(id_)  # a date, a decimal number, bytes
        return Input(source, check_text(value), id_, size)
    except UnicodeDecodeError as error:
        return Unreadable(source, f"not UTF-8 at byte {error.start}; write it as UTF-8", size)
    except TextError as error:
        return Unreadable(source, str(error), size)
