"""The staged training, end to end, on what the tests have at hand."""

from __future__ import annotations

import json
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
import torch

import wasl
from wasl.corpus import SCHEMA_FILE, write_document

HELD_OUT = "هذا النص محجوز لا يقرؤه أحد قبل القياس الأخير."
SCRIPTS = Path(__file__).parents[2] / "scripts"
RECIPE = """
base = "a tiny encoder"
corpus = "annotations"
[corpora.plain]
file = "plain.conll"
dev_tail = 0.2
[corpora.split]
file = "split.conll"
clitics = true

[folders]
invented = "invented"

[referenced.packed]
file = "packed.jsonl"
texts = ["more.jsonl"]
dev = 2
[referenced.held-out]
file = "held-out.jsonl"
texts = ["raw.jsonl"]
held_out = true

[[stages]]
name = "mask"
texts = ["raw.jsonl"]
epochs = 2
rate = 1e-3
batch_size = 8
log_steps = 5

[[stages]]
name = "names"
start = "mask"
beside = { plain = 0.5, split = 1.0 }
epochs = 2
encoder_rate = 3e-3
head_rate = 3e-3
batch_size = 8

[[stages]]
name = "joint"
start = "names"
beside = { packed = 1.0, invented = 1.0 }
epochs = 2
encoder_rate = 3e-3
head_rate = 3e-3
batch_size = 8

[[stages]]
name = "labelled"
teachers = ["joint", "names"]
texts = ["raw.jsonl"]
articles = { news = 2, other = 1 }
words = [5, 2000]

[[stages]]
name = "student"
start = "joint"
beside = { labelled = 1.0 }
entities_only = ["labelled"]
epochs = 1
encoder_rate = 3e-3
head_rate = 3e-3
batch_size = 8

[[stages]]
name = "average"
average = ["joint", "student"]
"""


