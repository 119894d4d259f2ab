"""What is written: columns, groups of rows, and that a failed write changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from wasl.document import Document, Entity, Relation
from wasl.errors import ArgumentError
from wasl.inputs import Input
from wasl.outputs import GROUP_ROWS, Format, check_output, to_line, write_output

ENTITIES = (Entity("T1", "ORG", 0, 5, "هواوي", 0.5), Entity("T2", "LOC", 9, 14, "الصين", 0.25))
DOCUMENT = Document("هواوي في الصين", ENTITIES, (Relation("R1", "based_in", *ENTITIES, 0.125),))


def test_a_line_carries_the_id_of_its_record() -> None:
    assert list(json.loads(to_line(Input("a.txt", DOCUMENT.text), DOCUMENT))) == [
        "source",
        "text",
        "entities",
        "relations",
    ]
    line = json.loads(to_line(Input("a:1", DOCUMENT.text, {"n": 1}), DOCUMENT))
    assert (line.pop("source"), line.pop("id")) == ("a:1", {"n": 1})
    assert Document.from_dict(line) == DOCUMENT


def test_parquet_has_the_same_records_in_bounded_groups_and_the_same_bytes(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    ids = [None, "a", 7, *range(GROUP_ROWS)]
    lines = [to_line(Input(f"a.jsonl:{i}", DOCUMENT.text, id_), DOCUMENT) for i, id_ in enumerate(ids)]
    one, two = tmp_path / "one.parquet", tmp_path / "two.parquet"
    write_output(lines, one, Format.parquet)
    write_output(iter(lines), two, Format.parquet)
    assert one.read_bytes() == two.read_bytes()
    rows = parquet.read_table(one).to_pylist()
    assert [row.pop("id") for row in rows] == [None, "a", "7", *map(str, range(GROUP_ROWS))]
    assert [row.pop("source") for row in rows] == [f"a.jsonl:{i}" for i in range(len(ids))]
    assert all(Document.from_dict(row) == DOCUMENT for row in rows)
    assert parquet.ParquetFile(one).metadata.num_row_groups == 2
    write_output([], one, Format.parquet)
    assert parquet.read_table(one).num_rows == 0


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    output.write_text("old", encoding="utf-8")

    def broken() -> Iterator[str]:
        yield "{}"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_output(broken(), output, Format.jsonl)
    assert output.read_text(encoding="utf-8") == "old"


def test_an_output_that_cannot_be_written_is_known_at_once(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="add --output FILE"):
        check_output(Format.parquet, None)
    with pytest.raises(ArgumentError, match="a folder, but jsonl is written to a file"):
        check_output(Format.jsonl, tmp_path)
