"""Calibration recovers what it should, and leaves alone what it cannot know."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import wasl
from wasl.config import Calibration
from wasl.decoding import calibrated
from wasl.document import Document, Relation
from wasl_training import TrainingConfig, train
from wasl_training.calibration import THRESHOLDS, calibrate, platt
from wasl_training.metrics import expected_calibration_error


def test_platt_finds_slope_and_shift() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=20_000) * 3
    right = random.random(20_000) < 1 / (1 + np.exp(-(0.5 * logits - 1)))
    found = platt(logits, right)
    assert found.slope == pytest.approx(0.5, abs=0.03)
    assert found.shift == pytest.approx(-1, abs=0.06)
    before = expected_calibration_error(calibrated(logits, Calibration()), right)
    after = expected_calibration_error(calibrated(logits, found), right)
    assert after < 1.5 < 10 < before


def test_platt_tames_overconfident_scores() -> None:
    """Trained networks are sure of nearly everything, and a plain Newton step then runs off to infinity."""
    random = np.random.default_rng(1)
    truth = random.normal(2, 2, size=5000)
    right = random.random(5000) < 1 / (1 + np.exp(-truth))
    found = platt(9 * truth, right)
    assert found.slope == pytest.approx(1 / 9, abs=0.03)
    assert abs(found.shift) < 0.5
    assert expected_calibration_error(calibrated(9 * truth, found), right) < 4


def test_too_few_items_change_nothing() -> None:
    assert platt(np.ones(20), np.arange(20) < 10) == Calibration()
    assert platt(np.ones(500), np.ones(500, dtype=bool)) == Calibration()


def test_expected_calibration_error() -> None:
    assert expected_calibration_error(np.full(10, 0.75), np.arange(10) < 5) == pytest.approx(25)
    assert expected_calibration_error(np.zeros(0), np.zeros(0, dtype=bool)) == 0


def test_an_extractors_configuration_is_fitted(
    wordpiece_encoder: Path, articles: wasl.Corpus, quick: TrainingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wasl_training.calibration.FEWEST", 3)  # a tiny model and two articles
    part = articles.select(["001", "003", "005"])
    extractor = train(part, encoder=wordpiece_encoder, config=replace(quick, epochs=12)).extractor
    config = calibrate(extractor, articles.select(["002", "004"]).documents)
    assert config.entity_calibration != Calibration()
    assert config.relation_calibration != Calibration()
    assert THRESHOLDS[0] <= config.relation_threshold <= THRESHOLDS[-1]
    assert config.annotation_conf == extractor.config.annotation_conf


def test_a_relations_score_says_how_often_it_is_right(
    wordpiece_encoder: Path, articles: wasl.Corpus, quick: TrainingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Entities and relations of one sentence are right or wrong together: their product says too little."""
    monkeypatch.setattr("wasl_training.calibration.FEWEST", 5)
    part = articles.select(["001", "003", "005"])
    extractor = train(part, encoder=wordpiece_encoder, config=replace(quick, epochs=12)).extractor
    fitted = calibrate(extractor, articles.documents)

    def gap() -> float:
        """Between the mean score and the share that is right."""
        found = [
            (relation.score or 0, is_stated(relation, gold))
            for gold in articles.documents.values()
            for relation in extractor.predict(gold.text).relations
        ]
        assert len(found) > 20
        return float(abs(np.mean([score for score, _ in found]) - np.mean([right for _, right in found])))

    extractor.config = replace(fitted, triple_calibration=Calibration())
    assert gap() > 0.1
    extractor.config = fitted
    assert gap() < 0.05


def is_stated(relation: Relation, gold: Document) -> bool:
    def key(r: Relation) -> tuple[object, ...]:
        return r.label, r.head.start, r.head.end, r.head.label, r.tail.start, r.tail.end, r.tail.label

    return key(relation) in {key(r) for r in gold.relations}
