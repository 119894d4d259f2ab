"""Prediction: true offsets for any string, the same in any company, and model folders good and bad."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from copy import copy as shallow_copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import wasl
from wasl.config import Calibration
from wasl.errors import ModelError, TextError

ANY_TEXT = st.lists(
    st.one_of(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
        st.sampled_from(
            ["شركة “علي بابا”", "وبايت دانس", "لِلصِّينِ", "لـ", "الصـــين", "\u200fإنفيديا\u200e", "😀🇸🇦", " ", "\n", "\r\n",
             "H20", "وMistral", "30%", "53 مليار دولار", "ﷲ", "ﻻ", "\u202bنص\u202c", "e\u0301", ".", "؟", "\t", "\x00"]
        ),
    ),
    max_size=25,
).map("".join)  # fmt: skip


def check_document(document: wasl.Document, text: str) -> None:
    assert document.text == text
    ends = 0
    for number, entity in enumerate(document.entities, 1):
        assert entity.id == f"T{number}"
        assert 0 <= entity.start < entity.end <= len(text)
        assert text[entity.start : entity.end] == entity.text
        assert entity.text == entity.text.strip()
        assert 0 <= entity.score <= 1
        assert entity.start >= ends  # flat schema: in text order, none overlap
        ends = entity.end
    for relation in document.relations:
        assert relation.head in document.entities
        assert relation.tail in document.entities
        assert 0 <= relation.score <= 1
    assert wasl.Document.from_dict(json.loads(document.to_json())) == document


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=ANY_TEXT)
def test_offsets_are_true_for_any_string(extractor: wasl.Extractor, text: str) -> None:
    check_document(extractor.predict(text), text)


def test_the_tiny_model_finds_something(extractor: wasl.Extractor, articles: wasl.Corpus) -> None:
    """Else the tests around this one would prove little."""
    found = [extractor.predict(d.text) for d in articles.documents.values()]
    assert sum(len(d.entities) for d in found) > 100
    assert sum(len(d.relations) for d in found) > 10
    for document, gold in zip(found, articles.documents.values(), strict=True):
        check_document(document, gold.text)


@pytest.mark.parametrize("text", ["", " ", "\n\t \u200f", "\u064e", "ـ"])
def test_text_without_words(extractor: wasl.Extractor, text: str) -> None:
    document = extractor.predict(text)
    assert document.text == text
    assert document.entities == ()


def test_lone_surrogates_are_refused(extractor: wasl.Extractor) -> None:
    with pytest.raises(TextError, match="lone surrogate"):
        extractor.predict("شركة \udc80")


def same(a: wasl.Document, b: wasl.Document) -> None:
    assert [(e.label, e.span) for e in a.entities] == [(e.label, e.span) for e in b.entities]
    assert [(r.label, r.head.span, r.tail.span) for r in a.relations] == [
        (r.label, r.head.span, r.tail.span) for r in b.relations
    ]
    for x, y in zip([*a.entities, *a.relations], [*b.entities, *b.relations], strict=True):
        assert x.score == pytest.approx(y.score, abs=1e-4)


def test_a_text_gives_the_same_alone_and_in_any_batch(extractor: wasl.Extractor, articles: wasl.Corpus) -> None:
    texts = [d.text for d in articles.documents.values()]
    texts += [d.text[:k] for d in articles.documents.values() for k in (40, 300)] + ["", "الصين"]
    alone = [extractor.predict(t) for t in texts]
    for size in (1, 3, 32):
        for a, b in zip(alone, extractor.predict_many(texts, batch_size=size), strict=True):
            same(a, b)
    for a, b in zip(reversed(alone), extractor.predict_many(reversed(texts), batch_size=5), strict=True):
        same(a, b)


def test_predict_many_is_lazy(extractor: wasl.Extractor) -> None:
    taken = 0

    def texts() -> Iterator[str]:
        nonlocal taken
        while True:
            taken += 1
            yield f"شركة هواوي {taken}"

    stream = extractor.predict_many(texts(), batch_size=4)
    assert next(stream).text == "شركة هواوي 1"
    assert taken == 8  # the next batch is computed while this one is decoded


def test_a_text_of_200_000_characters(extractor: wasl.Extractor, articles: wasl.Corpus) -> None:
    text = "\n".join(d.text for d in articles.documents.values())
    text = (text * (200_000 // len(text) + 1))[:200_000]
    document = extractor.predict(text)
    check_document(document, text)
    assert max(e.end for e in document.entities) > 195_000


def test_a_long_line_without_a_sentence_end(extractor: wasl.Extractor) -> None:
    started = time.monotonic()
    text = "شركة علي بابا وبايت دانس في الصين " * 6000
    check_document(extractor.predict(text[:30_000]), text[:30_000])
    assert time.monotonic() - started < 100


def test_relating_given_entities(extractor: wasl.Extractor, articles: wasl.Corpus) -> None:
    gold = articles.documents["003"]
    found = extractor.relate(gold)
    assert found.entities == gold.entities
    assert found.relations
    assert all(r.head in gold.entities and r.tail in gold.entities for r in found.relations)


def test_triples_are_calibrated_and_relations_of_given_entities_are_not(
    extractor: wasl.Extractor, articles: wasl.Corpus
) -> None:
    surer = shallow_copy(extractor)
    surer.config = replace(extractor.config, triple_calibration=Calibration(1, 1))
    gold = articles.documents["003"]
    before, after = extractor.predict(gold.text).relations, surer.predict(gold.text).relations
    assert [(r.label, r.head, r.tail) for r in before] == [(r.label, r.head, r.tail) for r in after]
    odds = [
        [(score or 0) / (1 - (score or 0)) for score in (a.score, b.score)] for a, b in zip(before, after, strict=True)
    ]
    assert odds
    assert all(b == pytest.approx(a * np.e, rel=0.01) for a, b in odds)
    assert extractor.relate(gold) == surer.relate(gold)


def test_saved_and_loaded(extractor: wasl.Extractor, articles: wasl.Corpus, tmp_path: Path) -> None:
    extractor.save_pretrained(tmp_path / "copy", card="# card")
    again = wasl.load(tmp_path / "copy")
    assert again.config == extractor.config
    assert (tmp_path / "copy" / "README.md").read_text() == "# card"
    same(again.predict(articles.documents["001"].text), extractor.predict(articles.documents["001"].text))


@pytest.fixture
def copy(model_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_folder, tmp_path / "copy"))


def test_a_folder_with_a_file_missing(copy: Path) -> None:
    (copy / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"no tokenizer.json in it"):
        wasl.load(copy)


def test_a_folder_of_before_triples_were_calibrated(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    assert config.pop("triple_calibration")
    (copy / "config.json").write_text(json.dumps(config))
    assert wasl.load(copy).config.triple_calibration == Calibration()


def test_a_folder_of_another_version(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "format": 99}))
    with pytest.raises(ModelError, match=r"another version of wasl \(folder format 99"):
        wasl.load(copy)
    (copy / "config.json").write_text(json.dumps({**config, "colour": 1}))
    with pytest.raises(ModelError, match="unknown settings colour"):
        wasl.load(copy)
    (copy / "config.json").write_text("{")
    with pytest.raises(ModelError, match="not JSON"):
        wasl.load(copy)
    (copy / "config.json").write_text(json.dumps({"model_type": "wasl", "format": 1}))
    with pytest.raises(ModelError, match=r"entity_calibration.*damaged"):
        wasl.load(copy)
    (copy / "config.json").write_text(json.dumps(config))
    (copy / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match=r"tokenizer\.json: damaged"):
        wasl.load(copy)


def test_weights_of_another_model_and_broken_weights(copy: Path, extractor: wasl.Extractor) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "annotation_conf": "[entities]\nPER\n"}))
    with pytest.raises(ModelError, match="do not fit"):
        wasl.load(copy)
    (copy / "config.json").write_text(json.dumps(config))
    (copy / "model.safetensors").write_bytes(b"\x00" * 64)
    with pytest.raises(ModelError, match="damaged"):
        wasl.load(copy)


def test_an_encoder_is_no_extractor(wordpiece_encoder: Path) -> None:
    with pytest.raises(ModelError, match=r"an encoder, not a wasl extractor; train one from it with"):
        wasl.load(wordpiece_encoder)


def test_names_that_lead_nowhere() -> None:
    with pytest.raises(ModelError, match="no such folder"):
        wasl.load("./nowhere")
    with pytest.raises(ModelError, match=r"nobody/nothing: not a folder here, and not to be had from the hub"):
        wasl.load("nobody/nothing")


def test_importing_wasl_does_not_import_torch() -> None:
    code = "import sys, wasl; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_higher_threshold_returns_fewer_relations(model_folder: Path, articles: wasl.Corpus) -> None:
    loaded = wasl.load(model_folder)
    counts = []
    for threshold in (0.05, 0.5, 0.95):
        loaded.config = replace(loaded.config, relation_threshold=threshold)
        counts.append(len(loaded.predict(articles.documents["003"].text).relations))
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1]
