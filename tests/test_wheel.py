"""The wheel, built from the repo and installed where there is nothing else of it, predicts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

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
    for expected in ("wasl/__init__.py", "wasl/assets/embedded/model.safetensors", "wasl/assets/embedded/LICENSE",
                     "wasl_training/training.py", "wasl/py.typed"):  # fmt: skip
        assert expected in names
    assert not any(n.startswith(("tests", "annotations", "scripts")) for n in names)
    assert wheel.stat().st_size < 64 * 2**20


def test_the_installed_wheel_predicts(wheel: Path, tmp_path: Path) -> None:
    """In an environment of its own that has the dependencies, by path, but no part of the repo."""
    home = tmp_path / "env"
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    site = next((home / "lib").glob("python*/site-packages"))
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(site), str(wheel)],
        check=True,
    )
    # The dependencies' folder is put on the path as it is; its .pth files, such as that of an editable install of this
    # repo, are not run there.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), sysconfig.get_paths()["purelib"]])}
    code = (
        "import json, sys, wasl; assert wasl.__file__.startswith(sys.argv[1]), wasl.__file__;"
        "print(json.dumps(wasl.predict('أعلنت شركة علي بابا في الصين عن نموذج Qwen.').to_dict()))"
    )
    done = subprocess.run(
        [python, "-c", code, str(site)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    document = json.loads(done.stdout)
    assert {e["text"]: e["label"] for e in document["entities"]} == {"علي بابا": "ORG", "الصين": "LOC", "Qwen": "MODEL"}
    console = subprocess.run(
        [python, str(site / "bin" / "wasl"), "predict"],
        input="وهواوي في الصين\n".encode(), env=environment, cwd=tmp_path, capture_output=True, check=False,
    )  # fmt: skip
    assert console.returncode == 0, console.stderr.decode()
    assert [e["text"] for e in json.loads(console.stdout)["entities"]] == ["هواوي", "الصين"]
