"""Speed in one run on one machine: wasl, Hugging Face pipelines and plain loops with the same encoder, texts, threads.

    python scripts/benchmark_speed.py annotations NEWS --threads 2 --json speed.json --plot speed.png

Every system runs in a process of its own, in turn, several rounds; the best round of each counts, since other programs
can only slow it down. `wasl` finds entities and relations; the others tag words, or only encode. A system whose package
is not installed (flair) is left out and named.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from speed_systems import SYSTEMS, build, prepare, sentences_of

OURS = next(iter(SYSTEMS))
SLOW = {"flair": 4, "span-marker": 20}  # are given so many times less text
LENGTHS = (100, 1_000, 10_000, 200_000)
BATCHES = (1, 4, 16, 64)
SECONDS = 3.0  # of products, to see what the machine can do; a processor without bf16 does a few of them


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", help="folders of .txt files")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--characters", type=int, default=120_000, help="of the texts that are compared on")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", action="append", help="a system; may be repeated")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path, help="PNG of the rate against text length and batch size")
    parser.add_argument(
        "--python", action="append", default=[], metavar="SYSTEM=FILE",
        help="the Python that a system runs in, where it does not go with what is installed here",
    )  # fmt: skip
    parser.add_argument("--run", help=argparse.SUPPRESS)
    options = parser.parse_args()
    texts = read_texts(options.folders)
    if options.run:
        print(json.dumps(measure(options.run, Path(options.model), texts, options.characters)))
        return
    with TemporaryDirectory() as scratch:
        model = prepare(options.model, Path(scratch))
        a_piece = operations(model)
        limits = {name: matrix_limit(name, options.threads) for name in ("int8", "bf16", "fp32")}
        wanted = options.only or list(SYSTEMS)
        if options.plot:
            wanted += [f"length {n}" for n in LENGTHS] + [f"batch {n}" for n in BATCHES]
        rows: dict[str, dict[str, float]] = {}
        for round_ in range(options.rounds):
            for name in wanted:
                found = in_a_process(name, model, options)
                if found is None:
                    if round_ == 0:
                        print(f"{name}: not installed, left out", flush=True)
                    continue
                rows[name] = best(rows.get(name), found)
                print(f"round {round_ + 1}, {name}: {found['characters_s']:,.0f} characters/s", flush=True)
    show(rows, limits, a_piece)
    if options.json:
        options.json.write_text(json.dumps({"systems": rows, "limits": limits}, indent=1) + "\n", encoding="utf-8")
    if options.plot:
        plot(rows, options.plot)


def read_texts(folders: Iterable[Path]) -> list[str]:
    files = [file for folder in folders for file in sorted(folder.glob("*.txt"))]
    return [file.read_text(encoding="utf-8") for file in files]


def up_to(texts: list[str], characters: int) -> list[str]:
    """Texts from the first on, as many as have so many characters."""
    chosen: list[str] = []
    for text in texts:
        chosen.append(text)
        if sum(map(len, chosen)) >= characters:
            break
    return chosen


def in_a_process(name: str, model: Path, options: argparse.Namespace) -> dict[str, float] | None:
    """Run one system by itself; None where its package is missing."""
    pythons = dict(one.split("=", 1) for one in options.python)
    python = pythons.get(name, sys.executable)
    command = [python, __file__, *map(str, options.folders), "--model", str(model), "--run", name, "--characters",
               str(options.characters // SLOW.get(name, 1))]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads), "TOKENIZERS_PARALLELISM": "false"}
    environment["WASL_THREADS"] = str(options.threads)
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    if done.returncode == 3:
        return None
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr.decode()}")
    found: dict[str, float] = json.loads(done.stdout.decode().splitlines()[-1])
    return found


def measure(name: str, model: Path, texts: list[str], characters: int) -> dict[str, float]:
    """Rate over the texts, latency of one sentence, peak memory."""
    try:
        run, single = build(name, model)
    except ModuleNotFoundError:
        raise SystemExit(3) from None
    kind, _, size = name.partition(" ")
    if kind == "length":
        whole = "\n".join(texts)
        chosen = [whole[i : i + int(size)] for i in range(0, max(characters, int(size)), int(size))]
    else:
        chosen = up_to(texts, characters)
    run(chosen if name.startswith("encoder") else chosen[:2])  # warm up; the encoder alone is given finished windows
    began = time.perf_counter()
    run(chosen)
    seconds = time.perf_counter() - began
    sentences = list(first_sentences(texts))[:60]
    times = []
    for sentence in sentences:
        single(sentence) if name.startswith("encoder") else None
        began = time.perf_counter()
        single(sentence)
        times.append(1000 * (time.perf_counter() - began))
    return {
        "characters_s": sum(map(len, chosen)) / seconds,
        "pieces_s": count_pieces(model, chosen) / seconds,
        "p50_ms": float(np.percentile(times, 50)),
        "p95_ms": float(np.percentile(times, 95)),
        "peak_mb": peak_memory(),
    }


def peak_memory() -> float:
    """Most resident memory of this process so far, in MB: of Linux's own count, which starts anew with a program."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def first_sentences(texts: list[str]) -> Iterator[str]:
    """One sentence of ordinary length of each text."""
    for text in texts:
        yield from [one for one in sentences_of(text) if 60 <= len(one) <= 250][:1]


