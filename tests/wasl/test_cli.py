"""The command line, as users run it: exit status, standard streams, files."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import wasl
from wasl.archive import PredictSettings, predict_archive
from wasl.parts import PartResult

ANNOTATIONS = Path(__file__).parents[2] / "annotations"


def run(*arguments: object, stdin: bytes = b"", code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from wasl.cli import main; main()", *map(str, arguments)]
    done = subprocess.run(command, input=stdin, capture_output=True, check=False)
    result = subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())
    assert result.returncode == code, result.stdout + result.stderr
    return result


def test_validate_a_good_corpus() -> None:
    out = run("validate", ANNOTATIONS).stdout
    assert "288 entities, 74 relations can be used" in out
    assert "5 documents" in out


def test_validate_names_every_fault(tmp_path: Path) -> None:
    (tmp_path / "annotation.conf").write_text("[entities]\nLOC\n", encoding="utf-8")
    (tmp_path / "a.txt").write_text("زار الصين", encoding="utf-8")
    (tmp_path / "a.ann").write_text("T1\tLOC 4 8\tالصين\nT2\tORG 0 3\tزار\nT3\tLOC 4 8\tالصي\n", encoding="utf-8")
    out = run("validate", tmp_path, code=1).stdout
    for expected in ("a.ann:1: misaligned offsets", "a.ann:2: unknown label", "ends inside a word (offset 4)"):
        assert expected in out
    assert "3 annotations cannot be used" in out


def test_an_error_is_a_message_not_a_traceback(tmp_path: Path) -> None:
    found = run("validate", tmp_path, code=2)
    assert found.stderr.startswith(f"wasl: {tmp_path}: empty corpus")
    assert "Traceback" not in found.stderr


def test_predict_lines(graphs_folder: Path) -> None:
    stdin = 'شركة علي بابا في الصين\n\n{"text": "وهواوي"}\n'.encode()
    out = run("predict", "--model", graphs_folder, stdin=stdin).stdout.splitlines()
    documents = [wasl.Document.from_dict(json.loads(line)) for line in out]
    assert [d.text for d in documents] == ["شركة علي بابا في الصين", "وهواوي"]
    assert json.loads(out[1])["source"] == "standard input:3"


def test_a_bad_text_is_reported_and_the_others_are_read(graphs_folder: Path, tmp_path: Path) -> None:
    good, bad, lines = tmp_path / "good.txt", tmp_path / "bad.txt", tmp_path / "many.jsonl"
    good.write_text("الصين", encoding="utf-8")
    bad.write_bytes(b"\xff\xfe")
    lines.write_text(
        '{"text": "هواوي"}\n{"body": 1}\n{"text": "\\ud800"}\nnonsense\n{"text": "آبل"}\n', encoding="utf-8"
    )
    output = tmp_path / "out.jsonl"
    found = run(
        "predict", good, bad, tmp_path / "none.txt", lines, "--model", graphs_folder, "--output", output, code=1
    )
    assert [json.loads(line)["text"] for line in output.read_text(encoding="utf-8").splitlines()] == [
        "الصين",
        "هواوي",
        "آبل",
    ]
    for expected in (f"{bad}: not UTF-8", "none.txt: no such file", 'many.jsonl:2: no "text"', "many.jsonl:3: lone surrogate",
                     "many.jsonl:4: not JSON", "5 texts could not be read"):  # fmt: skip
        assert expected in found.stderr
    assert "texts/s" not in found.stderr  # standard error is no terminal
    assert not output.with_name("out.jsonl.part").exists()


def test_resume_takes_up_what_was_finished(graphs_folder: Path, tmp_path: Path) -> None:
    lines, output = tmp_path / "many.jsonl", tmp_path / "out.jsonl"
    lines.write_text("".join(json.dumps({"body": f"هواوي {i}"}) + "\n" for i in range(300)), encoding="utf-8")
    settings = PredictSettings(str(graphs_folder), text_field="body")

    def stop(_: PartResult) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_archive([lines], output, settings, progress=stop)
    part = tmp_path / "out.jsonl.parts" / "000000"
    part.write_text(part.read_text(encoding="utf-8").replace("هواوي 7", "kept"), encoding="utf-8")
    run("predict", lines, "--model", graphs_folder, "--output", output, "--text-field", "body", "--resume")
    texts = [json.loads(line)["text"] for line in output.read_text(encoding="utf-8").splitlines()]
    assert len(texts) == 300
    assert texts[7] == "kept"
    assert not part.parent.exists()
    assert "--resume goes with" in run("predict", lines, "--resume", code=2).stderr


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_progress_is_shown_on_a_terminal(graphs_folder: Path, tmp_path: Path) -> None:
    import pty

    folder = tmp_path / "news"
    folder.mkdir()
    for i in range(3):
        (folder / f"{i}.txt").write_text("زارت شركة هواوي الصين", encoding="utf-8")
    (folder / "bad.txt").write_bytes(b"\xff")
    command = [sys.executable, "-c", "from wasl.cli import main; main()", "predict", folder, "--model", graphs_folder,
               "--output", tmp_path / "out.jsonl"]  # fmt: skip
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "150", "TERM": "xterm"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # the other end is closed
        while piece := os.read(ours, 4096):
            shown += piece
    os.close(ours)
    assert process.communicate()[0] == b""
    assert process.returncode == 1
    for expected in (b"4 texts", b"texts/s", b"left", b"bad.txt: not UTF-8"):
        assert expected in shown


def test_predict_brat_makes_a_corpus(graphs_folder: Path, tmp_path: Path, articles: wasl.Corpus) -> None:
    run(
        "predict",
        *sorted(ANNOTATIONS.glob("*.txt")),
        "--model",
        graphs_folder,
        "--format",
        "brat",
        "--output",
        tmp_path / "c",
    )
    corpus = wasl.read_corpus(tmp_path / "c")
    assert list(corpus.documents) == ["001", "002", "003", "004", "005"]
    assert corpus.schema.entities == articles.schema.entities
    assert all(corpus.documents[i].text == d.text for i, d in articles.documents.items())


def test_predict_html_and_whole_standard_input(graphs_folder: Path, tmp_path: Path) -> None:
    page = run("predict", "--model", graphs_folder, "--format", "html", "--whole", stdin="الصين\nهواوي".encode()).stdout
    assert page.startswith("<!doctype html>")
    found = run("predict", "--model", graphs_folder, "--format", "html", stdin="الصين\nهواوي".encode(), code=2)
    assert "add --output FOLDER" in found.stderr


def test_predict_without_a_model_uses_the_embedded_one() -> None:
    (line,) = run("predict", stdin="افتتحت شركة هواوي مكتبا في الصين\n".encode()).stdout.splitlines()
    assert [(e["label"], e["text"]) for e in json.loads(line)["entities"]] == [("ORG", "هواوي"), ("LOC", "الصين")]


def test_train_evaluate_and_crossval(wordpiece_encoder: Path, tmp_path: Path) -> None:
    common = ["--encoder", wordpiece_encoder, "--epochs", 2, "--max-pieces", 64]
    model = tmp_path / "model"
    out = run("train", ANNOTATIONS, "--output", model, "--holdout", "004", "--seed", 5, *common).stdout
    assert "epoch" in out
    assert "    2 " in out
    card = (model / "README.md").read_text(encoding="utf-8")
    assert "wasl train" in card
    assert "Trained on 4 documents: 001, 002, 003, 005." in card

    run("evaluate", model, ANNOTATIONS, "--documents", "004", "--json", tmp_path / "e.json")
    found = json.loads((tmp_path / "e.json").read_text())
    assert set(found) == {"entities", "relations", "relations_given_gold", "clitic_starts", "calibration_error"}
    assert 0 <= found["calibration_error"]["entities"] <= 100
    assert found["entities"]["support"] == 42
    assert found["entities"]["ci95"] is None

    two = tmp_path / "two"
    two.mkdir()
    for name in ("001.txt", "001.ann", "005.txt", "005.ann", "annotation.conf"):
        (two / name).write_bytes((ANNOTATIONS / name).read_bytes())
    run("crossval", two, "--output", tmp_path / "cv", "--seeds", 1, "--json", tmp_path / "c.json", *common)
    found = json.loads((tmp_path / "c.json").read_text())
    assert set(found["per_document"]) == {"001", "005"}
    assert len(found["entities"]["ci95"]) == 2


@pytest.mark.parametrize("command", ["train", "evaluate", "crossval", "predict", "validate"])
def test_help(command: str) -> None:
    assert f"{command} [OPTIONS]" in run(command, "--help").stdout


def test_training_as_a_module_for_accelerate(wordpiece_encoder: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "wasl_training", ANNOTATIONS, "--output", tmp_path / "m", "--encoder", wordpiece_encoder,
         "--epochs", "1", "--max-pieces", "64"],
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    assert wasl.load(tmp_path / "m").schema.entities[0] == "PER"


def test_training_in_two_processes(wordpiece_encoder: Path, tmp_path: Path) -> None:
    """Two processes with steps of two windows each learn what one with steps of four learns, dropout aside."""
    # `--multi_gpu` starts the processes; without a GPU they train on the CPU and talk through gloo. `--cpu` would start one.
    launch = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
              "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0", "-m", "wasl_training"]  # fmt: skip
    options = [ANNOTATIONS, "--encoder", wordpiece_encoder, "--epochs", "4", "--dev", "002", "--max-pieces", "64",
               "--learning-rate", "2e-3"]  # fmt: skip
    losses = {}
    for name, program, size in (("two", launch, 2), ("one", ["-m", "wasl_training"], 4)):
        command = [sys.executable, *program, *options, "--output", tmp_path / name, "--batch-size", str(size)]
        done = subprocess.run(command, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        out = done.stdout.decode()
        assert out.count("epoch     loss") == 1  # only the first process prints
        losses[name] = [float(row[1]) for line in out.splitlines() if (row := line.split()) and row[0] in "1234"]
    assert len(losses["two"]) == len(losses["one"]) == 4
    assert losses["two"] == pytest.approx(losses["one"], rel=0.15)  # those of the first process's windows
    assert losses["one"][-1] < 0.7 * losses["one"][0]  # there was something to learn
    card = (tmp_path / "two" / "README.md").read_text(encoding="utf-8")
    assert "wasl train" in card
    assert "Trained on 4 documents" in card
    assert wasl.load(tmp_path / "two").schema.entities[0] == "PER"


def test_evaluate_a_word_level_file(graphs_folder: Path, tmp_path: Path) -> None:
    corpus, figures = tmp_path / "a.conll", tmp_path / "figures.json"
    corpus.write_text("زارت O\nعلي B-ORGANISATION\nبابا I-ORGANISATION\n\nمحمد B-PERS\n", encoding="utf-8")
    out = run("evaluate", graphs_folder, corpus, "--labels", "ORG=ORGANISATION", "--json", figures).stdout
    assert "no label of the model stands for theirs: PERS 1" in out
    found = json.loads(figures.read_text(encoding="utf-8"))
    assert found["by_label"]["ORGANISATION"]["support"] == 1
    assert set(found) == {"micro_f1", "macro_f1", "by_label", "left_out"}
    assert "no label NAME" in run("evaluate", graphs_folder, corpus, "--labels", "NAME=PERS", code=2).stderr
    assert "--labels" in run("evaluate", graphs_folder, ANNOTATIONS, "--labels", "ORG=ORG", code=2).stderr
    assert "--documents" in run("evaluate", graphs_folder, corpus, "--documents", "001", code=2).stderr
