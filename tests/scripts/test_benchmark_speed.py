"""The speed benchmark runs what it compares, each in a process of its own, and says what is not installed."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[2]
OURS, BARE, LOOP, MISSING = "wasl int8", "encoder only, int8", "torch loop, batches of 16", "span-marker"


def test_systems_are_measured(model_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "speed.json"
    command = [sys.executable, ROOT / "scripts" / "benchmark_speed.py", ROOT / "annotations", "--model", model_folder,
               "--threads", "1", "--characters", "3000", "--rounds", "1", "--json", out]  # fmt: skip
    for name in (OURS, BARE, LOOP, MISSING):
        command += ["--only", name]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    printed = done.stdout.decode()
    left_out = f"{MISSING}: not installed, left out" in printed
    assert left_out == (find_spec("span_marker") is None)
    found = json.loads(out.read_text(encoding="utf-8"))
    assert {OURS, BARE, LOOP} <= set(found["systems"])
    for row in found["systems"].values():
        assert row["characters_s"] > row["pieces_s"] > 0
        assert 0 < row["p50_ms"] <= row["p95_ms"]
        assert row["peak_mb"] > 20
    assert found["systems"][OURS]["characters_s"] < found["systems"][BARE]["characters_s"]  # it does more
    assert found["limits"]["int8"] > 1
