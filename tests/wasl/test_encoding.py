"""Windows: every word read once, every piece of it found, whatever the tokenizer and the length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from wasl.encoding import LONGEST_PROCLITIC, Encoded, TextEncoder, _beginning, find_word_table
from wasl.pretrained import EMBEDDED_FOLDER
from wasl.text import normalise


@pytest.fixture(
    scope="module", params=["wordpiece", "sentencepiece", "embedded", "embedded, split", "wordpiece, split"]
)
def text_encoder(request: pytest.FixtureRequest) -> TextEncoder:
    name, _, split = request.param.partition(", ")
    folder = EMBEDDED_FOLDER if name == "embedded" else request.getfixturevalue(f"{name}_encoder")
    tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
    return TextEncoder(tokenizer, max_pieces=48, context_pieces=12, split_proclitics=bool(split))


def owners(encoded: Encoded) -> list[int]:
    return [w for window in encoded.windows for w in range(*window.own)]


def check(encoded: Encoded, text_encoder: TextEncoder) -> None:
    assert owners(encoded) == list(range(len(encoded.words)))
    for window in encoded.windows:
        assert len(window.pieces) <= text_encoder.max_pieces
        assert list(window.pieces[: len(text_encoder.prefix)]) == list(text_encoder.prefix)
        assert list(window.pieces[-len(text_encoder.suffix) :]) == list(text_encoder.suffix)
        if len(window.link_pieces):
            assert window.link_pieces.min() >= len(text_encoder.prefix)
            assert window.link_pieces.max() < len(window.pieces) - len(text_encoder.suffix)


def test_articles(text_encoder: TextEncoder, articles) -> None:  # type: ignore[no-untyped-def]
    for document in articles.documents.values():
        for context in (True, False):
            encoded = text_encoder.encode(document.text, context=context)
            check(encoded, text_encoder)
            for window in encoded.windows:
                linked = set(window.link_words.tolist())
                assert set(range(*window.own)) <= linked
                if not context:  # other words only of the same, long, sentence
                    own = encoded.words.sentence[slice(*window.own)]
                    assert set(encoded.words.sentence[sorted(linked)]) == set(own)


def test_pieces_of_a_word_spell_it(text_encoder: TextEncoder) -> None:
    text = "وذكرت وزارةُ التجـارة الصينية أن Huawei باعت 800 رقاقة."
    encoded = text_encoder.encode(text)
    tokenizer = text_encoder.tokenizer
    for window in encoded.windows:
        for word in range(*window.own):
            pieces = window.pieces[window.link_pieces[window.link_words == word]]
            tokens = [tokenizer.id_to_token(int(p)) for p in pieces]
            spelt = "".join(t.removeprefix("##").replace("▁", "") for t in tokens)
            if not any("unk" in t.lower() for t in tokens):
                start, end = encoded.words.spans[word]
                assert normalise(text[start:end]).text in spelt


def test_a_sentence_longer_than_a_window_is_read_whole(text_encoder: TextEncoder) -> None:
    encoded = text_encoder.encode("قبل. " + "بنك الصين " * 150 + ". بعد")
    check(encoded, text_encoder)
    assert len(encoded.windows) > 5
    middle = encoded.windows[len(encoded.windows) // 2]
    linked = sorted(set(middle.link_words.tolist()))
    assert linked[0] < middle.own[0]  # words that other windows own are there for context
    assert linked[-1] >= middle.own[1]


def test_context_repeats_sentences_before(text_encoder: TextEncoder) -> None:
    text = "واحد. " * 60
    with_context, without = (text_encoder.encode(text, context=c).windows for c in (True, False))
    assert min(with_context[1].link_words) < with_context[1].own[0]
    assert min(without[1].link_words) == without[1].own[0]


@settings(max_examples=40, deadline=None)
@given(
    text=st.text(
        st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from("وبالصين ـَ.\n😀\u200f")), max_size=300
    )
)
def test_any_text(text_encoder: TextEncoder, text: str) -> None:
    check(text_encoder.encode(text), text_encoder)


def test_proclitics_that_may_be_left_out() -> None:
    words = find_word_table("وبالصين بايدو و الصين")
    assert words.skippable.shape == (4, LONGEST_PROCLITIC + 1)
    assert words.skippable.sum(axis=1).tolist() == [3, 2, 1, 1]  # و وب; ب; nothing is left of و; none


@given(st.text(st.sampled_from("وفبلكسأاصين \u064e\u0640\u200bﻟﷲﻻaé1😀."), max_size=60))
def test_the_beginnings_of_all_words_at_once_are_those_of_each(text: str) -> None:
    table = find_word_table(text)
    for span, letters, skippable in zip(table.spans.tolist(), table.letters, table.skippable, strict=True):
        alone = _beginning(text, *span)
        assert letters.tolist() == alone[0].tolist()
        assert skippable.tolist() == alone[1].tolist()


def test_sentence_bounds() -> None:
    words = find_word_table("واحد اثنان. ثلاثة\nأربعة")
    assert words.sentence_bounds.tolist() == [[0, 3], [3, 4], [4, 5]]
    assert find_word_table("").sentence_bounds.shape == (0, 2)
    assert np.all(np.diff(words.sentence) >= 0)
