"""Cross-validate settings inside a corpus, by article: a row of docs/experiments.md.

    python scripts/cross_validate.py NEWS --encoder runs/encoder --folds 2 --seeds 3 --set epochs=8

Each fold trains on the articles of the others, with no development part, and scores on its own; counts are pooled over
folds and seeds. Which article is in which fold does not depend on the seed. The counts of each article are kept, and
taken anew only where a setting, the encoder or an article has changed; `--against` such a folder of another run
resamples articles to say how sure the difference is.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import numpy as np

import wasl
from few_articles import read_settings, shown
from wasl_training import TrainingConfig, evaluate, train
from wasl_training.crossvalidation import fold_identity, load_tally, save_tally
from wasl_training.encoders import load_start
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
    options = parser.parse_args()

    corpus = wasl.read_corpus(options.corpus)
    also = [wasl.read_corpus(folder) for folder in options.also]
    ids = sorted(corpus.documents)
    random.Random(0).shuffle(ids)
    settings = read_settings(options.set)
    start = load_start(options.encoder)
    tallies: dict[str, list[Tally]] = {id_: [] for id_ in ids}
    for seed in range(options.seeds):
        config = TrainingConfig(seed=seed, **settings)
        identity = f"{options.folds} folds, {fold_identity(config, start, corpus, also)}"
        for fold in range(options.folds):
            held_out = ids[fold :: options.folds]
            files = {id_: options.counts / f"{id_}-seed{seed}.json" for id_ in held_out}
            kept = {id_: load_tally(file, identity) for id_, file in files.items()}
            found = {id_: counts for id_, counts in kept.items() if counts is not None}
            if len(found) < len(held_out):
                trained = train(corpus.select(without=held_out), encoder=start, also=also, dev=[], config=config)
                found.update(evaluate(trained.extractor, corpus.select(held_out)).tallies)
                for id_, counts in found.items():
                    save_tally(counts, files[id_], identity)
            for id_, counts in found.items():
                tallies[id_].append(counts)
            print(f"seed {seed}, fold {fold}: {shown(figures(list(found.values())))}", flush=True)
    mine = [pool(tallies[id_]) for id_ in ids]
    print(f"{settings}, {options.seeds} seeds: {shown(figures(mine))}")
    if options.against:
        print(f"against {options.against.name}: {difference(mine, read_counts(options.against, ids))}")


def read_counts(folder: Path, ids: list[str]) -> list[Tally]:
    """The counts of each article that another run kept, over its seeds."""
    tallies = []
    for id_ in ids:
        files = sorted(folder.glob(f"{id_}-seed*.json"))
        found = [load_tally(file, json.loads(file.read_text(encoding="utf-8"))["identity"]) for file in files]
        tallies.append(pool(t for t in found if t is not None))
    return tallies


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
