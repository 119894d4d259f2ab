"""wasl: named entities and the relations between them, in Arabic news, with offsets into the raw text.

>>> import wasl
>>> extractor = wasl.load("my-model")  # doctest: +SKIP
>>> document = extractor.predict("أطلقت شركة علي بابا نموذج Qwen.")  # doctest: +SKIP
>>> [(r.head.text, r.label, r.tail.text) for r in document.relations]  # doctest: +SKIP
[('علي بابا', 'develops', 'Qwen')]
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from wasl.corpus import Corpus, read_corpus
from wasl.document import Document, Entity, Relation
from wasl.errors import WaslError
from wasl.extractor import Extractor
from wasl.pretrained import EMBEDDED
from wasl.schema import Schema

__version__ = "0.1.0"
__all__ = [
    "Corpus", "Document", "Entity", "Extractor", "Relation", "Schema", "WaslError", "load", "predict", "read_corpus",
]  # fmt: skip


def load(
    name: str | Path = EMBEDDED, device: str | None = None, *, engine: str | None = None, threads: int | None = None
) -> Extractor:
    """Load an extractor from a folder, a hub id, or the package itself; see `Extractor.from_pretrained`."""
    return Extractor.from_pretrained(name, device, engine=engine, threads=threads)


def predict(text: str) -> Document:
    """The entities and relations of a text by the embedded model, which is loaded on first use."""
    return _embedded().predict(text)


@lru_cache(maxsize=1)
def _embedded() -> Extractor:
    return load()
