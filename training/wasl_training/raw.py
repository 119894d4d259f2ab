"""Raw articles, as JSON lines."""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from wasl.errors import CorpusError, Problem


@dataclass(frozen=True)
class Article:
    """A raw article.

    Attributes:
        text: title, where there is one, and text, on lines of their own.
        category: "" where it has none.
        id: "" where it has none.
    """

    text: str
    category: str = ""
    id: str = ""


def read_articles(paths: Sequence[Path], limit: int | None = None) -> Iterator[Article]:
    """Articles of JSON-lines files (`id`, `title`, `text`, `category`; `.xz` or plain), one after the other.

    Args:
        paths: the files.
        limit: most articles of each.

    Raises:
        CorpusError: a line is not JSON or has no `text`; the file and line are named.
    """
    for path in paths:
        open_ = lzma.open if path.suffix == ".xz" else open
        with open_(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if limit is not None and number > limit:
                    break
                try:
                    article = json.loads(line)
                    text = "\n".join(part for part in (article.get("title"), article["text"]) if part)
                    yield Article(text, article.get("category") or "", article.get("id") or "")
                except (ValueError, KeyError, AttributeError, TypeError) as error:
                    message = f"expected an object with a `text` ({error!r}); mend or take out the line"
                    raise CorpusError([Problem("not an article", message, path, number)]) from None
