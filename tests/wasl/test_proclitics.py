"""Proclitics set apart: which, and that offsets stay those of the raw text."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from wasl.pretrained import EMBEDDED_FOLDER
from wasl.proclitics import ProcliticSplitter
from wasl.text import normalise

SPLITTER = ProcliticSplitter(Tokenizer.from_file(str(EMBEDDED_FOLDER / "tokenizer.json")))


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("هواوي وأوبو وفيفو", "هواوي و أوبو و فيفو"),
        ("للصين", "ل الصين"),
        ("وبالولايات", "و ب الولايات"),
        ("لأمريكا", "ل أمريكا"),
        ("وقالت لشركة", "وقالت لشركة"),  # known as one piece
        ("كاسبيرسكي", "كاسبيرسكي"),  # what follows is no better known
        ("ولد", "ولد"),
        ("Mوأوبو 5وأوبو", "Mوأوبو 5وأوبو"),  # not the beginning of a word
        ("", ""),
    ],
)
def test_what_is_set_apart(text: str, split: str) -> None:
    assert SPLITTER(normalise(text)).text == split


def test_what_is_added_comes_from_the_letter_after_it() -> None:
    text = "قال لِلصِّين"
    found = SPLITTER(normalise(text))
    assert found.text == "قال ل الصين"
    assert [text[i] for i in found.origin] == [*"قال ل", *"لللصين"]


def test_an_unknown_word_is_no_piece(wordpiece_encoder) -> None:  # type: ignore[no-untyped-def]
    splitter = ProcliticSplitter(Tokenizer.from_file(str(wordpiece_encoder / "tokenizer.json")))
    assert splitter(normalise("وڤڤڤڤ وضضضضض")).text == "وڤڤڤڤ و ضضضضض"


@given(st.text(alphabet="وفبلكسأالصينM5 \nَـ،", max_size=60))
def test_only_spaces_and_alifs_are_added(text: str) -> None:
    plain = normalise(text)
    found = SPLITTER(plain)
    assert len(found.text) == len(found.origin)
    assert (np.diff(found.origin) >= 0).all()
    kept = np.r_[True, np.diff(found.origin) > 0] if len(found.origin) else np.zeros(0, dtype=bool)
    last = np.r_[kept[1:], True] if len(kept) else kept  # of the characters from one raw letter, the letter itself
    assert "".join(c for c, keep in zip(found.text, last, strict=True) if keep) == plain.text
