"""Annotations are kept without their texts, and come together with them again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import wasl

SCRIPT = Path(__file__).parents[2] / "scripts" / "referenced.py"
ANNOTATIONS = Path(__file__).parents[2] / "annotations"


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True, timeout=120)


@pytest.fixture
def raw(articles: wasl.Corpus, tmp_path: Path) -> Path:
    """The articles as raw ones, with another between them."""
    rows = [{"id": f"x-{id_}", "title": "", "text": d.text} for id_, d in articles.documents.items()]
    rows.insert(2, {"id": "other", "title": "عنوان", "text": "خبر آخر"})
    file = tmp_path / "raw.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return file


def test_packing_and_unpacking(articles: wasl.Corpus, raw: Path, tmp_path: Path) -> None:
    packed, folder = tmp_path / "packed.jsonl", tmp_path / "corpus"
    done = run("pack", ANNOTATIONS, "--texts", raw, "--output", packed)
    assert done.returncode == 0, done.stderr
    content = packed.read_text(encoding="utf-8")
    assert len(content.splitlines()) == len(articles.documents)
    assert content.isascii()  # labels, offsets and ids; nothing of the texts
    done = run("unpack", packed, "--texts", raw, "--schema", ANNOTATIONS / "annotation.conf", "--output", folder)
    assert done.returncode == 0, done.stderr
    found = wasl.read_corpus(folder)
    assert found.documents.keys() == {f"x-{id_}" for id_ in articles.documents}
    for id_, document in articles.documents.items():
        again = found.documents[f"x-{id_}"]
        assert again.text == document.text
        assert [(e.label, e.span) for e in again.entities] == [(e.label, e.span) for e in document.entities]
        assert {(r.label, r.head.span, r.tail.span) for r in again.relations} == {
            (r.label, r.head.span, r.tail.span) for r in document.relations
        }


def test_texts_that_changed_or_are_missing(raw: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed.jsonl"
    assert run("pack", ANNOTATIONS, "--texts", raw, "--output", packed).returncode == 0
    rows = [json.loads(line) for line in raw.read_text(encoding="utf-8").splitlines()]
    rows[0]["text"] += "."
    raw.write_text("".join(json.dumps(row) + "\n" for row in rows[:-1]), encoding="utf-8")
    schema = ANNOTATIONS / "annotation.conf"
    done = run("unpack", packed, "--texts", raw, "--schema", schema, "--output", tmp_path / "corpus")
    assert done.returncode != 0
    assert "packed.jsonl:1" in done.stderr
    assert "another text than was annotated" in done.stderr
    assert "packed.jsonl:5" in done.stderr
    assert "is not among" in done.stderr
    assert run("pack", ANNOTATIONS, "--texts", raw, "--output", packed).returncode != 0
