"""An archive cut into parts: what one worker does at a time, and what a resumed run need not do again.

The cut depends on the records alone, never on who does the work, so that the same archive gives the same output
whatever the number of workers and however often it was interrupted.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wasl.errors import ArgumentError
from wasl.inputs import Input, Record, Unreadable
from wasl.outputs import to_line, written_beside

if TYPE_CHECKING:
    from wasl.extractor import Extractor

# A part ends after so many records or characters, whichever comes first: half a minute of work, a few MB of memory.
PART_RECORDS, PART_CHARACTERS = 256, 2**21
IDENTITY = "identity.json"


@dataclass(frozen=True)
class Part:
    """Some records that follow each other.

    Attributes:
        number: its place in the archive, from 0.
        records: the texts, and what stands where none could be read.
    """

    number: int
    records: tuple[Record, ...]

    @property
    def size(self) -> int:
        return sum(r.size for r in self.records)

    @property
    def place(self) -> str:
        """Where its records are, for messages."""
        first, last = self.records[0].source, self.records[-1].source
        return first if first == last else f"{first} to {last}"

    def digest(self) -> str:
        """Equal for equal records."""
        plain = [[r.source, r.text, r.id] if isinstance(r, Input) else [r.source, r.why] for r in self.records]
        return hashlib.sha256(json.dumps(plain).encode("ascii")).hexdigest()


@dataclass(frozen=True)
class PartResult:
    """What a part gave.

    Attributes:
        number: the part's.
        lines: a prediction for each text, as `outputs.to_line` writes it.
        bad: the records that could not be read.
        size: about how many bytes of the inputs it took up.
        resumed: whether an earlier run did it; then `lines` is empty, they are in the `PartFolder`.
    """

    number: int
    lines: tuple[str, ...]
    bad: tuple[Unreadable, ...]
    size: int
    resumed: bool = False


def cut(records: Iterable[Record], count: int = PART_RECORDS, characters: int = PART_CHARACTERS) -> Iterator[Part]:
    """Parts of the records, lazily and in order.

    Args:
        records: what `read_inputs` gave.
        count: records in a part, at most.
        characters: a part ends with the text that reaches so many.
    """
    number, held, length = 0, list[Record](), 0
    for record in records:
        held.append(record)
        length += len(record.text) if isinstance(record, Input) else 0
        if len(held) >= count or length >= characters:
            yield Part(number, tuple(held))
            number, held, length = number + 1, [], 0
    if held:
        yield Part(number, tuple(held))


def predict_part(extractor: Extractor, part: Part, batch_size: int) -> PartResult:
    """Predict on the texts of a part, in order."""
    inputs = [r for r in part.records if isinstance(r, Input)]
    documents = extractor.predict_many((i.text for i in inputs), batch_size)
    lines = tuple(to_line(i, d) for i, d in zip(inputs, documents, strict=True))
    return PartResult(part.number, lines, tuple(r for r in part.records if isinstance(r, Unreadable)), part.size)


@dataclass
class PartFolder:
    """Finished parts on disk, `OUTPUT.parts/NNNNNN`, until they are joined.

    Each is a line of JSON that says what it was made of and which records were bad, then a line for each prediction.

    Attributes:
        output: what the parts are joined to.
        identity: what parts must have in common to be joined: the model and every setting that shows in the output.
    """

    output: Path
    identity: dict[str, Any]
    folder: Path = field(init=False)

    def __post_init__(self) -> None:
        self.folder = self.output.with_name(self.output.name + ".parts")

    def open(self, resume: bool) -> None:
        """Make the folder, or take up what a killed run left in it.

        Args:
            resume: keep finished parts; else they are removed, and all is done again.

        Raises:
            ArgumentError: the parts were made with another model or other settings, or the folder is not wasl's.
        """
        kept = self.folder / IDENTITY
        if resume and kept.is_file():
            self._check(json.loads(kept.read_text(encoding="utf-8")))
            return
        if self.folder.exists() and not kept.is_file() and not _is_empty(self.folder):
            raise ArgumentError(f"{self.folder}: not made by wasl, but parts are kept under this name; move it away")
        self.remove()
        self.folder.mkdir(parents=True, exist_ok=True)
        with written_beside(kept) as beside:
            beside.write_text(json.dumps(self.identity, ensure_ascii=False, indent=1), encoding="utf-8")

    def _check(self, found: dict[str, Any]) -> None:
        for key in {**found, **self.identity}:
            old, new = found.get(key), self.identity.get(key)
            if old != new:
                raise ArgumentError(
                    f"{self.folder}: begun with another {key} ({_short(old)}, now {_short(new)}): resume with what it "
                    "was begun with, or leave out --resume to begin again"
                )

    def get(self, part: Part) -> PartResult | None:
        """What an earlier run found out about this part, without the predictions; None where it is still to be done.

        Raises:
            ArgumentError: it was made of other records.
        """
        try:
            with self._path(part.number).open(encoding="utf-8") as stream:
                head = json.loads(stream.readline())
            digest, bad = head["digest"], tuple(Unreadable(*b) for b in head["bad"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):  # not there, or damaged
            return None
        if digest != part.digest():
            raise ArgumentError(
                f"{self.folder}: begun with other inputs, {part.place} changed: bring back the old ones, or leave out "
                "--resume to begin again"
            )
        return PartResult(part.number, (), bad, part.size, resumed=True)

    def put(self, digest: str, result: PartResult) -> None:
        """Keep a finished part, which was made of the records of this digest."""
        head = {"digest": digest, "bad": [[b.source, b.why] for b in result.bad]}
        with (
            written_beside(self._path(result.number)) as beside,
            beside.open("w", encoding="utf-8", newline="\n") as out,
        ):
            out.write(json.dumps(head) + "\n")
            out.writelines(f"{line}\n" for line in result.lines)

    def lines(self, count: int) -> Iterator[str]:
        """The predictions of the first `count` parts, lazily and in order.

        Raises:
            ArgumentError: there are more: the inputs were longer when the earlier run began.
        """
        if any(name.isdigit() and int(name) >= count for name in os.listdir(self.folder)):
            raise ArgumentError(
                f"{self.folder}: begun with other inputs, there were more: bring back the old ones, or leave out "
                "--resume to begin again"
            )
        for number in range(count):
            with self._path(number).open(encoding="utf-8", newline="\n") as stream:
                stream.readline()
                for line in stream:
                    yield line.removesuffix("\n")

    def close(self) -> None:
        """Remove the folder where there is no finished part to resume from."""
        if self.folder.is_dir() and not any(path.name.isdigit() for path in self.folder.iterdir()):
            self.remove()

    def remove(self) -> None:
        """Remove the parts, and the folder where nothing else is in it."""
        if not self.folder.is_dir():
            return
        for path in self.folder.iterdir():
            name = path.name.removesuffix(".part")
            if name.isdigit() or name == IDENTITY:
                path.unlink()
        if not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}"


def _is_empty(folder: Path) -> bool:
    """Whether nothing is in it but what a run that was killed as it began has left."""
    return folder.is_dir() and all(path.name == f"{IDENTITY}.part" for path in folder.iterdir())


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
