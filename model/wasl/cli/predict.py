"""`wasl predict`: entities and relations of texts from files, folders or standard input."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Annotated, TextIO

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from wasl.archive import PredictSettings, WorkerKind, format_of, predict_archive, predict_lines
from wasl.document import Document
from wasl.errors import ArgumentError
from wasl.inputs import Unreadable
from wasl.outputs import Format, check_output
from wasl.parts import PartResult
from wasl.pretrained import EMBEDDED


def predict_command(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Text files; .jsonl, .csv or .parquet files with a text a line or row; folders of these; "
            "else standard input."
        ),
    ] = None,
    model: Annotated[str, typer.Option(help="A model folder, a hub id, or `embedded`.")] = EMBEDDED,
    output: Annotated[
        Path | None, typer.Option(help="File to write (jsonl, parquet), or folder (brat, html); else standard output.")
    ] = None,
    format_: Annotated[
        Format | None, typer.Option("--format", help="What to write: jsonl, or what the end of --output says.")
    ] = None,
    text_field: Annotated[str, typer.Option(help="The JSONL field or column that holds the text.")] = "text",
    whole: Annotated[bool, typer.Option("--whole", help="Read standard input as one text, not as one a line.")] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Texts that are read ahead.")] = 32,
    workers: Annotated[int, typer.Option(min=1, help="Processes (or Ray actors) that share the work.")] = 1,
    engine: Annotated[
        WorkerKind, typer.Option(help="Where the workers are: on this machine, or on a Ray cluster.")
    ] = WorkerKind.processes,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where a killed run with the same --output stopped.")
    ] = False,
) -> None:
    """Find entities and relations in texts. A text that cannot be read is reported and passed over; the exit status is
    1 where there was one.
    """
    settings = PredictSettings(model, format_, text_field, whole, batch_size, workers, engine)
    if resume and output is None:
        raise ArgumentError("--resume goes with --output: what was finished is kept beside it")
    paths, stdout = files or [], sys.stdout
    with redirect_stdout(sys.stderr):  # Ray prints there too, but only predictions belong there
        if output is None:
            bad = _print_results(paths, settings, stdout)
        else:
            with _progress() as bar:
                bad = predict_archive(
                    paths, output, settings, stdin=sys.stdin.buffer, resume=resume, began=bar.begin, report=_report,
                    progress=bar.advance,
                ).bad  # fmt: skip
    if bad:
        print(f"wasl: {bad} text{'s' if bad > 1 else ''} could not be read", file=sys.stderr)
        raise typer.Exit(1)


def _report(bad: Unreadable) -> None:
    print(f"wasl: {bad.source}: {bad.why}", file=sys.stderr)


def _print_results(paths: list[Path], settings: PredictSettings, stdout: TextIO) -> int:
    """Write to standard output as results come; returns how many records were bad."""
    format_, bad = format_of(settings, None), 0
    check_output(format_, None)

    def lines() -> Iterator[str]:
        nonlocal bad
        for result in predict_lines(paths, settings, stdin=sys.stdin.buffer):
            bad += len(result.bad)
            for record in result.bad:
                _report(record)
            yield from result.lines

    if format_ is Format.jsonl:
        stdout.reconfigure(encoding="utf-8")  # type: ignore[attr-defined]
        for line in lines():
            stdout.write(line + "\n")
            stdout.flush()
        return bad
    found = list(itertools.islice(lines(), 2))
    if len(found) > 1:
        raise ArgumentError(f"several texts as {format_.value} need a folder to be written to: add --output FOLDER")
    for line in found:
        document = Document.from_dict(json.loads(line))
        stdout.write(document.to_brat() if format_ is Format.brat else document.to_html())
    return bad


@contextmanager
def _progress() -> Iterator[_Bar]:
    """A bar with rate and time left, where standard error is a terminal."""
    columns = (BarColumn(), TextColumn("{task.fields[texts]:,} texts"), TextColumn("{task.fields[rate]}"),
               TimeRemainingColumn(), TextColumn("left"))  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        yield _Bar(bar, bar.add_task("", total=None, texts=0, rate=""))


class _Bar:
    """Moves on with each finished part, by the bytes it took up of the inputs."""

    def __init__(self, bar: Progress, task: TaskID) -> None:
        self.bar, self.task, self.texts = bar, task, 0

    def begin(self, size: int) -> None:
        """So many bytes there are; how many standard input has is not known."""
        self.bar.update(self.task, total=size or None)

    def advance(self, result: PartResult) -> None:
        """A part is finished."""
        task = self.bar.tasks[0]
        if result.resumed:  # no work of this run: it shows neither in the rate nor in the time left
            if task.total is not None:
                self.bar.update(self.task, total=max(0, task.total - result.size))
            return
        self.texts += len(result.lines) + len(result.bad)
        rate = f"{self.texts / max(task.elapsed or 0, 1e-9):,.1f} texts/s"
        self.bar.update(self.task, advance=result.size, texts=self.texts, rate=rate)
