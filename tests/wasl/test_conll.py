"""Word-level corpora: every faulty line named, clitics glued as Arabic is written, offsets true."""

from __future__ import annotations

from pathlib import Path

import pytest

from wasl.conll import Sentence, glue_clitics, in_documents, read_conll, tag_spans, to_corpus, to_document
from wasl.errors import CorpusError


def sentence(*pairs: str) -> Sentence:
    words, tags = zip(*(p.split("/") for p in pairs), strict=True)
    return Sentence(words, tags, (0,) * len(words))


def test_reading(tmp_path: Path) -> None:
    file = tmp_path / "a.conll"
    file.write_text("\ufeffزار O\nالصين B-LOC B-X\n\n\nمحمد\tB-PER\r\nعلي\tI-PER", encoding="utf-8")
    assert read_conll(file) == [sentence("زار/O", "الصين/B-LOC"), sentence("محمد/B-PER", "علي/I-PER")]


def test_all_faulty_lines_are_named(tmp_path: Path) -> None:
    file = tmp_path / "a.conll"
    file.write_text("زار\nالصين LOC\nو O\n", encoding="utf-8")
    with pytest.raises(CorpusError) as caught:
        read_conll(file)
    assert [(p.cause, p.line) for p in caught.value.problems] == [("no tag", 1), ("not IOB2", 2)]


@pytest.mark.parametrize(
    ("content", "cause"), [(None, "not found"), (b"\xff O\n", "not UTF-8"), (b"\n\n", "empty corpus")]
)
def test_files_that_are_none(tmp_path: Path, content: bytes | None, cause: str) -> None:
    file = tmp_path / "a.conll"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(CorpusError) as caught:
        read_conll(file)
    assert [p.cause for p in caught.value.problems] == [cause]


def test_an_i_after_another_label_begins_an_entity() -> None:
    assert tag_spans(["B-A", "I-B", "I-B", "B-B"]) == [(0, 1, "A"), (1, 3, "B"), (3, 4, "B")]


@pytest.mark.parametrize(
    ("split", "words", "tags", "clitics"),
    [
        (["و/O", "الصين/B-LOC"], ["والصين"], ["B-LOC"], [1]),
        (["ل/O", "الصين/B-LOC"], ["للصين"], ["B-LOC"], [1]),
        (["و/O", "ل/O", "الصين/B-LOC"], ["وللصين"], ["B-LOC"], [2]),
        (["للامم/B-ORG", "المتحدة/I-ORG"], ["للامم", "المتحدة"], ["B-ORG", "I-ORG"], [1, 0]),
        (["وزارة/B-ORG", "المال/I-ORG", "و/I-ORG", "النفط/I-ORG"], ["وزارة", "المال", "والنفط"],
         ["B-ORG", "I-ORG", "I-ORG"], [0, 0, 0]),
        (["(/O", "د/B-ORG", "ب/I-ORG", "ا/I-ORG", ")/O"], ["(", "د", "ب", "ا", ")"],
         ["O", "B-ORG", "I-ORG", "I-ORG", "O"], [0, 0, 0, 0, 0]),
        (["حياة/O", "ه/O"], ["حياته"], ["O"], [0]),
        (["حكومة/B-ORG", "ه/O"], ["حكومة", "ه"], ["B-ORG", "O"], [0, 0]),
        (["ب/O", "343/O"], ["ب", "343"], ["O", "O"], [0, 0]),
        (["قال/O", "و/O"], ["قال", "و"], ["O", "O"], [0, 0]),
    ],
)  # fmt: skip
def test_gluing(split: list[str], words: list[str], tags: list[str], clitics: list[int]) -> None:
    found = glue_clitics(sentence(*split))
    assert (list(found.words), list(found.tags), list(found.clitics)) == (words, tags, clitics)


def test_documents_have_true_offsets() -> None:
    glued = glue_clitics(sentence("زار/O", "و/O", "ل/O", "الصين/B-LOC", "الكبرى/I-LOC", "امس/O"))
    document = to_document([sentence("محمد/B-PER"), glued])
    assert document.text == "محمد\nزار وللصين الكبرى امس"
    assert [(e.label, e.text) for e in document.entities] == [("PER", "محمد"), ("LOC", "لصين الكبرى")]
    for entity in document.entities:
        assert document.text[entity.start : entity.end] == entity.text


def test_corpus_keeps_all_sentences_in_order() -> None:
    sentences = [sentence(f"كلمة{i}/{'B-B' if i % 2 else 'B-A'}") for i in range(95)]
    corpus = to_corpus(sentences)
    assert corpus.schema.entities == ("A", "B")
    assert corpus.schema.relations == ()
    assert "\n".join(d.text for d in corpus.documents.values()).split("\n") == [f"كلمة{i}" for i in range(95)]
    assert [len(part) for part in in_documents(sentences)] == [40, 40, 15]
