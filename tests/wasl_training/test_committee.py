"""A committee says what its members say, and their mean where they differ."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import wasl
from wasl.decoding import log_softmax
from wasl.errors import ArgumentError, ModelError
from wasl.extractor import Extractor
from wasl.schema import Schema
from wasl.torch_engine import torch_extractor
from wasl_training.committee import committee


def other(extractor: Extractor) -> Extractor:
    """The same with other heads."""
    network = copy.deepcopy(extractor.network)
    with torch.no_grad():
        network.tags.weight.mul_(0.5)
        network.relations.bias.add_(1.0)
    return torch_extractor(network, extractor.text_encoder.tokenizer, extractor.config)


def test_members_that_agree(extractor: Extractor, articles: wasl.Corpus) -> None:
    texts = [d.text for d in articles.documents.values()]
    together = committee([extractor, extractor, extractor])
    for expected, found in zip(extractor.predict_many(texts), together.predict_many(texts), strict=True):
        assert [(e.label, e.span) for e in found.entities] == [(e.label, e.span) for e in expected.entities]
        assert [e.score for e in found.entities] == pytest.approx([e.score for e in expected.entities], abs=1e-3)
        assert len(found.relations) == len(expected.relations)


def test_the_mean_of_members(extractor: Extractor, articles: wasl.Corpus) -> None:
    members = [extractor, other(extractor)]
    together = committee(members)
    text = articles.documents["001"].text
    ((found,), (first,), (second,)) = (e.read([text]) for e in (together, *members))
    assert found.tags == pytest.approx((log_softmax(first.tags) + log_softmax(second.tags)) / 2, abs=1e-4)
    spans = extractor.decode_spans(first)
    _, logits = together.pair_logits(found, spans)
    each = [member.pair_logits(readout, spans)[1] for member, readout in zip(members, (first, second), strict=True)]
    assert logits == pytest.approx(np.mean(each, axis=0), abs=1e-3)
    assert extractor.engine is not together.engine


def test_a_committee_is_not_saved(extractor: Extractor, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="made of"):
        committee([extractor, other(extractor)]).save_pretrained(tmp_path)
    assert not list(tmp_path.iterdir())


def test_members_that_do_not_fit(extractor: Extractor) -> None:
    stranger = other(extractor)
    stranger.schema = Schema.parse("[entities]\nA\n")
    with pytest.raises(ArgumentError, match="same schema"):
        committee([extractor, stranger])
    wider = other(extractor)
    wider.config = replace(wider.config, encoder={**wider.config.encoder, "hidden_size": 8})
    with pytest.raises(ArgumentError, match="same width"):
        committee([extractor, wider])
