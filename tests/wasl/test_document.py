"""Documents and the forms they are written in."""

from __future__ import annotations

import json

import pytest

from wasl.document import Document, Entity, Relation
from wasl.errors import TextError

HEAD, TAIL = Entity("T1", "ORG", 1, 6, "هواوي", 0.9), Entity("T2", "LOC", 10, 15, "الصين", 0.8)
DOCUMENT = Document("وهواوي في الصين", (HEAD, TAIL), (Relation("R1", "based_in", HEAD, TAIL, 0.7),))


def test_dictionary_as_the_contract_says() -> None:
    assert DOCUMENT.to_dict() == {
        "text": "وهواوي في الصين",
        "entities": [
            {"id": "T1", "label": "ORG", "start": 1, "end": 6, "text": "هواوي", "score": 0.9},
            {"id": "T2", "label": "LOC", "start": 10, "end": 15, "text": "الصين", "score": 0.8},
        ],
        "relations": [{"id": "R1", "label": "based_in", "head": "T1", "tail": "T2", "score": 0.7}],
    }


def test_json_keeps_arabic_letters_and_round_trips() -> None:
    line = DOCUMENT.to_json()
    assert "هواوي" in line
    assert "\n" not in line
    assert Document.from_dict(json.loads(line)) == DOCUMENT


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text": "نص آخر"}, r"entity T1: the text at 1-6 is .*not 'هواوي'"),
        ({"relations": [{"id": "R1", "label": "x", "head": "T1", "tail": "T9"}]}, "'T9'"),
        ({"entities": [{"id": "T1"}]}, "'label'"),
    ],
)
def test_what_is_no_document_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(TextError, match=message):
        Document.from_dict({**DOCUMENT.to_dict(), **change})


def test_brat() -> None:
    assert DOCUMENT.to_brat() == "T1\tORG 1 6\tهواوي\nT2\tLOC 10 15\tالصين\nR1\tbased_in Arg1:T1 Arg2:T2\n"


def test_slice_keeps_what_is_inside() -> None:
    part = DOCUMENT.slice(7, 15)
    assert part.text == "في الصين"
    assert [(e.start, e.end, e.text) for e in part.entities] == [(3, 8, "الصين")]
    assert part.relations == ()
    assert DOCUMENT.slice(0, 15).relations == DOCUMENT.relations


def test_html_escapes_and_marks() -> None:
    entity = Entity("T1", "<b>", 0, 8, "<script>", 1.0)
    page = Document("<script> & نص", (entity,), (Relation("R1", "<i>", entity, entity),)).to_html()
    assert "<script>" not in page
    assert "<i>" not in page
    assert "&lt;script&gt;<small>&lt;b&gt;</small></mark> &amp; نص" in page
    assert "dir='auto'" in page


def test_html_nests_marks() -> None:
    outer, inner = Entity("T1", "ORG", 0, 10, "بنك الصين!"), Entity("T2", "LOC", 4, 9, "الصين")
    page = Document("بنك الصين!", (outer, inner)).to_html()
    body = page.split("<body>")[1]
    assert body.count("<mark") == body.count("</mark>") == 2
    assert "الصين<small>LOC</small></mark>!<small>ORG</small></mark>" in body
