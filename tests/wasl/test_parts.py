"""The cut of an archive, and the finished parts that are kept for a resumed run."""

from __future__ import annotations

from pathlib import Path

import pytest

from wasl.errors import ArgumentError
from wasl.inputs import Input, Record, Unreadable
from wasl.parts import Part, PartFolder, PartResult, cut

RECORDS: list[Record] = [Input(f"a:{i}", "x" * i, i, size=10) for i in range(7)]
RECORDS.insert(2, Unreadable("a:bad", "why", size=10))


def test_a_cut_keeps_all_records_in_order_and_bounds_each_part() -> None:
    parts = list(cut(RECORDS, count=3, characters=9))
    assert [r for part in parts for r in part.records] == RECORDS
    assert [len(p.records) for p in parts] == [3, 3, 2]
    assert [len(p.records) for p in cut(RECORDS, count=100, characters=9)] == [6, 2]
    assert [p.number for p in parts] == [0, 1, 2]
    assert parts[0].place == "a:0 to a:bad"
    assert parts[0].size == 30


@pytest.fixture
def begun(tmp_path: Path) -> tuple[PartFolder, list[Part]]:
    """A folder with the first two of three parts in it."""
    folder = PartFolder(tmp_path / "out", {"model": "m", "batch_size": 32})
    folder.open(resume=False)
    parts = list(cut(RECORDS, count=3))
    for part in parts[:2]:
        bad = tuple(r for r in part.records if isinstance(r, Unreadable))
        folder.put(part.digest(), PartResult(part.number, (f'{{"n": {part.number}}}', "\u2028"), bad, part.size))
    return folder, parts


def test_finished_parts_are_taken_up(begun: tuple[PartFolder, list[Part]]) -> None:
    folder, parts = begun
    again = PartFolder(folder.output, folder.identity)
    again.open(resume=True)
    assert again.get(parts[0]) == PartResult(0, (), (Unreadable("a:bad", "why"),), 30, resumed=True)
    assert again.get(parts[2]) is None
    assert list(again.lines(2)) == ['{"n": 0}', "\u2028", '{"n": 1}', "\u2028"]
    again.remove()
    assert not again.folder.exists()


def test_without_resume_all_is_begun_again(begun: tuple[PartFolder, list[Part]]) -> None:
    folder, parts = begun
    folder.open(resume=False)
    assert folder.get(parts[0]) is None


def test_other_settings_and_other_inputs_are_refused(begun: tuple[PartFolder, list[Part]]) -> None:
    folder, parts = begun
    with pytest.raises(ArgumentError, match=r"out\.parts: begun with another model \(\"m\", now \"n\"\)"):
        PartFolder(folder.output, {**folder.identity, "model": "n"}).open(resume=True)
    with pytest.raises(ArgumentError, match="begun with other inputs, a:0 changed"):
        folder.get(Part(0, (Input("a:0", "other"),)))
    with pytest.raises(ArgumentError, match="there were more"):
        list(folder.lines(1))
    assert folder.get(parts[1])


def test_a_damaged_part_is_done_again(begun: tuple[PartFolder, list[Part]]) -> None:
    folder, parts = begun
    (folder.folder / "000001").write_bytes(b'{"dig')
    assert folder.get(parts[1]) is None


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out.parts").mkdir()
    (tmp_path / "out.parts" / "001").write_text("mine", encoding="utf-8")
    with pytest.raises(ArgumentError, match="not made by wasl"):
        PartFolder(tmp_path / "out", {}).open(resume=False)
    assert (tmp_path / "out.parts" / "001").exists()
