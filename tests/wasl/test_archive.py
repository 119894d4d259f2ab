"""Whole archives: interrupted runs, killed workers and several engines all give the same bytes."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch

from wasl.archive import PredictSettings, WorkerKind, predict_archive, run_parts
from wasl.errors import ArgumentError, ModelError, TextError, WorkerError
from wasl.inputs import Input, Unreadable, read_inputs
from wasl.parts import Part, PartResult, cut
from wasl.workers import Worker, predict_in_processes

psutil = pytest.importorskip("psutil")
TEXTS = ["شركة هواوي في الصين", "أطلقت علي بابا نموذجا في سنغافورة.", "إنفيديا", "زار دانس الولايات المتحدة"]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """On a busy machine the threads of so small a model wait for each other far longer than they compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JSONL file of six parts, with a bad line in each."""
    path = tmp_path_factory.mktemp("archive") / "many.jsonl"
    with path.open("w", encoding="utf-8") as stream:
        for i in range(1500):
            good = json.dumps({"id": i, "text": f"{TEXTS[i % 4]} {i} {TEXTS[i % 3]}"}, ensure_ascii=False)
            stream.write((good if i % 250 != 100 else "nonsense") + "\n")
    return path


@pytest.fixture(scope="module")
def uninterrupted(archive: Path, graphs_folder: Path) -> dict[str, bytes]:
    """What one worker writes in one go, by suffix."""
    found = {}
    for suffix in ("jsonl", "parquet"):
        output = archive.with_name(f"whole.{suffix}")
        summary = predict_archive([archive], output, PredictSettings(str(graphs_folder)))
        assert (summary.documents, summary.bad) == (1494, 6)
        found[suffix] = output.read_bytes()
    return found


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_run_that_is_stopped_again_and_again_ends_the_same(
    archive: Path, graphs_folder: Path, uninterrupted: dict[str, bytes], tmp_path: Path, suffix: str
) -> None:
    output, settings = tmp_path / f"out.{suffix}", PredictSettings(str(graphs_folder))
    parts_done = []

    def stop(result: PartResult) -> None:
        if not result.resumed:
            parts_done.append(result.number)
            raise KeyboardInterrupt

    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            predict_archive([archive], output, settings, resume=True, progress=stop)
        assert not output.exists()
    bad: list[Unreadable] = []
    predict_archive([archive], output, settings, resume=True, report=bad.append)
    assert output.read_bytes() == uninterrupted[suffix]
    assert parts_done == [0, 1, 2]
    assert [b.source for b in bad] == [f"{archive}:{i}" for i in range(101, 1500, 250)]
    assert list(tmp_path.iterdir()) == [output]


def test_a_resumed_run_must_be_of_the_same_inputs_and_settings(
    archive: Path, graphs_folder: Path, tmp_path: Path
) -> None:
    output, settings = tmp_path / "out.jsonl", PredictSettings(str(graphs_folder))
    inputs = tmp_path / "in.jsonl"
    inputs.write_bytes(archive.read_bytes())

    def stop(_: PartResult) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_archive([inputs], output, settings, progress=stop)
    inputs.write_bytes(archive.read_bytes().replace(b'"id": 3,', b'"id": 4,'))
    for paths, other, message in (
        ([inputs, archive], settings, "another inputs"),
        ([inputs], PredictSettings("embedded"), "another model"),
        ([inputs], PredictSettings(str(graphs_folder), batch_size=16), r"another batch_size \(32, now 16\)"),
        ([inputs], settings, "other inputs"),
    ):
        with pytest.raises(ArgumentError, match=message):
            predict_archive(paths, output, other, resume=True)
    assert (tmp_path / "out.jsonl.parts" / "000000").exists()  # refused, not lost


def test_the_output_may_not_be_an_input(archive: Path) -> None:
    with pytest.raises(ArgumentError, match="both an input and the output"):
        predict_archive([archive], archive)


def test_a_model_that_cannot_be_loaded_leaves_nothing_behind(archive: Path, model_folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "model"
    broken.mkdir()
    for file in model_folder.iterdir():
        (broken / file.name).write_bytes(
            file.read_bytes()[:-10] if file.suffix == ".safetensors" else file.read_bytes()
        )
    with pytest.raises(ModelError, match="the weights do not fit"):
        predict_archive([archive], tmp_path / "out.jsonl", PredictSettings(str(broken)))
    assert list(tmp_path.iterdir()) == [broken]


def spawned(parent: int | None = None) -> list[psutil.Process]:
    """The worker processes of a process."""
    found = []
    for process in psutil.Process(parent).children():
        try:
            if "spawn_main" in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.NoSuchProcess:
            pass
    return found


def test_a_killed_worker_loses_and_doubles_nothing(archive: Path, graphs_folder: Path) -> None:
    expected = list(run_parts(cut(read_inputs([archive])), PredictSettings(str(graphs_folder))))
    results = predict_in_processes(cut(read_inputs([archive])), str(graphs_folder), 2, 32)
    found = [next(results)]
    workers = spawned()
    assert len(workers) == 2
    workers[1].kill()
    seen = {p.pid for p in workers}
    for result in results:
        found.append(result)
        seen.update(p.pid for p in spawned())
    assert len(seen) > 2  # others took their place
    assert found == expected


def test_a_part_that_no_worker_survives_is_named(archive: Path, graphs_folder: Path) -> None:
    over = threading.Event()

    def kill() -> None:
        while not over.wait(0.05):
            for process in spawned():
                process.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with pytest.raises(WorkerError, match=r"many.jsonl:1 to .*many.jsonl:256: 3 workers were killed on this part"):
            list(predict_in_processes(cut(read_inputs([archive])), str(graphs_folder), 1, 32))
    finally:
        over.set()
        killer.join()


def die_in_the_middle_of_a_result(connection: Connection, *_: object) -> None:
    connection.recv()
    os.write(connection.fileno(), struct.pack("!i", 2**20) + b"only the beginning of a megabyte")
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_dies_in_the_middle_of_a_result(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wasl.workers._serve", die_in_the_middle_of_a_result)
    with pytest.raises(WorkerError, match="3 workers were killed on this part"):
        list(predict_in_processes(cut(read_inputs([archive])), "", 2, 32))
    assert not spawned()


def test_what_a_worker_raises_is_raised_here(graphs_folder: Path) -> None:
    broken = Part(0, (Input("many.jsonl:1", 5),))  # type: ignore[arg-type]  # no reader makes such a one
    with pytest.raises(TextError, match="expected a string") as raised:
        list(predict_in_processes([broken], str(graphs_folder), 1, 32))
    assert "predict_part" in "".join(raised.value.__notes__)  # where in the worker


def wait_for(condition: object, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_killed_run_leaves_no_workers_and_resumes(
    archive: Path, graphs_folder: Path, uninterrupted: dict[str, bytes], tmp_path: Path
) -> None:
    output = tmp_path / "out.parquet"
    command = [sys.executable, "-c", "from wasl.cli import main; main()", "predict", archive, "--model", graphs_folder,
               "--output", output, "--workers", "2"]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    wait_for(lambda: (tmp_path / "out.parquet.parts" / "000000").exists())
    workers = spawned(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert workers
    wait_for(lambda: not any(w.is_running() and w.status() != psutil.STATUS_ZOMBIE for w in workers), 10)
    assert not output.exists()
    resumed = []
    predict_archive([archive], output, PredictSettings(str(graphs_folder)), resume=True, progress=resumed.append)
    assert resumed[0].resumed
    assert output.read_bytes() == uninterrupted["parquet"]


def test_a_worker_with_a_broken_model_tells_so(tmp_path: Path, archive: Path) -> None:
    with pytest.raises(ModelError):
        Worker(str(tmp_path), None, 32)(next(cut(read_inputs([archive]))))


# What `wasl predict --engine ray` does, on a Ray of two CPUs, and a thread that kills a worker when a part is done.
RAY = """
import sys, threading, time, psutil, ray
from pathlib import Path
from wasl.cli import main
ray.init(num_cpus=2, include_dashboard=False)
def kill():
    while not Path(sys.argv[-1] + ".parts", "000000").exists():
        time.sleep(0.05)
    workers = [p for p in psutil.Process().children(recursive=True) if "RayWorker" in "".join(p.cmdline())]
    workers[0].kill()
    print("killed one of", len(workers), file=sys.stderr)
