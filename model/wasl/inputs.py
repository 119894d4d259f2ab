"""Texts to predict on, from files and standard input, each with its place so that a bad one can be named."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from wasl.errors import TextError
from wasl.text import check_text


@dataclass(frozen=True)
class Input:
    """One text.

    Attributes:
        source: `FILE`, or `FILE:LINE` in a file of many texts.
        text: the raw text.
    """

    source: str
    text: str


def read_inputs(
    files: Iterable[Path], stdin: Iterable[bytes], *, whole: bool, bad: Callable[[str, str], None]
) -> Iterator[Input]:
    """Texts in order, lazily.

    A file is one text; a `.jsonl` file holds one a line, as `{"text": ...}`. Without files, each line of standard input
    is a text (or such an object); with `whole`, all of it is one.

    Args:
        files: what to read; none for standard input.
        stdin: its lines.
        whole: read standard input as one text.
        bad: told the source of each text that cannot be read, and why; reading goes on with the next.
    """

    def guarded(source: str, data: bytes, as_json: bool) -> Iterator[Input]:
        try:
            text = data.decode("utf-8")
            yield Input(source, check_text(_from_json(text) if as_json else text))
        except UnicodeDecodeError as error:
            bad(source, f"not UTF-8: byte 0x{data[error.start]:02X} at byte {error.start}; save it as UTF-8")
        except TextError as error:
            bad(source, str(error))

    def lines(name: str, stream: Iterable[bytes], json_only: bool) -> Iterator[Input]:
        for number, line in enumerate(stream, 1):
            if line.strip():
                is_json = json_only or line.lstrip().startswith(b"{")
                yield from guarded(f"{name}:{number}", line.rstrip(b"\r\n"), is_json)

    files = list(files)
    for path in files:
        try:
            if path.suffix == ".jsonl":
                with path.open("rb") as stream:
                    yield from lines(str(path), stream, True)
            else:
                yield from guarded(str(path), path.read_bytes(), False)
        except FileNotFoundError:
            bad(str(path), "no such file")
        except OSError as error:
            bad(str(path), f"cannot be read: {error.strerror}")
    if not files and whole:
        yield from guarded("standard input", b"".join(stdin), False)
    elif not files:
        yield from lines("standard input", stdin, False)


def _from_json(line: str) -> str:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise TextError(f"not JSON: {error.msg} at column {error.colno}") from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets nested without end
        raise TextError(f"JSON that cannot be read: {error}") from None
    if not isinstance(record, dict) or not isinstance(record.get("text"), str):
        raise TextError('no "text" in it; expected {"text": "..."}')
    return str(record["text"])
