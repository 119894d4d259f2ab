"""Normalisation with its index map, words and sentences."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wasl.errors import TextError
from wasl.text import (
    check_text,
    find_sentences,
    find_words,
    letters_to_skip,
    normalise,
    skip_letters,
    starts_inside_word,
)

MIXED = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.sampled_from('ابتثجحخدذرزسشصضطظعغفقكلمنهويءآأإؤئىةًٌٍَُِّْٰـ\u200f\u200e\u202b\u2069\u200d\ufeffﷲﻻﺍ😀🇸🇦 .،؛؟!\n"«»”'),
    ),
    max_size=200,
)


def words_of(text: str) -> list[str]:
    return [text[a:b] for a, b in find_words(text)]


@pytest.mark.parametrize(
    ("raw", "plain"),
    [
        ("الصِّيــن", "الصين"),
        ("\u200fواشنطن\u202c", "واشنطن"),
        ("ﷲ ﻻ", "الله لا"),
        ("ﻣﺼﺮ", "مصر"),
        ("", ""),
        ("لـ”آبل“", "ل”آبل“"),
    ],
)
def test_normalise(raw: str, plain: str) -> None:
    assert normalise(raw).text == plain


@given(MIXED)
def test_normalise_maps_every_character_to_where_it_came_from(text: str) -> None:
    result = normalise(text)
    assert len(result.origin) == len(result.text)
    assert (result.origin[1:] >= result.origin[:-1]).all()
    for character, at in zip(result.text, result.origin, strict=True):
        assert character == text[at] or character in unicodedata.normalize("NFKC", text[at])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("وMistral الأوروبية", ["و", "Mistral", "الأوروبية"]),
        ("H20، بي800", ["H20", "،", "بي", "800"]),
        ("1.2 مليار؛ ٢٫٨%", ["1.2", "مليار", "؛", "٢٫٨", "%"]),
        (
            "“علي بابا”.",
            [
                "“",
                "علي",
                "بابا",
                "”",
                ".",
            ],
        ),
        ("لـ”تيزهن", ["لـ", "”", "تيزهن"]),
        ("الصِّين\u200f 2018", ["الصِّين", "2018"]),
        ("a\u200db", ["a\u200db"]),
        ("#النقد_العربي", ["#", "النقد", "_", "العربي"]),
        (" \n\t", []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@given(MIXED)
def test_words_cover_all_that_is_visible_and_do_not_overlap(text: str) -> None:
    spans = find_words(text)
    assert (spans[:, 0] < spans[:, 1]).all()
    assert (spans[1:, 0] >= spans[:-1, 1]).all()
    covered = {i for a, b in spans for i in range(a, b)}
    for i, character in enumerate(text):
        if not character.isspace() and unicodedata.category(character)[0] in "LNPS":
            assert i in covered or character == "ـ" or character == "\u061c", (i, character)


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("قال: “نعم.” ثم مضى. وعاد!", ["قال: “نعم.”", "ثم مضى.", "وعاد!"]),
        ("بنسبة 1.2 في المئة.\nعنوان\n\nنص", ["بنسبة 1.2 في المئة.", "عنوان", "نص"]),
        ("ج. ك. رولينغ كاتبة. انتهى", ["ج. ك. رولينغ كاتبة.", "انتهى"]),
        ("هل؟ نعم؛ ربما", ["هل؟", "نعم؛", "ربما"]),
        ("", []),
    ],
)
def test_sentences(text: str, sentences: list[str]) -> None:
    assert [text[a:b] for a, b in find_sentences(text)] == sentences


def test_long_runs_of_marks_take_no_time() -> None:
    started = time.monotonic()
    assert len(find_sentences("." * 200_000 + "x")) == 1
    assert len(find_sentences("؟" * 100_000 + "»" * 100_000 + " x")) == 2
    assert time.monotonic() - started < 10  # minutes, if time grew with the square


@given(MIXED)
def test_every_word_is_in_one_sentence(text: str) -> None:
    sentences = find_sentences(text)
    for start, end in find_words(text):
        assert ((sentences[:, 0] <= start) & (end <= sentences[:, 1])).sum() == 1


@given(MIXED)
def test_skipping_letters_and_counting_them_agree(text: str) -> None:
    for start, end in find_words(text):
        for count in range(5):
            offset = skip_letters(text, start, end, count)
            assert start <= offset <= end
            if offset < end:
                assert letters_to_skip(text, start, offset) == count


def test_skipping_a_proclitic_skips_its_tatweel_and_marks() -> None:
    assert skip_letters("لـإنفيديا", 0, 9, 1) == 2
    assert skip_letters("وَبالصين", 0, 8, 2) == 3


@pytest.mark.parametrize(
    ("text", "offset", "inside"),
    [
        ("وبايت", 1, True),
        ("و بايت", 2, False),
        ("وMeta", 1, True),
        ("“بايت", 1, False),
        ("بايت", 0, False),
        ("ا_ب", 2, False),
    ],
)
def test_starts_inside_word(text: str, offset: int, inside: bool) -> None:
    assert starts_inside_word(text, offset) is inside


def test_lone_surrogates_are_refused_with_their_place() -> None:
    with pytest.raises(TextError, match=r"U\+D83D at offset 4.*UTF-8"):
        check_text("نص: \ud83d")
    with pytest.raises(TextError, match="got bytes"):
        check_text("نص".encode())  # type: ignore[arg-type]