def count_pieces(model: Path, texts: list[str]) -> int:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model / "int8" / "tokenizer.json"))
    return sum(len(one.ids) for one in tokenizer.encode_batch(texts, add_special_tokens=False))


def matrix_limit(precision: str, threads: int) -> float:
    """The best rate of a product of the encoder's largest size, in 10^9 multiplications and additions a second."""
    rows, width, wide = 512, 384, 1536
    best_ = float("inf")
    many = threads  # products at once
    if precision == "bf16":
        import torch

        torch.set_num_threads(threads)
        a, b = (torch.rand(*shape).bfloat16() for shape in ((rows, width), (width, wide)))
        many = 1

        def run() -> object:
            return a @ b

    else:
        run = onnx_product(precision, rows, width, wide, threads)

    started = time.perf_counter()
    while time.perf_counter() < started + SECONDS:
        began = time.perf_counter()
        run()
        best_ = min(best_, time.perf_counter() - began)
    return 2 * rows * width * wide * many / best_ / 1e9


def onnx_product(precision: str, rows: int, width: int, wide: int, threads: int) -> Callable[[], object]:
    """As many products at once as there are threads, each on one."""
    from concurrent.futures import ThreadPoolExecutor

    import onnx
    import onnxruntime
    from onnx import helper

    random_ = np.random.default_rng(0)
    if precision == "int8":
        operator, weights = "MatMulInteger", random_.integers(-127, 127, (width, wide), np.int8)
        x: np.ndarray = random_.integers(0, 255, (rows, width), np.uint8)
        out: type = np.int32
    else:
        operator, weights = "MatMul", random_.random((width, wide), np.float32)
        x, out = random_.random((rows, width), np.float32), np.float32
    kinds = [helper.np_dtype_to_tensor_dtype(np.dtype(kind)) for kind in (x.dtype, out)]
    graph = helper.make_graph(
        [helper.make_node(operator, ["x", "w"], ["y"])], "product",
        [helper.make_tensor_value_info("x", kinds[0], [rows, width])],
        [helper.make_tensor_value_info("y", kinds[1], [rows, wide])], [onnx.numpy_helper.from_array(weights, "w")],
    )  # fmt: skip
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    pool = ThreadPoolExecutor(threads)
    return lambda: list(pool.map(lambda _: session.run(None, {"x": x}), range(threads)))


def best(old: dict[str, float] | None, new: dict[str, float]) -> dict[str, float]:
    """The better of each figure: rates high, times and memory low."""
    if old is None:
        return new
    return {k: max(old[k], v) if k.endswith("_s") else min(old[k], v) for k, v in new.items()}


def show(rows: dict[str, dict[str, float]], limits: dict[str, float], a_piece: int) -> None:
    """Print the table; `a_piece` is how many operations a piece takes."""
    print(f"\nmatrix products: {', '.join(f'{k} {v:,.0f} GOP/s' for k, v in limits.items())}")
    print(f"{'':40}{'char/s':>10}{'pieces/s':>10}{'p50 ms':>8}{'p95 ms':>8}{'peak MB':>9}{'wasl is':>9}{'of limit':>9}")
    for name, row in rows.items():
        precision = next((p for p in limits if p in name), "int8" if name.startswith(("length", "batch")) else "fp32")
        ratio = rows[OURS]["characters_s"] / row["characters_s"] if OURS in rows else float("nan")
        share = 100 * row["pieces_s"] * a_piece / 1e9 / limits[precision]
        print(
            f"{name:40}{row['characters_s']:10,.0f}{row['pieces_s']:10,.0f}{row['p50_ms']:8.1f}{row['p95_ms']:8.1f}"
            f"{row['peak_mb']:9,.0f}{ratio:8.1f}x{share:8.0f}%"
        )


def operations(model: Path) -> int:
    """Multiplications and additions of the encoder's products with weights, a piece."""
    encoder = json.loads((model / "int8" / "config.json").read_text(encoding="utf-8"))["encoder"]
    hidden, wide = encoder["hidden_size"], encoder["intermediate_size"]
    return int(2 * encoder["num_hidden_layers"] * (4 * hidden * hidden + 2 * hidden * wide))


def plot(rows: dict[str, dict[str, float]], file: Path) -> None:
    """Rate against text length and against batch size."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.5), sharey=True)
    for axis, kind, sizes, label in (
        (axes[0], "length", LENGTHS, "characters in a text"), (axes[1], "batch", BATCHES, "texts in a batch"),
    ):  # fmt: skip
        axis.plot(sizes, [rows[f"{kind} {size}"]["characters_s"] / 1000 for size in sizes], marker="o")
        axis.set_xscale("log")
        axis.set_xlabel(label)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("1,000 characters a second")
    figure.tight_layout()
    figure.savefig(file, dpi=120)


if __name__ == "__main__":
    main()
