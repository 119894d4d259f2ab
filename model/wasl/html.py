"""A document as a page to look at: the text with its entities marked, the relations in a table."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wasl.document import Document

_STYLE = """
body { font-family: "Noto Naskh Arabic", "Segoe UI", Tahoma, sans-serif; line-height: 2.1; margin: 2rem auto; max-width: 50rem; }
.text { white-space: pre-wrap; }
mark { border-radius: .3em; padding: .1em .3em; }
mark small { direction: ltr; font-size: .6em; margin-inline-start: .4em; opacity: .7; unicode-bidi: isolate; }
table { border-collapse: collapse; line-height: 1.4; width: 100%; }
td, th { border-bottom: 1px solid #ddd; padding: .3em .6em; text-align: start; }
.label { direction: ltr; unicode-bidi: isolate; }
"""


def render(document: Document) -> str:
    """An HTML page of its own, no script and no outside file; everything from the document is escaped."""
    rows = "".join(
        f"<tr><td>{escape(r.head.text)}</td><td><span class='label'>{escape(r.label)}</span></td>"
        f"<td>{escape(r.tail.text)}</td><td>{r.score:.2f}</td></tr>\n"
        for r in document.relations
    )
    table = f"<table><tr><th>head</th><th>relation</th><th>tail</th><th>score</th></tr>\n{rows}</table>" if rows else ""
    return (
        f"<!doctype html>\n<html lang='ar'><head><meta charset='utf-8'><title>wasl</title><style>{_STYLE}</style></head>\n"
        f"<body><div class='text' dir='auto'>{_marked(document)}</div>\n{table}</body></html>\n"
    )


def _marked(document: Document) -> str:
    """The text with a mark around each entity; marks nest where entities do."""
    text = document.text
    opens = sorted(document.entities, key=lambda e: (e.start, -e.end))
    pieces: list[str] = []
    done = 0
    stack: list[tuple[int, str]] = []  # (end, label) of the marks that are open

    def close_until(offset: int) -> None:
        nonlocal done
        while stack and stack[-1][0] <= offset:
            end, label = stack.pop()
            pieces.append(escape(text[done:end]) + f"<small>{escape(label)}</small></mark>")
            done = end

    for entity in opens:
        close_until(entity.start)
        hue = sum(entity.label.encode()) * 47 % 360
        pieces.append(
            escape(text[done : entity.start])
            + f"<mark style='background:hsl({hue} 80% 87%)' title='{escape(entity.label)} {entity.score:.2f}'>"
        )
        done = entity.start
        stack.append((entity.end, entity.label))
    close_until(len(text))
    pieces.append(escape(text[done:]))
    return "".join(pieces)
