"""Leave one out: nothing of the held-out document is used, counts are pooled, finished folds are kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import wasl
from wasl.errors import CorpusError
from wasl_training import TrainingConfig, crossval, evaluate, train
from wasl_training.crossvalidation import load_tally, save_tally, summarise_folds
from wasl_training.metrics import Tally


def test_folds(articles: wasl.Corpus, wordpiece_encoder: Path, quick: TrainingConfig, tmp_path: Path) -> None:
    part = articles.select(["001", "004", "005"])
    found = crossval(part, tmp_path, encoder=wordpiece_encoder, seeds=2, config=quick)
    assert set(found.tallies) == {(s, d) for s in (0, 1) for d in part.documents}
    assert found.pooled.entities.support == sum(len(d.entities) for d in part.documents.values())
    assert found.per_document["004"].entities.support == len(part.documents["004"].entities)
    assert len(found.per_seed) == 2

    # A fold is what training on the others and scoring on the one gives.
    trained = train(part.select(without=["004"]), encoder=wordpiece_encoder, dev=[], config=replace(quick, seed=1))
    alone = evaluate(trained.extractor, part.select(["004"])).tallies["004"]
    assert alone == found.tallies[1, "004"]


def test_the_held_out_document_is_never_seen(
    articles: wasl.Corpus,
    wordpiece_encoder: Path,
    quick: TrainingConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[list[str]] = []
    import wasl_training.crossvalidation as module

    def spy(corpus: wasl.Corpus, *args: object, **options: object) -> object:
        seen.append(list(corpus.documents))
        assert options["dev"] == []
        return train(corpus, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "train", spy)
    crossval(articles.select(["001", "005"]), tmp_path, encoder=wordpiece_encoder, seeds=1, config=quick)
    assert seen == [["005"], ["001"]]


def test_finished_folds_are_used_again_but_not_of_other_settings_or_annotations(
    articles: wasl.Corpus,
    wordpiece_encoder: Path,
    quick: TrainingConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    part = articles.select(["001", "005"])
    first = crossval(part, tmp_path, encoder=wordpiece_encoder, seeds=1, config=quick)
    trained = []

    def spy(*args: object, **options: object) -> object:
        trained.append(options)
        return train(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("wasl_training.crossvalidation.train", spy)
    again = crossval(part, tmp_path, encoder=wordpiece_encoder, seeds=1, config=quick)
    assert again.to_dict() == first.to_dict()
    assert not trained
    crossval(part, tmp_path, encoder=wordpiece_encoder, seeds=1, config=replace(quick, glue=0.3))
    assert len(trained) == 2
    fewer = replace(part.documents["001"], relations=part.documents["001"].relations[1:])
    changed = replace(part, documents={**part.documents, "001": fewer})
    crossval(changed, tmp_path, encoder=wordpiece_encoder, seeds=1, config=replace(quick, glue=0.3))
    assert len(trained) == 4


def test_a_held_out_text_may_not_be_trained_on(
    articles: wasl.Corpus, wordpiece_encoder: Path, quick: TrainingConfig, tmp_path: Path
) -> None:
    also = [wasl.Corpus(articles.schema, {"x": articles.documents["001"]})]
    with pytest.raises(CorpusError, match=r"001\.txt: held-out document is trained on: the same text is x"):
        crossval(articles.select(["001", "005"]), tmp_path, encoder=wordpiece_encoder, also=also, config=quick)


def test_tallies_survive_being_written(tmp_path: Path) -> None:
    counts = Tally(clitic_hits=1, clitic_gold=2)
    counts.add("entities", {("ORG", 1, 2), ("LOC", 3, 4)}, {("ORG", 1, 2)})
    save_tally(counts, tmp_path / "t.json", "one")
    assert load_tally(tmp_path / "t.json", "one") == counts
    assert load_tally(tmp_path / "t.json", "other") is None
    assert load_tally(tmp_path / "none.json", "one") is None


def test_pooling_over_seeds_counts_support_once() -> None:
    good, bad = Tally(), Tally()
    good.add("entities", {("ORG", 1, 2)}, {("ORG", 1, 2)})
    bad.add("entities", {("ORG", 1, 2)}, set())
    found = summarise_folds({(0, "a"): good, (1, "a"): bad, (0, "b"): good, (1, "b"): good})
    assert found.pooled.entities.support == 2
    assert found.pooled.entities.recall == 75
    assert found.per_document["a"].entities.recall == 50
    data = found.to_dict()
    assert set(data) >= {"entities", "relations", "relations_given_gold", "clitic_starts", "per_document"}
    json.dumps(data)
