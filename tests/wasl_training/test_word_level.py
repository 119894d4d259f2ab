"""Figures of word-level corpora are seqeval's, of tags that are true to the words."""

from __future__ import annotations

from pathlib import Path

import pytest

import wasl
from wasl.conll import Sentence, to_document
from wasl.document import Document, Entity
from wasl.errors import ArgumentError
from wasl_training.word_level import evaluate_words, read_label_map, word_tags


def words(text: str, tags: str) -> Sentence:
    return Sentence(tuple(text.split()), tuple(tags.split()), (0,) * len(text.split()))


def found(sentences: list[Sentence], *spans: tuple[str, str]) -> Document:
    text = to_document(sentences).text
    entities = [Entity(f"T{i}", label, text.index(s), text.index(s) + len(s), s) for i, (label, s) in enumerate(spans)]
    return Document(text, tuple(entities))


def test_entities_become_tags_of_whole_words() -> None:
    sentences = [words("زار وعلي بابا (Qwen) اليوم", "O O O O O"), words("الصين", "O")]
    document = found(sentences, ("ORG", "علي بابا"), ("MODEL", "Qwen"), ("LOC", "الصين"))
    tags = word_tags(document, sentences, {"ORG": "O1", "MODEL": "M", "LOC": "L"})
    assert tags == [["O", "B-O1", "I-O1", "B-M", "O"], ["B-L"]]
    assert word_tags(document, sentences, {"LOC": "L"}) == [["O"] * 5, ["B-L"]]


def test_neighbours_stay_apart() -> None:
    sentences = [words("الصين الهند", "O O")]
    assert word_tags(found(sentences, ("L", "الصين"), ("L", "الهند")), sentences, {"L": "L"}) == [["B-L", "B-L"]]


class Fixed:
    """Predicts what it is told."""

    def __init__(self, extractor: wasl.Extractor, documents: list[Document]) -> None:
        self.schema = extractor.schema
        self.documents = documents

    def predict_many(self, texts: object) -> list[Document]:
        assert list(texts) == [d.text for d in self.documents]  # type: ignore[call-overload]
        return self.documents


def test_figures(extractor: wasl.Extractor) -> None:
    sentences = [words("محمد في الصين و الهند مع ناس", "B-PERS O B-LOC O B-LOC O B-MISC")]
    document = found(sentences, ("PER", "محمد"), ("LOC", "الصين"), ("ORG", "الهند"))
    figures = evaluate_words(
        Fixed(extractor, [document]),
        sentences,
        {"PER": "PERS", "LOC": "LOC", "ORG": "ORG"},  # type: ignore[arg-type]
    )
    assert figures.left_out == {"MISC": 1}
    assert figures.micro_f1 == pytest.approx(100 * 2 / 3)  # two of three found, two of three right
    assert {k: round(v.f1, 1) for k, v in figures.by_label.items()} == {"PERS": 100.0, "LOC": 66.7, "ORG": 0.0}
    assert figures.macro_f1 == pytest.approx((100 + 200 / 3 + 0) / 3)
    assert figures.to_dict()["by_label"]["LOC"] == {"precision": 100.0, "recall": 50.0, "f1": 66.67, "support": 2}


def test_a_real_extractor_reads_every_word(extractor: wasl.Extractor) -> None:
    sentences = [words("قالت علي بابا في الصين", "O B-ORG I-ORG O B-LOC")] * 50
    figures = evaluate_words(extractor, sentences)
    assert sum(f.support for f in figures.by_label.values()) == 100


def test_label_maps(tmp_path: Path) -> None:
    file = tmp_path / "map.json"
    file.write_text('{"PER": "PERS"}', encoding="utf-8")
    assert read_label_map(str(file), ["PER"]) == {"PER": "PERS"}
    assert read_label_map("PER=PERS,NORP=MISC", ["PER", "NORP"]) == {"PER": "PERS", "NORP": "MISC"}
    for text in ("PER", "PER=", "nothing.json"):
        with pytest.raises(ArgumentError, match="PER=PERS"):
            read_label_map(text, ["PER"])
    with pytest.raises(ArgumentError, match="no label X"):
        read_label_map("X=PERS", ["PER"])
    for bad in ("[1]", '{"PER": 1}', "{"):
        file.write_text(bad, encoding="utf-8")
        with pytest.raises(ArgumentError, match=r"map\.json"):
            read_label_map(str(file), ["PER"])
