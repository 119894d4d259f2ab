"""Gluing and ungluing proclitics keeps every offset true."""

from __future__ import annotations

import random

import pytest

import wasl
from wasl.alignment import align
from wasl.document import Document, Entity, Relation
from wasl.encoding import find_word_table
from wasl_training.augmentation import mentions_by_label, replace_mentions, vary_proclitics


def document(text: str, *surfaces: str) -> Document:
    entities = tuple(
        Entity(f"T{i}", "ORG", text.index(s), text.index(s) + len(s), s) for i, s in enumerate(surfaces, 1)
    )
    relations = (Relation("R1", "r", entities[0], entities[-1]),) if entities else ()
    return Document(text, entities, relations)


def varied(doc: Document, glue: float, unglue: float, seed: int = 0) -> Document:
    return vary_proclitics(doc, random.Random(seed), glue, unglue)


@pytest.mark.parametrize(
    ("text", "surface", "new_text", "new_surface"),
    [
        ("قالت وبايت دانس", "بايت دانس", "قالت بايت دانس", "بايت دانس"),
        ("في للصين اليوم", "لصين", "في الصين اليوم", "الصين"),
        ("قال لـإنفيديا", "إنفيديا", "قال إنفيديا", "إنفيديا"),
        ("مثل وMistral", "Mistral", "مثل Mistral", "Mistral"),
        ("“وعلي بابا", "علي بابا", "“وعلي بابا", "علي بابا"),  # after a quotation mark it is left alone
    ],
)
def test_ungluing(text: str, surface: str, new_text: str, new_surface: str) -> None:
    found = varied(document(text, surface), 0, 1)
    assert found.text == new_text
    assert found.entities[0].text == new_surface


def test_gluing_leaves_the_entity_what_it_was_but_for_the_alif_after_lam() -> None:
    seen = set()
    for seed in range(60):
        found = varied(document("زار الصين وفد", "الصين"), 1, 0, seed)
        seen.add((found.text, found.entities[0].text))
    assert ("زار والصين وفد", "الصين") in seen
    assert ("زار للصين وفد", "لصين") in seen
    assert ("زار بالصين وفد", "الصين") in seen
    assert not any("لالصين" in text for text, _ in seen)


def test_latin_names_may_get_a_tatweel() -> None:
    texts = {varied(document("من OpenAI هنا", "OpenAI"), 1, 0, seed).text for seed in range(80)}
    assert {"من وOpenAI هنا", "من لـOpenAI هنا"} <= texts


@pytest.mark.parametrize("seed", range(5))
def test_articles_stay_well_annotated(articles: wasl.Corpus, seed: int) -> None:
    changed = 0
    for gold in articles.documents.values():
        found = varied(gold, 0.5, 0.5, seed)
        changed += found.text != gold.text
        assert len(found.entities) == len(gold.entities)
        for entity, before in zip(found.entities, gold.entities, strict=True):
            assert found.text[entity.start : entity.end] == entity.text
            assert (
                entity.text[2:] == before.text[2:]
                or entity.text[1:] == before.text[2:]
                or entity.text[2:] == before.text[1:]
            )
        assert [(r.head.id, r.label, r.tail.id) for r in found.relations] == [
            (r.head.id, r.label, r.tail.id) for r in gold.relations
        ]
        assert align(found, find_word_table(found.text), articles.schema).problems == ()
    assert changed == 5


def test_nothing_changes_at_zero(articles: wasl.Corpus) -> None:
    for gold in articles.documents.values():
        assert varied(gold, 0, 0) is gold


def test_an_entity_inside_another_is_left_alone() -> None:
    text = "بنك الصين"
    outer, inner = Entity("T1", "ORG", 0, 9, text), Entity("T2", "LOC", 4, 9, "الصين")
    for seed in range(20):
        found = varied(Document(text, (outer, inner)), 1, 1, seed)
        assert found.entities[1].text == "الصين"
        assert found.entities[0].text == text


def test_replaced_mentions() -> None:
    one = document("زارت غوغل للصين مع غوغل", "غوغل", "لصين")
    seen = set()
    for seed in range(40):
        found = replace_mentions(one, {"ORG": ["الهند", "OpenAI"]}, random.Random(seed), 0.7)
        seen.add(found.text)
        for entity in found.entities:
            assert found.text[entity.start : entity.end] == entity.text
        assert found.relations[0].head == found.entities[0]
        assert found.relations[0].tail == found.entities[1]
    assert "زارت OpenAI للهند مع غوغل" in seen  # the alif falls after ل; what is no entity stays
    assert "زارت الهند لOpenAI مع غوغل" in seen
    assert one.text in seen
    assert replace_mentions(one, {"LOC": ["الهند"]}, random.Random(0), 1.0) == one


def test_replacing_in_articles_keeps_offsets(articles: wasl.Corpus) -> None:
    mentions = mentions_by_label(articles.documents.values())
    assert "لصين" not in mentions["LOC"]  # it lost its alif to a proclitic
    for gold in articles.documents.values():
        found = replace_mentions(gold, mentions, random.Random(1), 0.5)
        assert found.text != gold.text
        assert [e.label for e in found.entities] == [e.label for e in gold.entities]
        for entity in found.entities:
            assert found.text[entity.start : entity.end] == entity.text
        aligned = align(found, find_word_table(found.text), articles.schema)
        assert len(aligned.entities) == len(gold.entities)


def test_nested_mentions_are_not_replaced() -> None:
    outer = Document("بنك الصين", (Entity("T1", "ORG", 0, 9, "بنك الصين"), Entity("T2", "ORG", 4, 9, "الصين")))
    assert replace_mentions(outer, {"ORG": ["غوغل"]}, random.Random(0), 1.0) == outer
