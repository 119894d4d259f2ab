"""Figures, checked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from wasl.document import Document, Entity, Relation
from wasl_training.metrics import figures, interval, precision_recall_f1, score, tally

TEXT = "وهواوي تنافس آبل في الصين"
HUAWEI, APPLE, CHINA = (
    Entity("T1", "ORG", 1, 6, "هواوي"), Entity("T2", "ORG", 13, 16, "آبل"), Entity("T3", "LOC", 20, 25, "الصين"),
)  # fmt: skip
GOLD = Document(
    TEXT, (HUAWEI, APPLE, CHINA), (Relation("R1", "rival", HUAWEI, APPLE), Relation("R2", "in", APPLE, CHINA))
)
SYMMETRIC = frozenset({"rival"})


def test_a_perfect_prediction() -> None:
    found = figures([tally(GOLD, GOLD, GOLD, SYMMETRIC)])
    assert (found.entities.f1, found.boundaries.f1, found.strict.f1, found.given_gold.f1) == (100, 100, 100, 100)
    assert (found.clitic_recall, found.clitic_support) == (100, 1)
    assert found.entities.by_label["ORG"].support == 2


def test_boundaries_and_strict_differ_by_argument_labels() -> None:
    china = Entity("T3", "ORG", 20, 25, "الصين")
    predicted = Document(TEXT, (HUAWEI, APPLE, china), (Relation("R1", "in", APPLE, china),))
    found = figures([tally(GOLD, predicted, GOLD, SYMMETRIC)])
    assert found.boundaries.recall == 50
    assert found.boundaries.precision == 100
    assert found.strict.f1 == 0
    assert found.entities.f1 == pytest.approx(200 * 2 / 6)


def test_a_symmetric_relation_is_the_same_either_way_round_and_others_are_not() -> None:
    flipped = Document(
        TEXT, GOLD.entities, (Relation("R1", "rival", APPLE, HUAWEI), Relation("R2", "in", CHINA, APPLE))
    )
    found = figures([tally(GOLD, flipped, None, SYMMETRIC)])
    assert (found.strict.precision, found.strict.recall) == (50, 50)
    assert found.given_gold.support == 0


def test_an_entity_with_its_proclitic_is_wrong_and_counts_as_a_missed_clitic_start() -> None:
    with_waw = Entity("T1", "ORG", 0, 6, "وهواوي")
    found = figures([tally(GOLD, Document(TEXT, (with_waw, APPLE, CHINA)), None, SYMMETRIC)])
    assert (found.clitic_recall, found.clitic_support) == (0, 1)
    assert found.entities.f1 == pytest.approx(200 * 2 / 6)


def test_documents_are_pooled_not_averaged() -> None:
    good, empty = tally(GOLD, GOLD, GOLD, SYMMETRIC), tally(GOLD, Document(TEXT), None, SYMMETRIC)
    found = score("entities", [good, good, empty])
    assert (found.precision, found.recall, found.support) == (100, pytest.approx(200 / 3), 9)
    assert score("entities", [good, good], repeats=2).support == 3


def test_a_document_without_relations_counts_its_false_ones() -> None:
    bare = Document(TEXT, GOLD.entities)
    found = figures([tally(GOLD, GOLD, GOLD, SYMMETRIC), tally(bare, GOLD, GOLD, SYMMETRIC)])
    assert (found.strict.precision, found.strict.recall) == (50, 100)


def test_intervals_resample_documents() -> None:
    low, high = interval(np.array([[10, 10, 10], [0, 10, 10]], dtype=float))  # type: ignore[misc]
    assert (low, high) == (0, 100)  # either document may be drawn twice
    assert interval(np.array([[5.0, 10, 10]] * 8)) == (50, 50)
    assert interval(np.array([[5.0, 10, 10]])) is None


def test_nothing_to_divide_by() -> None:
    assert precision_recall_f1(0, 0, 0) == (0, 0, 0)


def test_json_as_the_contract_says() -> None:
    data = figures([tally(GOLD, GOLD, GOLD, SYMMETRIC)] * 2).to_dict()
    assert set(data) == {"entities", "relations", "relations_given_gold", "clitic_starts"}
    assert set(data["relations"]) == {"boundaries", "strict"}
    assert set(data["entities"]) == {"precision", "recall", "f1", "support", "ci95", "by_label"}
    assert data["entities"]["ci95"] == [100, 100]
    assert set(data["clitic_starts"]) == {"recall", "support"}
