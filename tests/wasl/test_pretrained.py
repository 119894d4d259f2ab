"""The model inside the package: there at once, of this project's schema, good on articles it has never seen."""

from __future__ import annotations

import pytest

import wasl
from wasl.pretrained import EMBEDDED_FOLDER
from wasl_training import evaluate
from wasl_training.encoders import load_start


@pytest.fixture(scope="module")
def embedded() -> wasl.Extractor:
    return wasl.load()


def test_it_has_the_schema_of_the_annotations(embedded: wasl.Extractor, articles: wasl.Corpus) -> None:
    assert embedded.schema.entities == articles.schema.entities
    assert embedded.schema.relations == articles.schema.relations


def test_predict_uses_it() -> None:
    document = wasl.predict("ذكرت صحيفة فاينانشال تايمز أن شركة “علي بابا” تدرب نماذجها في سنغافورة.")
    found = {e.text: e.label for e in document.entities}
    assert found == {"فاينانشال تايمز": "ORG", "علي بابا": "ORG", "سنغافورة": "LOC"}
    assert ("علي بابا", "operates_in", "سنغافورة") in {(r.head.text, r.label, r.tail.text) for r in document.relations}


def test_it_reads_articles_it_has_not_seen(embedded: wasl.Extractor, articles: wasl.Corpus) -> None:
    found = evaluate(embedded, articles).figures
    assert found.entities.f1 > 90
    assert found.given_gold.f1 > 70
    assert found.strict.f1 > 55
    assert found.clitic_recall > 80


def test_training_starts_from_its_heads() -> None:
    assert load_start("embedded").extractor is not None


def test_its_card_names_sources_and_licences() -> None:
    card = (EMBEDDED_FOLDER / "README.md").read_text(encoding="utf-8")
    for name in ("multilingual-e5-small", "ANERcorp", "CLEANANERCorp", "AQMAR", "NewsFANE", "Wojood", "ANT"):
        assert name in card
    assert "GPL-3.0" in card
    assert "CC BY-SA" in card
