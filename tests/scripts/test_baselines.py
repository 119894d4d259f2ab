"""The baselines learn what their kind can, so that beating them means something."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from tokenizers import Tokenizer

import wasl
from wasl_training.metrics import figures, tally

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(scope="module")
def baselines() -> ModuleType:
    spec = importlib.util.spec_from_file_location("baselines", SCRIPTS / "baselines.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["baselines"] = module
    spec.loader.exec_module(module)
    return module


def test_gazetteer(baselines: ModuleType, articles: wasl.Corpus) -> None:
    rest = articles.select(without=["005"])
    gazetteer = baselines.Gazetteer(rest.documents.values(), articles.schema)
    document = gazetteer.predict("أطلقت علي بابا نموذج Qwen في الصين")
    assert [(e.text, e.label) for e in document.entities] == [("علي بابا", "ORG"), ("Qwen", "MODEL"), ("الصين", "LOC")]
    assert ("علي بابا", "develops", "Qwen") in [(r.head.text, r.label, r.tail.text) for r in document.relations]
    gold = articles.documents["005"]
    found = figures([tally(gold, gazetteer.predict(gold.text), gazetteer.relate(gold), articles.schema.symmetric)])
    assert 40 < found.entities.f1 < 90


def test_crf(baselines: ModuleType, articles: wasl.Corpus) -> None:
    rest = articles.select(without=["005"])
    crf = baselines.Crf(rest.documents.values(), articles.schema)
    gold = articles.documents["005"]
    found = figures([tally(gold, crf.predict(gold.text), None, articles.schema.symmetric)])
    assert 40 < found.entities.f1 < 95
    assert found.clitic_recall == 0  # it reads whole words


def test_token_classification(baselines: ModuleType, articles: wasl.Corpus, sentencepiece_encoder: Path) -> None:
    part = articles.select(["001", "005"])
    tokenizer = Tokenizer.from_file(str(sentencepiece_encoder / "tokenizer.json"))
    documents = list(part.documents.values())
    tokens = baselines.TokenClassification(
        documents, articles.schema, sentencepiece_encoder, tokenizer, epochs=60, seed=0, rate=5e-3, longest=80
    )
    counts = [tally(d, tokens.predict(d.text), None, articles.schema.symmetric) for d in documents]
    assert figures(counts).entities.f1 > 40
