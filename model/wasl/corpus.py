"""A corpus: a folder of `ID.txt` and `ID.ann` in brat's standoff format with one `annotation.conf`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from wasl.brat import parse_annotations
from wasl.document import Document
from wasl.errors import CorpusError, Problem
from wasl.schema import Schema

SKIP_ADVICE = "Mend these, or pass --skip-invalid to go on without them."

SCHEMA_FILE = "annotation.conf"


@dataclass(frozen=True)
class Corpus:
    """Annotated documents and their schema.

    Attributes:
        schema: what may be annotated.
        documents: by id, sorted.
        problems: what could not be used.
    """

    schema: Schema
    documents: dict[str, Document]
    problems: tuple[Problem, ...] = ()

    def select(self, ids: list[str] | None = None, without: list[str] | None = None) -> Corpus:
        """The part with the documents `ids` (all where None) less those of `without`.

        Raises:
            CorpusError: an id is not in the corpus.
        """
        for id_ in [*(ids or ()), *(without or ())]:
            if id_ not in self.documents:
                raise CorpusError(
                    [Problem("unknown document", f"no {id_}.txt; there are {', '.join(self.documents)}", Path(id_))]
                )
        wanted = {k: v for k, v in self.documents.items() if (ids is None or k in ids) and k not in (without or ())}
        return Corpus(self.schema, wanted, self.problems)

    def counts(self) -> tuple[Counter[str], Counter[str]]:
        """Entities and relations by label."""
        documents = self.documents.values()
        return (
            Counter(e.label for d in documents for e in d.entities),
            Counter(r.label for d in documents for r in d.relations),
        )


def read_corpus(folder: str | Path, *, skip_invalid: bool = False) -> Corpus:
    """Read a corpus folder.

    Args:
        folder: holds `annotation.conf`, and an `ID.ann` for each `ID.txt`.
        skip_invalid: leave out what cannot be used, and list it in `Corpus.problems`, instead of raising.

    Raises:
        CorpusError: there is no document at all, or something cannot be used and `skip_invalid` is off. All problems of
            all files are listed at once.
        SchemaError: the `annotation.conf` is missing or cannot be understood.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CorpusError([Problem("not a folder", "a corpus is a folder of ID.txt and ID.ann files", folder)])
    texts = {p.stem: p for p in sorted(folder.glob("*.txt"))}
    annotations = {p.stem: p for p in sorted(folder.glob("*.ann"))}
    if not texts and not annotations:
        raise CorpusError(
            [
                Problem(
                    "empty corpus", "no .txt and no .ann file in it; a corpus has an ID.ann beside each ID.txt", folder
                )
            ]
        )
    schema = Schema.read(folder / SCHEMA_FILE)
    problems: list[Problem] = []
    documents: dict[str, Document] = {}
    for id_ in sorted(texts.keys() | annotations.keys()):
        if id_ not in texts:
            problems.append(Problem("missing text", f"there is no {id_}.txt beside it", annotations[id_]))
            continue
        if id_ not in annotations:
            problems.append(
                Problem(
                    "missing annotations", f"no {id_}.ann beside it; make an empty one if it has no names", texts[id_]
                )
            )
            continue
        text, annotation = _read(texts[id_], problems), _read(annotations[id_], problems)
        if text is not None and annotation is not None:
            document, found = parse_annotations(text, annotation, schema, annotations[id_])
            documents[id_] = document
            problems += found
    if problems and not skip_invalid:
        raise CorpusError(problems, SKIP_ADVICE)
    if not documents:
        raise CorpusError([*problems, Problem("empty corpus", "no usable document in it", folder)])
    return Corpus(schema, documents, tuple(problems))


def _read(path: Path, problems: list[Problem]) -> str | None:
    """The file's text, line ends untouched; None, with a problem noted, where it is not UTF-8."""
    data = path.read_bytes()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        problems.append(
            Problem("not UTF-8", f"byte 0x{data[error.start]:02X} at byte {error.start}; save it as UTF-8", path, line)
        )
        return None


def write_document(document: Document, folder: Path, id_: str) -> None:
    """Write `ID.txt` and `ID.ann` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{id_}.txt").write_bytes(document.text.encode("utf-8"))
    (folder / f"{id_}.ann").write_text(document.to_brat(), encoding="utf-8")
