"""Reading `annotation.conf`."""

from __future__ import annotations

from pathlib import Path

import pytest

from wasl.errors import SchemaError
from wasl.schema import Schema

FLAT = "[entities]\nPER\nORG\n[relations]\nknows\tArg1:PER, Arg2:PER, <REL-TYPE>:symmetric\nleads\tArg1:PER, Arg2:ORG\n"


def test_the_projects_own(articles) -> None:  # type: ignore[no-untyped-def]
    schema = articles.schema
    assert schema.entities[:3] == ("PER", "ORG", "LOC")
    assert len(schema.relations) == 13
    assert schema.symmetric == {"partner_of", "competes_with", "alias_of"}
    org, money = schema.entities.index("ORG"), schema.entities.index("MONEY")
    amount = schema.relation_labels.index("amount")
    assert schema.allowed[org, money, amount]
    assert not schema.allowed[money, org, amount]


def test_symmetric_pairs_are_allowed_both_ways() -> None:
    schema = Schema.parse("[entities]\nORG\nLOC\n[relations]\nallied\tArg1:ORG, Arg2:LOC, <REL-TYPE>:symmetric\n")
    assert schema.allowed[0, 1, 0]
    assert schema.allowed[1, 0, 0]
    assert not schema.allowed[0, 0, 0]


def test_containment_gives_a_layer_a_label() -> None:
    nested = Schema.parse(FLAT + "<OVERLAP>\tArg1:ORG, Arg2:<ENTITY>, <OVL-TYPE>:contain\n")
    assert nested.may_contain("ORG", "PER")
    assert not nested.may_contain("PER", "ORG")
    assert nested.tag_layers == (("PER",), ("ORG",), ("ORG",))
    assert Schema.parse(FLAT).tag_layers == (("PER", "ORG"),)


def test_macros_comments_and_other_sections_are_understood() -> None:
    schema = Schema.parse(
        "# a comment\n[entities]\nPER\nORG\n!Abstract\n----\n[relations]\n<ANYONE>=PER|ORG\n"
        "knows Arg1:<ANYONE>, Arg2:<ENTITY>\n[events]\nMeeting\tWho:PER\n[attributes]\nNegated\tArg:<ANY>\n"
    )
    assert schema.relations[0].pairs == {(a, b) for a in ("PER", "ORG") for b in ("PER", "ORG")}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("[entities]\nPER\nPER\n", "x.conf:3: .*twice"),
        ("[entities]\nA B\n", "x.conf:2: .*space"),
        ("[entities]\nPER\n[relations]\nr\tArg1:PER, Arg2:LOC\n", "x.conf:4: .*'LOC' is not listed"),
        ("[entities]\nPER\n[relations]\nr\tArg1:PER\n", "x.conf:4: .*needs Arg1 and Arg2"),
        ("[entities]\nPER\n[relations]\nr\tPER -> PER\n", "x.conf:4: cannot read"),
        ("[entity]\nPER\n", "x.conf:1: unknown section"),
        ("PER\n", "x.conf:1: .*before any section"),
        ("", "no entity types"),
        ("[entities]\nPER\n[relations]\n<OVERLAP>\tArg1:PER, Arg2:PER, <OVL-TYPE>:cross\n", "x.conf:4: .*contain"),
        (FLAT + "knows\tArg1:ORG, Arg2:ORG\n", "x.conf:7: .*symmetric on one line"),
    ],
)
def test_what_cannot_be_read_is_named_by_line(source: str, message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        Schema.parse(source, "x.conf")


def test_a_missing_or_broken_file(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"annotation\.conf: not found"):
        Schema.read(tmp_path / "annotation.conf")
    (tmp_path / "annotation.conf").write_bytes(b"[entities]\n\xff\n")
    with pytest.raises(SchemaError, match="not UTF-8 at byte 11"):
        Schema.read(tmp_path / "annotation.conf")
