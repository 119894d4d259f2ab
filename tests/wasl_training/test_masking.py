"""Masked-language-model training: whole words are masked, the loss falls, a killed run goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import wasl
from wasl.encoding import TextEncoder
from wasl.errors import ArgumentError, CorpusError
from wasl_training.encoders import load_start
from wasl_training.masking import (
    IGNORED,
    MaskCollator,
    MaskDataset,
    MaskedLoss,
    MaskingConfig,
    MaskWindow,
    adapt,
)
from wasl_training.trainer import CHECKPOINTS

CONFIG = MaskingConfig(epochs=20, rate=5e-3, batch_size=8, max_pieces=64, dev=0.1, log_steps=20, checkpoint_seconds=0)


def test_whole_words_are_masked() -> None:
    word = np.array([-1, 0, 0, 1, 2, 2, 2, 3, -1, -1])
    window = MaskWindow(np.arange(100, 110), word)
    collate = MaskCollator(mask_id=7, pad=0, vocabulary=50, share=0.4, seed=0)
    fates = {"mask": 0, "same": 0, "random": 0}
    for _ in range(300):
        batch = collate([window, MaskWindow(window.pieces[:4], word[:4])])
        ids, labels = batch["input_ids"][0].numpy(), batch["labels"][0].numpy()
        assert batch["attention_mask"].sum(dim=1).tolist() == [10, 4]
        for w in range(4):
            here = word == w
            chosen = labels[here] != IGNORED
            assert chosen.all() or not chosen.any()
            assert (labels[here][chosen] == window.pieces[here][chosen]).all()
            if chosen.any():
                masked = (ids[here] == 7).all()
                fates["mask" if masked else "same" if (ids[here] == window.pieces[here]).all() else "random"] += 1
        special = word == -1
        assert (labels[special] == IGNORED).all()
        assert (ids[special] == window.pieces[special]).all()
        assert (labels != IGNORED).any()  # of every window something is predicted
    total = sum(fates.values())
    assert 0.74 < fates["mask"] / total < 0.86
    assert 0.06 < fates["random"] / total < 0.14


def test_windows_know_their_words(articles: wasl.Corpus, extractor: wasl.Extractor) -> None:
    encoder = TextEncoder(extractor.text_encoder.tokenizer, 64, 0)
    text = articles.documents["001"].text
    dataset = MaskDataset([text], encoder)
    encoded = encoder.encode(text, context=False)
    assert len(dataset) == len(encoded.windows)
    for i, window in enumerate(encoded.windows):
        assert (dataset[i].pieces == window.pieces).all()
        assert sorted(set(dataset[i].word)) == list(range(-1, len(set(window.link_words))))
        assert (dataset[i].word[[0, -1]] == -1).all()


def test_the_loss_falls_and_the_encoder_can_be_trained_on(
    articles: wasl.Corpus, wordpiece_encoder: Path, tmp_path: Path
) -> None:
    texts = [d.text for d in articles.documents.values()]
    found = adapt(texts, tmp_path / "encoder", encoder=wordpiece_encoder, config=CONFIG)
    assert found[-1].dev_loss < found[0].dev_loss - 0.3
    assert found[-1].loss < found[0].loss
    assert not (tmp_path / "encoder" / CHECKPOINTS).exists()
    assert load_start(tmp_path / "encoder").digest != load_start(wordpiece_encoder).digest
    assert adapt(texts, tmp_path / "encoder", encoder=wordpiece_encoder, config=CONFIG) == []  # it was finished


class KilledError(Exception):
    pass


def test_a_killed_run_goes_on(articles: wasl.Corpus, wordpiece_encoder: Path, tmp_path: Path) -> None:
    texts = [d.text for d in articles.documents.values()]

    def run(report: Callable[[MaskedLoss], object] | None, epochs: int = 8) -> list[MaskedLoss]:
        return adapt(texts, tmp_path, encoder=wordpiece_encoder, config=replace(CONFIG, epochs=epochs), report=report)

    def kill(loss: MaskedLoss) -> None:
        if loss.step >= 60:
            raise KilledError

    with pytest.raises(KilledError):
        run(kill)
    with pytest.raises(ArgumentError, match="other settings"):
        run(None, epochs=9)
    steps: list[int] = []
    found = run(lambda loss: steps.append(loss.step))
    assert steps[0] == 60  # not from the start
    assert [loss.step for loss in found] == [*range(20, found[-1].step, 20), found[-1].step]


def test_settings_that_make_no_sense(wordpiece_encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError):
        MaskingConfig(epochs=0)
    with pytest.raises(ArgumentError):
        MaskingConfig(share=1.0)
    with pytest.raises(CorpusError, match="no texts"):
        adapt([], tmp_path, encoder=wordpiece_encoder)
