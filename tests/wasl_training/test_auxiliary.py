"""Further corpora beside the main one: each batch of one corpus, all of them learnt, none of their heads kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import wasl
from wasl.corpus import Corpus
from wasl.document import Document, Entity
from wasl.encoding import TextEncoder
from wasl.errors import ArgumentError, CorpusError
from wasl.schema import Schema
from wasl_training import TrainingConfig, evaluate, train
from wasl_training.auxiliary import MAIN, Auxiliary, MixedBatches
from wasl_training.examples import WindowDataset


@pytest.fixture
def others(articles: wasl.Corpus) -> Corpus:
    """The articles' organisations and places, under other labels."""
    schema = Schema.parse("[entities]\nCOMPANY\nPLACE\n")
    names = {"ORG": "COMPANY", "LOC": "PLACE"}
    documents = {
        id_: Document(
            d.text, tuple(Entity(e.id, names[e.label], e.start, e.end, e.text) for e in d.entities if e.label in names)
        )
        for id_, d in articles.select(["002", "003"]).documents.items()
    }
    return Corpus(schema, documents)


def test_batches(articles: wasl.Corpus, others: Corpus, extractor: wasl.Extractor, quick: TrainingConfig) -> None:
    encoder = TextEncoder(extractor.text_encoder.tokenizer, 64)
    datasets = {
        MAIN: WindowDataset(articles.documents, articles.schema, encoder, quick),
        "others": Auxiliary(others).dataset(encoder, quick),
    }
    batches = MixedBatches(datasets, {MAIN: 1.0, "others": 0.5}, 4, 0)
    first = list(batches.batches)
    rows = {name: [r for n, rs in first if n == name for r in rs] for name in datasets}
    assert sorted(rows[MAIN]) == list(range(len(datasets[MAIN])))
    assert len(set(rows["others"])) == round(len(datasets["others"]) / 2)
    assert len(batches) == len(first)
    assert all(len(rs) <= 4 for _, rs in first)
    batches.epoch = 1
    assert batches.batches != first
    assert len(batches) == len(first)
    assert all(d.epoch == 1 for d in datasets.values())
    batches.epoch = 0
    assert batches.batches == first


def test_both_are_learnt(
    articles: wasl.Corpus, others: Corpus, wordpiece_encoder: Path, quick: TrainingConfig, tmp_path: Path
) -> None:
    part = articles.select(["001", "005"])
    trained = train(
        part, tmp_path, encoder=wordpiece_encoder, config=replace(quick, epochs=30),
        auxiliary={"others": Auxiliary(others, clitics=True, dev=others)},
    )  # fmt: skip
    assert evaluate(wasl.load(tmp_path), part).figures.entities.f1 > 60
    beside = trained.auxiliary["others"]
    score = evaluate(beside, others).figures.entities.f1
    assert score > 60
    assert trained.epochs[-1].auxiliary == {"others": pytest.approx(score)}
    assert all(0 < e.relations < 2 for e in trained.epochs)  # the means leave out batches without relations
    shared = dict(trained.extractor.network.encoder.named_parameters())
    assert all(torch.equal(p, shared[name]) for name, p in beside.network.encoder.named_parameters())


@pytest.mark.parametrize("relations", [True, False])
def test_more_of_the_main_labels(
    articles: wasl.Corpus, wordpiece_encoder: Path, quick: TrainingConfig, relations: bool
) -> None:
    """Only the auxiliary corpus has relations: the main heads can have learnt them from nowhere else."""
    part = articles.select(["005"])
    bare = {id_: Document(d.text, d.entities) for id_, d in part.documents.items()}
    trained = train(
        Corpus(part.schema, bare), encoder=wordpiece_encoder, config=replace(quick, epochs=30),
        auxiliary={"labelled": Auxiliary(articles.select(["001"]), joint=True, dev=part, relations=relations)},
    )  # fmt: skip
    assert trained.auxiliary == {}
    found = evaluate(trained.extractor, articles.select(["001"])).figures
    assert found.entities.f1 > 60
    assert found.given_gold.f1 > 30 if relations else found.given_gold.f1 < 5
    assert set(trained.epochs[-1].auxiliary) == {"labelled"}


def test_proclitics_are_varied_only_where_they_are_known(others: Corpus, extractor: wasl.Extractor) -> None:
    encoder = TextEncoder(extractor.text_encoder.tokenizer, 64)
    config = TrainingConfig(glue=1.0)
    plain, known = (Auxiliary(others, clitics=c).dataset(encoder, config) for c in (False, True))
    assert [plain[i].encoded.text for i in range(len(plain))] == [p.text for p in plain.parts]
    assert [known[i].encoded.text for i in range(len(known))] != [p.text for p in known.parts]


def test_what_cannot_be(articles: wasl.Corpus, others: Corpus, wordpiece_encoder: Path) -> None:
    with pytest.raises(ArgumentError, match="share"):
        Auxiliary(others, share=0)
    with pytest.raises(CorpusError, match="COMPANY"):
        train(articles, encoder=wordpiece_encoder, auxiliary={"others": Auxiliary(others, joint=True)})
    nested = Schema.parse("[entities]\nA\n[relations]\n<OVERLAP>\tArg1:A, Arg2:A, <OVL-TYPE>:contain\n")
    with pytest.raises(ArgumentError, match="nested"):
        Auxiliary(Corpus(nested, {}))