def run(script: str, *arguments: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, SCRIPTS / script, *map(str, arguments)], capture_output=True, text=True, timeout=250
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture
def data(articles: wasl.Corpus, tmp_path: Path) -> Path:
    """The articles as raw text and as two word-level corpora of the same sentences."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "annotations").symlink_to(Path(__file__).parents[2] / "annotations")
    texts = [d.text for d in articles.documents.values()]
    new = [
        "هذا خبر جديد عن شركة في مدينة أخرى.",
        "وقال مدير المصنع أمس إن العمل يبدأ غدا.",
        "فاز الفريق على ضيفه في الملعب.",
    ]
    raw = [
        json.dumps({"id": str(n), "title": "", "text": text, "category": category}, ensure_ascii=False)
        for n, (text, category) in enumerate(zip([*texts, HELD_OUT, *new], ["news"] * 8 + ["other"], strict=True))
    ]
    (folder / "raw.jsonl").write_text("\n".join(raw) + "\n", encoding="utf-8")
    lines = [line for d in articles.documents.values() for line in d.text.splitlines() if len(line.split()) > 8]
    names = {e.text for d in articles.documents.values() for e in d.entities if " " not in e.text}
    plain = [[f"{w} {'B-NAME' if w in names else 'O'}" for w in line.split()] for line in lines]
    (folder / "plain.conll").write_text("\n\n".join("\n".join(s) for s in plain), encoding="utf-8")
    split = [["و O", *s] for s in plain]
    (folder / "split.conll").write_text("\n\n".join("\n".join(s) for s in split), encoding="utf-8")
    return folder


def test_all_stages(articles: wasl.Corpus, data: Path, sentencepiece_encoder: Path, tmp_path: Path) -> None:
    more = [{"id": f"packed-{n}", "text": f"زار وفد رقم {n} مدينة بعيدة"} for n in range(8)]
    (data / "more.jsonl").write_text("".join(json.dumps(row) + "\n" for row in more), encoding="utf-8")
    entity = ["LOC", 15, 20]
    packed = [
        {
            "id": row["id"],
            "sha256": sha256(row["text"].encode()).hexdigest()[:16],
            "entities": [entity],
            "relations": [],
        }
        for row in more
    ]
    (tmp_path / "packed.jsonl").write_text("".join(json.dumps(row) + "\n" for row in packed), encoding="utf-8")
    hash_ = sha256(HELD_OUT.encode()).hexdigest()[:16]
    held_out = {"id": "5", "sha256": hash_, "entities": [], "relations": []}
    (tmp_path / "held-out.jsonl").write_text(json.dumps(held_out) + "\n", encoding="utf-8")
    invented = tmp_path / "invented"  # beside the recipe, not among the data
    invented.mkdir()
    (invented / SCHEMA_FILE).write_text(articles.schema.source, encoding="utf-8")
    write_document(articles.documents["001"], invented, "one")
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE, encoding="utf-8")
    output = tmp_path / "out"
    arguments = (recipe, "--data", data, "--output", output, "--encoder", sentencepiece_encoder)
    printed = run("train_embedded.py", *arguments)
    # The second corpus has the sentences that the first keeps for scoring; they are taken out of it.
    sentences = len((data / "plain.conll").read_text(encoding="utf-8").split("\n\n"))
    kept = round(0.2 * sentences)
    assert f"0 of {sentences - kept} sentences are in a development part; {kept} kept" in printed
    assert f"{kept} of {sentences} sentences are in a development part; 0 kept" in printed
    # Packed annotations are in part for development, in part for the stages that name them.
    kept = [row["id"] for row in more if int(sha256(row["text"].encode()).hexdigest(), 16) % 2 == 0]
    assert 0 < len(kept) < len(more)
    assert all(id_ in printed for id_ in kept)
    rows = json.loads((output / "names.json").read_text(encoding="utf-8"))
    assert len(rows) == 2
    assert set(rows[0]["auxiliary"]) == {"plain"}
    assert json.loads((output / "mask.json").read_text(encoding="utf-8"))[-1]["dev_loss"] > 0
    extractor = wasl.load(output / "embedded")
    assert extractor.config.base == "a tiny encoder"
    assert str(tmp_path) not in (output / "embedded" / "config.json").read_text(encoding="utf-8")
    assert extractor.schema.relation_labels == wasl.read_corpus(data / "annotations").schema.relation_labels
    assert wasl.load(output / "names" / "heads" / "split").schema.entities == ("NAME",)
    labelled = wasl.read_corpus(output / "labelled")
    assert len(labelled.documents) == 3  # of the new articles; the annotated ones are not drawn
    known = {HELD_OUT, *(d.text for d in articles.documents.values())}
    assert not {d.text for d in labelled.documents.values()} & known
    joint, student, mean = (
        wasl.load(output / n, engine="torch").network.tags.weight for n in ("joint", "student", "embedded")
    )
    assert torch.allclose(
        mean, (joint + student) / 2, atol=float(mean.detach().abs().max()) / 127
    )  # it is stored in 8 bits
    assert not torch.allclose(joint, student, atol=float(mean.detach().abs().max()) / 50)
    before = {p: p.stat().st_mtime_ns for p in (output / "student").rglob("*.safetensors")}
    run("train_embedded.py", *arguments)  # all stages are finished: nothing is done again
    assert {p: p.stat().st_mtime_ns for p in (output / "student").rglob("*.safetensors")} == before


def test_token_head_benchmark(data: Path, sentencepiece_encoder: Path, tmp_path: Path) -> None:
    file = data / "plain.conll"
    found = tmp_path / "found" / "figures.json"
    printed = run(
        "benchmark_ner.py", "--train", file, "--dev", file, "--test", file, "--encoder", sentencepiece_encoder,
        "--epochs", "12", "--learning-rate", "5e-3", "--head-learning-rate", "5e-3", "--models", "2", "--json", found,
    )  # fmt: skip
    figures = json.loads(found.read_text(encoding="utf-8"))
    assert figures["micro_f1"] == figures["macro_f1"] > 60  # one label, scored on what it was trained on
    assert f"test: macro F1 {figures['macro_f1']:.2f}" in printed
    assert printed.count("alone: macro F1 ") == 2
    assert "\ndev: macro F1 " in printed
    assert "test, without the development file: macro F1 " in printed
    assert figures["by_label"]["NAME"]["support"] == file.read_text(encoding="utf-8").count("B-NAME")
