"""Texts from files and folders: order, places, and what is said of those that cannot be read."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import pytest

from wasl.errors import ArgumentError
from wasl.inputs import Input, Unreadable, check_files, find_files, read_inputs


def read(path: Path, text_field: str = "text") -> list[tuple[str, str, object]]:
    return [
        (r.source.removeprefix(str(path)), r.text if isinstance(r, Input) else r.why, getattr(r, "id", "bad"))
        for r in read_inputs([path], text_field=text_field)
    ]


def test_jsonl_with_a_field_of_another_name(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    records = [
        {"body": "الصين", "id": 7},
        {"text": "هواوي"},
        {"body": "آبل", "id": {"n": [1]}},
        {"body": "لا", "id": None},
    ]
    path.write_text("\ufeff" + "".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    found = read(path, "body")
    assert [(place, id_) for place, _, id_ in found] == [(":1", 7), (":2", "bad"), (":3", {"n": [1]}), (":4", None)]
    assert found[1][1] == 'no "body" in it; expected {"body": "..."}, or name another with --text-field'


def test_an_id_that_cannot_be_written_is_a_bad_record(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "آبل", "id": "\\ud800"}\n', encoding="utf-8")
    assert read(path) == [
        (":1", '"id" cannot be written again: it holds half a character, or nests without end', "bad")
    ]


def test_csv(tmp_path: Path) -> None:
    path, long = tmp_path / "a.csv", "هواوي " * 30_000  # longer than the csv module reads by itself
    path.write_bytes(
        "\ufeffid,text\r\n".encode()
        + 'a,"سطر، ""اقتباس""\nوسطر"\r\n'.encode()
        + b"b,\xff\n"
        + "c,واحد,اثنان\n\nd\n".encode()
        + f"e,{long}\n".encode()
        + 'f,"لا "نهاية\ng,الصين\n'.encode()
    )
    found = read(path)
    assert [place for place, _, _ in found] == [":2", ":3", ":4", ":6", ":7", ":8", ":9"]
    assert found[0] == (":2", 'سطر، "اقتباس"\nوسطر', "a")
    assert found[1][1].startswith("not UTF-8: byte 0xFF at byte 0")
    assert found[2][1] == "3 fields where the header has 2; quote a text that holds commas or line breaks"
    assert found[3][2] == "bad"
    assert found[4][1] == long
    assert found[5][1].startswith("not CSV: ")
    assert found[6] == (":9", "الصين", "g")


def test_a_quote_that_is_never_closed_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text\nالصين\n"هواوي\nآبل\n', encoding="utf-8")
    assert [(place, id_) for place, _, id_ in read(path)] == [(":2", None), (":3", "bad")]


def test_parquet(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    texts = [f"نص {i}" for i in range(700)]
    parquet.write_table(
        pa.table({"n": range(700), "id": range(700), "body": [*texts[:-1], None]}), path, row_group_size=300
    )
    found = read(path, "body")
    assert found[:2] == [(":1", "نص 0", 0), (":2", "نص 1", 1)]
    assert [text for _, text, _ in found[:-1]] == texts[:-1]
    assert found[-1] == (":700", "no text in it: null", "bad")
    parquet.write_table(pa.table({"text": [1, 2]}), path)
    assert "expected a string, got int" in read(path)[0][1]
    path.write_bytes(b"PAR1 no more")
    assert read(path)[0][1].startswith("cannot be read as Parquet: ")


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_column_that_is_not_there_stops_at_once(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    if suffix == "csv":
        path.write_text("id,body\n1,الصين\n", encoding="utf-8")
    else:
        pa = pytest.importorskip("pyarrow")
        pytest.importorskip("pyarrow.parquet").write_table(pa.table({"id": [1], "body": ["الصين"]}), path)
    for reading in (check_files, lambda files, field: list(read_inputs(files, text_field=field))):
        with pytest.raises(ArgumentError, match=rf'a.{suffix}: no column "text" in it; its columns are id, body'):
            reading([path], "text")
    assert check_files([path], "body") == path.stat().st_size


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    path = tmp_path / "a.parquet"
    path.write_bytes(b"")
    with pytest.raises(ArgumentError, match=r"pip install 'wasl\[archive\]'"):
        check_files([path])


def test_a_folder_is_read_in_order_without_what_is_hidden(tmp_path: Path) -> None:
    for name in ("b.txt", "a/z.jsonl", "a/a.TXT", "c.csv", ".hidden.txt", ".git/a.txt", "notes.md", "out.jsonl"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("text\n", encoding="utf-8")
    (tmp_path / "empty").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path)
    found = list(find_files([tmp_path], leave_out=tmp_path / "out.jsonl"))
    assert [str(p.relative_to(tmp_path)) for p in found] == ["a/a.TXT", "a/z.jsonl", "b.txt", "c.csv"]
    (nothing,) = read_inputs([tmp_path / "empty"])
    assert nothing == Unreadable(str(tmp_path / "empty"), "no .txt, .jsonl, .csv or .parquet file in this folder")


def test_records_are_read_as_they_are_asked_for() -> None:
    endless = (f"نص {i}\n".encode() for i in itertools.count())
    first = list(itertools.islice(read_inputs([], endless), 3))
    assert [r.source for r in first] == ["standard input:1", "standard input:2", "standard input:3"]
    assert next(endless) == "نص 3\n".encode()


def test_a_file_name_that_is_not_utf8_can_still_be_written(tmp_path: Path) -> None:
    path = Path(str(tmp_path) + "/\udcff.txt")
    path.write_text("الصين", encoding="utf-8")
    (record,) = read_inputs([path])
    assert record.source.encode().endswith(b"\\udcff.txt")