threading.Thread(target=kill, daemon=True).start()
main()
"""


@pytest.mark.timeout(280)
def test_ray_with_a_worker_killed(
    archive: Path, graphs_folder: Path, uninterrupted: dict[str, bytes], tmp_path: Path
) -> None:
    pytest.importorskip("ray.data")
    output = tmp_path / "out.jsonl"
    command = [sys.executable, "-c", RAY, "predict", archive, "--model", graphs_folder, "--engine", "ray", "--workers", "2",
               "--output", output]  # fmt: skip
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1, done.stderr
    assert "killed one of 2" in done.stderr
    assert output.read_bytes() == uninterrupted["jsonl"]
    reports = [line for line in done.stderr.splitlines() if line.startswith("wasl: ")]
    bad = [f"wasl: {archive}:{i}: not JSON: Expecting value at column 1" for i in range(101, 1500, 250)]
    assert reports == [*bad, "wasl: 6 texts could not be read"]
    assert done.stdout == ""  # not even Ray's own messages
    assert list(tmp_path.iterdir()) == [output]


def test_ray_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ArgumentError, match=r"pip install 'wasl\[ray\]'"):
        PredictSettings(engine=WorkerKind.ray)


@pytest.mark.parametrize("wrong", [{"workers": 0}, {"batch_size": 0}, {"engine": "spark"}, {"format": "xml"}])
def test_settings_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError):
        PredictSettings(**wrong)
