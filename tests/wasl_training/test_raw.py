"""Raw articles are read, and what cannot be is named."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import pytest

from wasl.errors import CorpusError
from wasl_training.raw import Article, read_articles


def test_reading_articles(tmp_path: Path) -> None:
    plain, packed = tmp_path / "a.jsonl", tmp_path / "b.jsonl.xz"
    rows = [{"title": "عنوان", "text": "نص", "category": "economy"}, {"text": "نص آخر"}, {"title": "", "text": "ثالث"}]
    content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    plain.write_text(content, encoding="utf-8")
    packed.write_bytes(lzma.compress(content.encode()))
    assert list(read_articles([plain])) == [Article("عنوان\nنص", "economy"), Article("نص آخر"), Article("ثالث")]
    assert list(read_articles([packed, plain], limit=1)) == [Article("عنوان\nنص", "economy")] * 2
    plain.write_text(content + "[]\n", encoding="utf-8")
    with pytest.raises(CorpusError) as caught:
        list(read_articles([plain]))
    assert caught.value.problems[0].line == 4
