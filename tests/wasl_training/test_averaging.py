"""The mean of weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import wasl
from wasl.errors import ArgumentError
from wasl_training import TrainingConfig, train
from wasl_training.averaging import average


def test_the_mean_counts_each_as_often_as_it_is_given(
    articles: wasl.Corpus, model_folder: Path, quick: TrainingConfig
) -> None:
    a = wasl.load(model_folder, engine="torch")
    b = train(articles.select(["001"]), encoder=model_folder, config=replace(quick, epochs=2, keep=0.0)).extractor
    before = {name: weight.clone() for name, weight in a.network.state_dict().items()}
    found = average([a, b, b])
    assert found.config == a.config
    for name, weight in found.network.state_dict().items():
        assert torch.equal(a.network.state_dict()[name], before[name])  # the members stay as they are
        if weight.is_floating_point():
            assert torch.allclose(weight, (before[name] + 2 * b.network.state_dict()[name]) / 3, atol=1e-6)
    assert not torch.allclose(found.network.tags.weight, a.network.tags.weight, atol=1e-6)
    assert found.predict(articles.documents["002"].text).text == articles.documents["002"].text


def test_what_cannot_be_averaged(articles: wasl.Corpus, model_folder: Path, quick: TrainingConfig) -> None:
    a = wasl.load(model_folder, engine="torch")
    one, quick = articles.select(["001"]), replace(quick, epochs=1)
    joined = train(one, encoder=model_folder, config=replace(quick, split_proclitics=False)).extractor
    with pytest.raises(ArgumentError, match="proclitics"):
        average([a, joined])
