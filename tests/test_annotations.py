"""The five articles and what their data card says."""

from __future__ import annotations

import re
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import wasl
from wasl.validation import validate

ROOT = Path(__file__).parents[1]
# Byte for byte as collected.
DIGESTS = {
    "001": "3ff06124f63f64c42d2dd0a8e2997742fe769b3f0d4f34d45edb34ff5d950ddb",
    "002": "a97e9e54dafbf3044d3f2349c1840f73fcd46d91934116d99d8ad0dd0a510713",
    "003": "0f72c0fef438bde176467c4e8cd4d13d095c1f887006dc829f540ddf870e812d",
    "004": "cbba6b87033b10779d9b2c3c89fa92eb2e408f086910b03f50a24bf4260bd985",
    "005": "b5549af4e3f12daabc75b15e6c25b67df598fa96d7f59f067ec594c9d222dfbd",
}


def test_texts_are_untouched() -> None:
    for id_, digest in DIGESTS.items():
        assert sha256((ROOT / "annotations" / f"{id_}.txt").read_bytes()).hexdigest() == digest


def test_all_annotations_can_be_used() -> None:
    found = validate(ROOT / "annotations")
    assert found.problems == ()
    assert found.documents == 5


def test_every_name_is_annotated_at_each_of_its_places(articles: wasl.Corpus) -> None:
    """A name of two or more words, or in Latin letters, is annotated wherever it stands as whole words."""
    for document in articles.documents.values():
        covered = {i for e in document.entities for i in range(e.start, e.end)}
        for name in {e.text for e in document.entities if " " in e.text or e.text.isascii()}:
            at = document.text.find(name)
            while at >= 0:
                before, after = document.text[at - 1 : at], document.text[at + len(name) : at + len(name) + 1]
                if not before.isalnum() and not after.isalnum():
                    assert set(range(at, at + len(name))) <= covered, (name, at)
                at = document.text.find(name, at + 1)


def test_the_data_cards_tables_are_what_the_script_prints() -> None:
    command = [sys.executable, "scripts/annotation_agreement.py", "annotations", "--passes", "annotations/passes/a",
               "annotations/passes/b"]  # fmt: skip
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    card = (ROOT / "annotations" / "README.md").read_text(encoding="utf-8")
    rows = [line for line in printed.splitlines() if line.startswith("|")]
    assert len(rows) > 40
    for row in rows:
        assert row in card, row


def test_the_invented_articles_are_as_their_data_card_says() -> None:
    folder = ROOT / "annotations" / "invented"
    card = (folder / "README.md").read_text(encoding="utf-8")
    found = validate(folder)
    assert found.problems == ()
    entities, relations = found.entities, found.relations
    assert f"# Data card: {found.documents} invented articles" in card
    assert f"{entities.total():,} entities, {relations.total():,} relations" in card
    for label, count in relations.items():
        assert re.search(rf"(?<!\d){count} `{label}`", " ".join(card.split())), label
    command = [sys.executable, "scripts/annotation_agreement.py", "annotations/invented/second-pass", "--passes",
               "annotations/invented", "annotations/invented/second-pass"]  # fmt: skip
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for f1, (first, second, agreed) in (("98.3", (471, 473, 464)), ("92.0", (223, 225, 206))):
        assert f"| **all** | {first} | {second} | {agreed} | {f1} |" in printed
        assert f"({first} and {second}, {agreed} agreed" in card
        assert f1 in card
