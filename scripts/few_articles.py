"""Train on a few articles of a corpus and score on others of it: one row of docs/experiments.md.

    python scripts/few_articles.py NEWS --prefix n --train 9 --test 25 --set epochs=14 --set batch_size=2

Which articles are drawn depends only on `--draw`.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path
from typing import Any

import wasl
from wasl_training import TrainingConfig, evaluate, train
from wasl_training.metrics import Figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--encoder", default="embedded")
    parser.add_argument("--prefix", default="", help="draw only from ids that start with this")
    parser.add_argument("--among", default="", help="draw only from these ids, separated by spaces")
    parser.add_argument("--least-relations", type=int, default=0, help="draw only articles with so many relations")
    parser.add_argument("--train", type=int, required=True)
    parser.add_argument("--test", type=int, required=True)
    parser.add_argument("--skip", type=int, default=0, help="articles drawn between the two and left out")
    parser.add_argument("--draw", type=int, default=7)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a field of TrainingConfig")
    options = parser.parse_args()

    corpus = wasl.read_corpus(options.corpus)
    among = options.among.split() or list(corpus.documents)
    ids = [
        id_
        for id_, document in corpus.documents.items()
        if id_ in among and id_.startswith(options.prefix) and len(document.relations) >= options.least_relations
    ]
    random.Random(options.draw).shuffle(ids)
    if len(ids) < options.train + options.skip + options.test:
        parser.error(f"only {len(ids)} articles to draw from")
    chosen, others = ids[: options.train], ids[options.train + options.skip :][: options.test]
    settings = read_settings(options.set)
    trained = train(corpus.select(chosen), encoder=options.encoder, dev=[], config=TrainingConfig(**settings))
    found = evaluate(trained.extractor, corpus.select(others)).figures
    words = sum(len(corpus.documents[id_].text.split()) for id_ in chosen)
    print(f"{words} words, {settings}: {shown(found)}")


def read_settings(given: list[str]) -> dict[str, Any]:
    """Fields of TrainingConfig, from `NAME=VALUE`."""
    pairs = (item.split("=", 1) for item in given)
    return {name: int(value) if value.isdigit() else float(value) for name, value in pairs}


def shown(found: Figures) -> str:
    """One line of the figures that settings are chosen by."""
    return (
        f"entities {found.entities.f1:.1f}, given gold {found.given_gold.f1:.1f}, strict {found.strict.f1:.1f}, "
        f"starts inside a word {found.clitic_recall:.1f}"
    )


if __name__ == "__main__":
    main()
