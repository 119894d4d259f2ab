"""Annotations found in words, and those that words cannot express."""

from __future__ import annotations

import pytest

from wasl.alignment import align
from wasl.document import Document, Entity, Relation
from wasl.encoding import find_word_table
from wasl.schema import Schema

FLAT = Schema.parse("[entities]\nORG\nLOC\n[relations]\nin\tArg1:ORG, Arg2:LOC\n")
NESTED = Schema.parse(FLAT.source + "<OVERLAP>\tArg1:ORG, Arg2:<ENTITY>, <OVL-TYPE>:contain\n")


def document(text: str, *mentions: tuple[str, str], links: tuple[tuple[int, int], ...] = ()) -> Document:
    """Mentions as (label, text), found in order."""
    entities = []
    for label, surface in mentions:
        at = text.index(surface)
        entities.append(Entity(f"T{len(entities) + 1}", label, at, at + len(surface), surface))
    relations = tuple(Relation(f"R{i}", "in", entities[h], entities[t]) for i, (h, t) in enumerate(links, 1))
    return Document(text, tuple(entities), relations)


def test_words_and_proclitic_letters() -> None:
    doc = document("قالت وبايت دانس للصين", ("ORG", "بايت دانس"), ("LOC", "لصين"), links=((0, 1),))
    aligned = align(doc, find_word_table(doc.text), FLAT)
    assert aligned.spans.tolist() == [[1, 3], [3, 4]]
    assert aligned.skips.tolist() == [1, 1]
    assert aligned.labels.tolist() == [0, 1]
    assert aligned.relations == ((0, 1, 0),)
    assert aligned.problems == ()


def test_every_article_can_be_expressed(articles) -> None:  # type: ignore[no-untyped-def]
    for doc in articles.documents.values():
        aligned = align(doc, find_word_table(doc.text), articles.schema)
        assert aligned.problems == ()
        assert len(aligned.entities) == len(doc.entities)
        assert len(aligned.relations) == len(doc.relations)


@pytest.mark.parametrize(
    ("doc", "cause"),
    [
        (document("الصين وهواوي", ("LOC", "الصي")), "ends inside a word"),
        (document("الصين", ("LOC", "صين")), "starts inside a word"),
        (document("هواوي. الصين", ("ORG", "هواوي. الصين")), "crosses sentences"),
    ],
)
def test_what_words_cannot_express_is_named(doc: Document, cause: str) -> None:
    aligned = align(doc, find_word_table(doc.text), FLAT)
    assert [p.cause for p in aligned.problems] == [cause]
    assert aligned.problems[0].offset == doc.entities[0].start
    assert aligned.entities == ()


def test_relations_across_sentences_and_of_unusable_entities() -> None:
    doc = document("هواوي هنا. الصين هناك", ("ORG", "هواوي"), ("LOC", "الصين"), links=((0, 1),))
    assert [p.cause for p in align(doc, find_word_table(doc.text), FLAT).problems] == ["crosses sentences"]
    doc = document("هواوي في الصين", ("ORG", "هواو"), ("LOC", "الصين"), links=((0, 1),))
    assert [p.cause for p in align(doc, find_word_table(doc.text), FLAT).problems] == [
        "ends inside a word", "argument not usable",
    ]  # fmt: skip


def test_relations_over_a_very_long_gap() -> None:
    doc = document("هواوي " + "كلمة " * 101 + "الصين", ("ORG", "هواوي"), ("LOC", "الصين"), links=((0, 1),))
    aligned = align(doc, find_word_table(doc.text), FLAT)
    assert [p.cause for p in aligned.problems] == ["too far apart"]
    assert aligned.relations == ()


def test_entities_in_any_order() -> None:
    doc = document("هواوي في الصين", ("LOC", "الصين"), ("ORG", "هواوي"), links=((1, 0),))
    aligned = align(doc, find_word_table(doc.text), FLAT)
    assert aligned.spans.tolist() == [[0, 1], [2, 3]]
    assert aligned.relations == ((0, 1, 0),)


def test_layers_of_nested_entities() -> None:
    text = "بنك شركة الصين"
    doc = document(text, ("ORG", text), ("ORG", "شركة الصين"), ("LOC", "الصين"))
    aligned = align(doc, find_word_table(text), NESTED)
    assert [NESTED.tag_layers[k] for k in aligned.layers] == [("ORG",), ("ORG",), ("LOC",)]
    assert len(set(aligned.layers.tolist())) == 3
    deeper = document(text + " الكبيرة", ("ORG", text + " الكبيرة"), ("ORG", text), ("ORG", "شركة الصين"))
    assert [p.cause for p in align(deeper, find_word_table(deeper.text), NESTED).problems] == ["nested too deep"]
