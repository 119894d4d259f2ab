"""Corpora, good and bad: each fault has its own cause, place and remedy, and nothing is lost in silence."""

from __future__ import annotations

from pathlib import Path

import pytest

from wasl.corpus import read_corpus, write_document
from wasl.errors import CorpusError, summarise

CONF = (
    "[entities]\nORG\nLOC\n[relations]\nbased_in\tArg1:ORG, Arg2:LOC\nrival\tArg1:ORG, Arg2:ORG, <REL-TYPE>:symmetric\n"
)
TEXT = "شركة هواوي في الصين.\nوتنافس هواوي شركة آبل."
GOOD = "T1\tORG 5 10\tهواوي\nT2\tLOC 14 19\tالصين\nT3\tORG 28 33\tهواوي\nT4\tORG 39 42\tآبل\nR1\tbased_in Arg1:T1 Arg2:T2\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "annotation.conf").write_text(CONF, encoding="utf-8")
    (tmp_path / "a.txt").write_text(TEXT, encoding="utf-8")
    (tmp_path / "a.ann").write_text(GOOD, encoding="utf-8")
    return tmp_path


def problems(folder: Path) -> list[str]:
    with pytest.raises(CorpusError) as raised:
        read_corpus(folder)
    return [str(p).removeprefix(f"{folder}/") for p in raised.value.problems]


def test_a_good_corpus(folder: Path) -> None:
    corpus = read_corpus(folder)
    document = corpus.documents["a"]
    assert [e.text for e in document.entities] == ["هواوي", "الصين", "هواوي", "آبل"]
    assert [(r.head.text, r.label, r.tail.text) for r in document.relations] == [("هواوي", "based_in", "الصين")]
    assert corpus.counts()[0] == {"ORG": 3, "LOC": 1}


def test_what_is_written_is_read_back(folder: Path) -> None:
    document = read_corpus(folder).documents["a"]
    write_document(document, folder, "b")
    assert read_corpus(folder).documents["b"] == document
    assert (folder / "b.ann").read_text(encoding="utf-8") == GOOD


def test_symmetric_relations_are_stored_in_text_order(folder: Path) -> None:
    (folder / "a.ann").write_text(GOOD + "R2\trival Arg1:T4 Arg2:T3\n", encoding="utf-8")
    relation = read_corpus(folder).documents["a"].relations[1]
    assert (relation.head.id, relation.tail.id) == ("T3", "T4")


def test_notes_and_attributes_are_passed_over(folder: Path) -> None:
    (folder / "a.ann").write_text(GOOD + "#1\tAnnotatorNotes T1\tcheck\nA1\tSure T1\n", encoding="utf-8")
    assert len(read_corpus(folder).documents["a"].entities) == 4


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("T9\tORG 4 9\tهواوي", r"a.ann:6: misaligned offsets \(offset 4\): T9: .*it stands at 5-10.*code points"),
        ("T9\tORG 5 9\tسوني", r"a.ann:6: misaligned offsets .*does not occur"),
        ("T9\tORG 40 99\tهواوي", r"a.ann:6: offsets out of range \(offset 40\).*43 code points"),
        ("T9\tCITY 34 38\tشركة", r"a.ann:6: unknown label \(offset 34\): .*'CITY'.*lists ORG, LOC"),
        ("T9\tLOC 34 42\tشركة آبل", r"a.ann:\d: overlapping entities \(offset \d+\): .*keep the longest.*<OVERLAP>"),
        ("T9\tORG 34 38;39 42\tشركة آبل", r"a.ann:6: discontinuous span \(offset 34\): .*34 38;39 42.*one stretch"),
        ("T9\tORG 33 38\t شركة", r"a.ann:6: span ends in white space"),
        ("T9\tORG 34-38\tشركة", r"a.ann:6: malformed line: .*expected `T1<TAB>LABEL start end<TAB>text`"),
        ("T1\tORG 34 38\tشركة", r"a.ann:6: duplicate id .*T1"),
        ("R9\tbased_in Arg1:T1 Arg2:T7", r"a.ann:6: dangling relation: R9 \(based_in\) names T7"),
        ("R9\tbased_in Arg1:T2 Arg2:T1", r"a.ann:6: forbidden argument types .*based_in may not link LOC .* to ORG"),
        ("R9\towns Arg1:T3 Arg2:T4", r"a.ann:6: unknown label .*'owns'.*lists based_in, rival"),
        ("R9\tbased_in T1 T2", r"a.ann:6: malformed line: .*expected `R1<TAB>label Arg1:T1 Arg2:T2`"),
        ("R9\tbased_in Arg1:T1 Arg2:T2", r"a.ann:6: duplicate relation"),
        ("E1\tMeeting:T1", r"a.ann:6: unsupported annotation"),
    ],
)
def test_a_bad_line_is_named_and_only_it_is_skipped(folder: Path, line: str, expected: str) -> None:
    import re

    (folder / "a.ann").write_text(GOOD + line + "\n", encoding="utf-8")
    found = problems(folder)
    assert len(found) == 1
    assert re.search(expected, found[0], re.DOTALL), found[0]
    kept = read_corpus(folder, skip_invalid=True)
    assert len(kept.documents["a"].relations) == 1
    assert len(kept.documents["a"].entities) == 4
    assert summarise(kept.problems).startswith("1 annotation cannot be used")


