"""The experiments' scripts: folds hold out every article once, and counts are kept, taken anew and compared as they should."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).parents[2] / "scripts"
ANNOTATIONS = Path(__file__).parents[2] / "annotations"
SETTINGS = ["--set", "epochs=6", "--set", "batch_size=4", "--set", "encoder_rate=0.003", "--set", "max_pieces=80"]


def run(script: str, *arguments: object) -> str:
    command = [sys.executable, str(SCRIPTS / script), *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_cross_validate(sentencepiece_encoder: Path, tmp_path: Path) -> None:
    first, int8, second = tmp_path / "first", tmp_path / "int8", tmp_path / "second"
    common = [ANNOTATIONS, "--encoder", sentencepiece_encoder, "--folds", 2, *SETTINGS]

    printed = run("cross_validate.py", *common, "--counts", first, "--int8", int8)
    for folder in (first, int8):
        assert sorted(file.name for file in folder.iterdir()) == [f"00{n}-seed0.json" for n in range(1, 6)]
    compared = re.findall(r"(\w+) [+-][\d.]+ \(better in \d+ %\)", printed)
    assert compared == ["entities", "given_gold", "strict"]  # what 8 bits cost
    mean = re.findall(r"seeds: entities ([\d.]+)", printed)[0]
    assert float(mean) > 0

    # Nothing has changed: no fold is trained again, and the run is as good as itself.
    kept = {file.name: file.stat().st_mtime_ns for file in first.iterdir()}
    again = run("cross_validate.py", *common, "--counts", first, "--against", first)
    assert {file.name: file.stat().st_mtime_ns for file in first.iterdir()} == kept
    assert f"entities {mean}" in again
    assert "entities +0.0 (better in 0 %)" in again

    # Another setting takes them anew; the pooled difference is that of the two runs' own figures.
    other = run("cross_validate.py", *common, "--set", "epochs=3", "--counts", second, "--against", first)
    theirs = float(re.findall(r"seeds: entities ([\d.]+)", other)[0])
    difference = float(re.findall(r"against first: entities ([+-][\d.]+)", other)[0])
    assert abs(difference - (theirs - float(mean))) < 0.11  # each is rounded
    identities = {json.loads(next(folder.iterdir()).read_text())["identity"] for folder in (first, second)}
    assert len(identities) == 2


def test_few_articles(sentencepiece_encoder: Path) -> None:
    printed = run(
        "few_articles.py", ANNOTATIONS, "--encoder", sentencepiece_encoder, "--train", 3, "--test", 2, *SETTINGS
    )  # fmt: skip
    words, entities = re.findall(r"^(\d+) words, .*entities ([\d.]+)", printed, re.MULTILINE)[0]
    assert int(words) > 300
    assert 0 <= float(entities) <= 100
