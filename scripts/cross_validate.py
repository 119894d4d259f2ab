"""Cross-validate settings inside a corpus, by article: a row of docs/experiments.md.

    python scripts/cross_validate.py NEWS --encoder runs/encoder --folds 2 --seeds 3 --set epochs=8

Each fold trains on the articles of the others, with no development part, and scores on its own; counts are pooled over
folds and seeds. Which article is in which fold does not depend on the seed. The counts of each article are kept, and
taken anew only where a setting, the encoder or an article has changed; `--against` such a folder of another run
resamples articles to say how sure the difference is. `--int8` scores each fold's model as ONNX Runtime graphs in 8 bits
too, and says what that costs.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import wasl
from few_articles import read_settings, shown
from wasl.corpus import Corpus
from wasl.extractor import Extractor
from wasl_training import TrainingConfig, evaluate, train
from wasl_training.crossvalidation import fold_identity, load_tally, save_tally
from wasl_training.encoders import load_start
from wasl_training.export import export
from wasl_training.metrics import RESAMPLES, Tally, figures, pool

SHOWN = ("entities", "given_gold", "strict")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--also", type=Path, action="append", default=[], help="trained on in every fold")
    parser.add_argument("--encoder", default="embedded")
    parser.add_argument("--folds", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a field of TrainingConfig")
    parser.add_argument("--counts", type=Path, required=True, help="folder for the counts of each article")
    parser.add_argument("--against", type=Path, help="such a folder of another run over the same articles")
    parser.add_argument("--int8", type=Path, metavar="COUNTS", help="score in 8 bits too; folder for those counts")
    options = parser.parse_args()

    corpus = wasl.read_corpus(options.corpus)
    also = [wasl.read_corpus(folder) for folder in options.also]
    ids = sorted(corpus.documents)
    random.Random(0).shuffle(ids)
    settings = read_settings(options.set)
    start = load_start(options.encoder)
    folders = [options.counts, *([options.int8] if options.int8 else [])]
    for seed in range(options.seeds):
        config = TrainingConfig(seed=seed, **settings)
        identity = f"{options.folds} folds, {fold_identity(config, start, corpus, also)}"
        for fold in range(options.folds):
            held_out = ids[fold :: options.folds]
            files = [{id_: counts_file(folder, id_, seed) for id_ in held_out} for folder in folders]
            if any(load_tally(file, identity) is None for one in files for file in one.values()):
                trained = train(corpus.select(without=held_out), encoder=start, also=also, dev=[], config=config)
                save_counts(trained.extractor, corpus.select(held_out), files[0], identity)
                if options.int8:
                    save_counts(in_int8(trained.extractor), corpus.select(held_out), files[1], identity)
            for folder, one in zip(folders, files, strict=True):
                found = figures(read_counts(one.values()))
                print(f"seed {seed}, fold {fold}, {folder.name}: {shown(found)}", flush=True)

    def counts_in(folder: Path) -> list[Tally]:
        """The counts of each article over the seeds."""
        return [pool(read_counts(counts_file(folder, id_, seed) for seed in range(options.seeds))) for id_ in ids]

    mine = counts_in(options.counts)
    print(f"{settings}, {options.seeds} seeds: {shown(figures(mine))}")
    if options.int8:
        print(f"in 8 bits: {difference(counts_in(options.int8), mine)}")
    if options.against:
        theirs = [pool(read_counts(sorted(options.against.glob(f"{id_}-seed*.json")))) for id_ in ids]  # all its seeds
        print(f"against {options.against.name}: {difference(mine, theirs)}")


def save_counts(extractor: Extractor, corpus: Corpus, files: dict[str, Path], identity: str) -> None:
    """Score each article and keep its counts."""
    for id_, counts in evaluate(extractor, corpus).tallies.items():
        save_tally(counts, files[id_], identity)


def in_int8(extractor: Extractor) -> Extractor:
    """The extractor as ONNX Runtime graphs in 8 bits."""
    with TemporaryDirectory() as folder:
        extractor.save_pretrained(folder)
        export(extractor, folder)
        return wasl.load(folder)


def counts_file(folder: Path, id_: str, seed: int) -> Path:
    return folder / f"{id_}-seed{seed}.json"


def read_counts(files: Iterable[Path]) -> list[Tally]:
    """The counts that a run kept, under whatever identity."""
    found = (load_tally(file, json.loads(file.read_text(encoding="utf-8"))["identity"]) for file in files)
    return [counts for counts in found if counts is not None]


def difference(mine: list[Tally], theirs: list[Tally]) -> str:
    """The differences in F1, with the share of resamples of articles (paired) in which this run is the better one."""
    parts = []
    random_ = np.random.default_rng(0)
    draws = random_.integers(0, len(mine), (RESAMPLES, len(mine)))
    for task in SHOWN:
        f1 = []
        for tallies in (mine, theirs):
            counts = np.array(
                [[sum(getattr(t, kind)[task].values()) for kind in ("hits", "predicted", "gold")] for t in tallies]
            )
            sums = np.vstack([counts.sum(axis=0), counts[draws].sum(axis=1)])
            f1.append(200 * sums[:, 0] / np.maximum(sums[:, 1] + sums[:, 2], 1))
        delta = f1[0] - f1[1]
        parts.append(f"{task} {delta[0]:+.1f} (better in {100 * (delta[1:] > 0).mean():.0f} %)")
    return ", ".join(parts)


if __name__ == "__main__":
    main()