def test_relations_of_a_skipped_entity_are_reported_too(folder: Path) -> None:
    (folder / "a.ann").write_text(GOOD.replace("LOC 14 19", "LOC 13 18"), encoding="utf-8")
    assert [p.split(": ")[1].split(" (")[0] for p in problems(folder)] == ["misaligned offsets", "dangling relation"]


def test_missing_text(folder: Path) -> None:
    (folder / "a.txt").unlink()
    assert problems(folder) == ["a.ann: missing text: there is no a.txt beside it"]


def test_missing_annotations(folder: Path) -> None:
    (folder / "b.txt").write_text("نص", encoding="utf-8")
    assert "b.txt: missing annotations" in problems(folder)[0]


def test_not_utf8(folder: Path) -> None:
    (folder / "a.txt").write_bytes("سطر\nنص".encode("cp1256"))
    assert "a.txt:1: not UTF-8: byte 0xD3 at byte 0; save it as UTF-8" in problems(folder)[0]


def test_crlf_text_under_offsets_of_lf_text(folder: Path) -> None:
    (folder / "a.txt").write_bytes(TEXT.replace("\n", "\r\n").encode())
    found = problems(folder)
    assert len(found) == 2
    assert all("CRLF line ends" in p and "convert the .txt back to LF" in p for p in found)


def test_crlf_text_with_offsets_of_its_own_is_fine(folder: Path) -> None:
    (folder / "a.txt").write_bytes(TEXT.replace("\n", "\r\n").encode())
    shifted = GOOD.replace("28 33", "29 34").replace("39 42", "40 43").replace("\n", "\r\n")
    (folder / "a.ann").write_bytes(shifted.encode())
    assert [e.text for e in read_corpus(folder).documents["a"].entities] == ["هواوي", "الصين", "هواوي", "آبل"]


def test_an_empty_folder_and_no_folder(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"empty corpus: no .txt and no .ann file"):
        read_corpus(tmp_path)
    with pytest.raises(CorpusError, match="not a folder"):
        read_corpus(tmp_path / "nowhere")


def test_nesting_where_the_schema_allows_it(folder: Path) -> None:
    nested = GOOD + "T9\tORG 34 42\tشركة آبل\n"
    (folder / "a.ann").write_text(nested, encoding="utf-8")
    assert "overlapping entities" in problems(folder)[0]
    overlap = "<OVERLAP>\tArg1:ORG, Arg2:ORG, <OVL-TYPE>:contain\n"
    (folder / "annotation.conf").write_text(CONF + overlap, encoding="utf-8")
    assert len(read_corpus(folder).documents["a"].entities) == 5
    (folder / "a.ann").write_text(GOOD + "T9\tORG 37 41\tة آب\n", encoding="utf-8")
    assert "may not cross" in problems(folder)[0]


def test_selecting_documents(articles) -> None:  # type: ignore[no-untyped-def]
    assert list(articles.select(["002", "004"]).documents) == ["002", "004"]
    assert list(articles.select(without=["002"]).documents) == ["001", "003", "004", "005"]
    with pytest.raises(CorpusError, match=r"no 009\.txt; there are 001, 002"):
        articles.select(["009"])
