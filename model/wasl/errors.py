"""Everything wasl raises on purpose. Each message says where the trouble is and what to do about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


class WaslError(Exception):
    """Base of all errors of this package; the command line prints its message without a traceback."""


class TextError(WaslError, ValueError):
    """A text that cannot be read, such as one with a lone surrogate."""


class SchemaError(WaslError, ValueError):
    """An `annotation.conf` that cannot be understood."""


class ModelError(WaslError):
    """A model folder or hub id that cannot be loaded."""


class ArgumentError(WaslError, ValueError):
    """An option with a value that makes no sense."""


class WorkerError(WaslError):
    """A part of an archive that its workers do not survive."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a corpus.

    Attributes:
        cause: a short fixed phrase, the same for all problems of a kind (`"unknown label"`).
        message: what is wrong and how to mend it.
        file: the file it is in.
        line: its line in that file, from 1, where one line is to blame.
        offset: the code point of the text it is about, from 0, where there is one.
    """

    cause: str
    message: str
    file: Path
    line: int | None = None
    offset: int | None = None

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line is not None else str(self.file)
        at = f" (offset {self.offset})" if self.offset is not None else ""
        return f"{place}: {self.cause}{at}: {self.message}"


def summarise(problems: Sequence[Problem]) -> str:
    """How many annotations cannot be used, by cause.

    >>> summarise([Problem("unknown label", "", Path("a.ann"))])
    '1 annotation cannot be used: unknown label 1'
    """
    causes = ", ".join(f"{cause} {count}" for cause, count in Counter(p.cause for p in problems).most_common())
    return f"{len(problems)} annotation{'s' if len(problems) != 1 else ''} cannot be used: {causes}"


class CorpusError(WaslError):
    """A corpus with problems; `problems` lists them all."""

    def __init__(self, problems: list[Problem], advice: str = "") -> None:
        self.problems = problems
        shown = [str(p) for p in problems[:20]]
        if len(problems) > len(shown):
            shown.append(f"... and {len(problems) - len(shown)} more; `wasl validate` lists all")
        if len(problems) > 1:
            shown.append(summarise(problems))
        super().__init__("\n".join(shown + ([advice] if advice else [])))
