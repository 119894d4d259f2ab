"""The wheel, built from the repo and installed where there is nothing else of it, predicts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index",
               "--wheel-dir", str(folder), str(ROOT)]  # fmt: skip
    subprocess.run(command, check=True)
    return next(folder.glob("wasl-*.whl"))


def test_what_is_in_the_wheel(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for expected in ("wasl/__init__.py", "wasl/assets/embedded/model.safetensors", "wasl/assets/embedded/words.onnx", "wasl/assets/embedded/pairs.onnx", "wasl/assets/embedded/LICENSE",
                     "wasl_training/training.py", "wasl/py.typed"):  # fmt: skip
        assert expected in names
    assert not any(n.startswith(("tests", "annotations", "scripts")) for n in names)
    assert wheel.stat().st_size < 100e6  # the largest file the package index takes


@pytest.fixture(scope="module")
def light(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, int]:
    """An environment with the wheel and its core dependencies alone: its Python, its packages and their size in bytes.

    The dependencies are linked from the environment of the tests, so that no network is needed; all that they require in
    turn is found as pip finds it, by their metadata.
    """
    home = tmp_path_factory.mktemp("light") / "env"
    venv.create(home, with_pip=False, symlinks=True)
    site = next((home / "lib").glob("python*/site-packages"))
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(site), str(wheel)],
        check=True,
    )
    size = sum(file.stat().st_size for file in site.rglob("*") if file.is_file())
    for name in sorted(needed(next(distributions(path=[str(site)])).requires or [])):
        installed = distribution(name)
        for top in {file.parts[0] for file in installed.files or [] if file.parts[0] not in ("..", "__pycache__")}:
            if not (site / top).exists():  # some share a folder
                (site / top).symlink_to(Path(str(installed.locate_file(top))))
        paths = (Path(str(installed.locate_file(file))) for file in installed.files or [])
        size += sum(path.stat().st_size for path in paths if path.is_file() and path.suffix != ".pyc")
    return home / "bin" / "python", site, size


def needed(requirements: list[str]) -> set[str]:
    """Names of all distributions that the requirements need, without extras."""
    found: set[str] = set()
    waiting = [Requirement(line) for line in requirements]
    while waiting:
        one = waiting.pop()
        if one.name in found or (one.marker and not one.marker.evaluate({"extra": ""})):
            continue
        found.add(one.name)
        waiting += [Requirement(line) for line in distribution(one.name).requires or []]
    return found


def run_light(light: tuple[Path, Path, int], *arguments: str, stdin: str = "") -> str:
    python, site, _ = light
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [python, *arguments], input=stdin.encode(), env=environment, cwd=site.parent, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def test_the_light_install_predicts_without_torch(light: tuple[Path, Path, int]) -> None:
    code = (
        "import json, sys, importlib.util, wasl; assert wasl.__file__.startswith(sys.argv[1]), wasl.__file__;"
        "assert not any(importlib.util.find_spec(m) for m in ('torch', 'transformers', 'safetensors'));"
        "print(json.dumps(wasl.predict('أعلنت شركة علي بابا في الصين عن نموذج Qwen.').to_dict()))"
    )
    document = json.loads(run_light(light, "-c", code, str(light[1])))
    assert {e["text"]: e["label"] for e in document["entities"]} == {"علي بابا": "ORG", "الصين": "LOC", "Qwen": "MODEL"}
    line = run_light(light, str(light[1] / "bin" / "wasl"), "predict", stdin="وهواوي في الصين\n")
    assert [e["text"] for e in json.loads(line)["entities"]] == ["هواوي", "الصين"]


def test_the_light_install_scores_without_torch(light: tuple[Path, Path, int]) -> None:
    out = run_light(light, str(light[1] / "bin" / "wasl"), "evaluate", "embedded", str(ROOT / "annotations"))
    assert "embedded on 5 documents" in out
    assert "expected calibration error" in out


def test_the_light_install_is_small(light: tuple[Path, Path, int]) -> None:
    assert light[2] < 250e6, f"{light[2] / 1e6:.0f} MB"


def test_what_needs_torch_says_so(light: tuple[Path, Path, int]) -> None:
    code = "import wasl\ntry: wasl.load(engine='torch')\nexcept wasl.WaslError as error: print(error)"
    assert "pip install 'wasl[train]'" in run_light(light, "-c", code)
    code = "from wasl.cli.training import training_module\ntry: training_module('training')\nexcept Exception as e: print(e)"
    assert "pip install 'wasl[train]'" in run_light(light, "-c", code)


def test_import_and_load_are_quick_and_leave_torch_out(light: tuple[Path, Path, int]) -> None:
    """In CPU seconds, which other programs on the machine stretch less than the clock; the best of several tries."""
    code = (
        "import sys, time; a = time.process_time(); import wasl; b = time.process_time(); wasl.load();"
        "print(b - a, time.process_time() - b, 'torch' in sys.modules)"
    )
    environment_of_tests = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout.decode().split()
        for _ in range(3)
    ]
    rows = [run_light(light, "-c", code).split() for _ in range(3)] + environment_of_tests
    assert all(row[2] == "False" for row in rows)
    assert min(float(row[0]) for row in rows) < 0.3
    assert min(float(row[1]) for row in rows) < 1
