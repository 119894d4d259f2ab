"""Train and score a token head on word-level corpora (ANERcorp, AQMAR, ...), as their papers do.

    python scripts/benchmark_ner.py --train anercorp-train.conll --test anercorp-test.conll --json found.json
    python scripts/benchmark_ner.py --train aqmar-train.conll --dev aqmar-dev.conll --test aqmar-test.conll

Prints macro and micro F1 of seqeval's strict mode on IOB2 tags. All epochs are run and the last one counts. Several
models are trained, of one seed after the other, and the mean of their weights is scored (`--models 1` for one alone).
Where a development file is given, one model is first trained without it, of the epoch that is best on it, and scored on
both files; then both files train the models whose mean is the result. Sentences are read in the order of the file, some
at a time, so that neighbours are each other's context.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from wasl.conll import Sentence, labels_of, read_conll, to_corpus
from wasl.corpus import Corpus
from wasl.extractor import Extractor
from wasl.pretrained import EMBEDDED
from wasl_training import TrainingConfig, train
from wasl_training.averaging import average
from wasl_training.encoders import Start, load_start
from wasl_training.report import TrainingTable
from wasl_training.training import begin
from wasl_training.word_level import WordFigures, evaluate_words


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True, help="word and IOB2 tag a line")
    parser.add_argument("--dev", type=Path, help="scored by a first model, then trained on too")
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--encoder", default=EMBEDDED, help="`embedded`, a folder or a hub id")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--head-learning-rate", type=float, default=1e-3)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--max-pieces", type=int, default=128, help="in a window")
    parser.add_argument("--hide", type=float, default=0.1, help="chance that a word is hidden in training")
    parser.add_argument("--perturb", type=float, default=1.0, help="length of the adversarial step; 0: none")
    parser.add_argument("--models", type=int, default=3, help="models whose weights are averaged")
    parser.add_argument("--seed", type=int, default=0, help="of the first of them")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    if options.models < 1:
        parser.error("--models: must be 1 or more")

    # Words keep their proclitics in these corpora, so none are glued on or taken off.
    config = TrainingConfig(
        epochs=options.epochs, encoder_rate=options.learning_rate, head_rate=options.head_learning_rate, keep=0,
        batch_size=options.batch_size, seed=options.seed, max_pieces=options.max_pieces, hide=options.hide,
        perturb=options.perturb, glue=0, unglue=0,
    )  # fmt: skip
    training, dev = read_conll(options.train), read_conll(options.dev) if options.dev else []
    test = read_conll(options.test)
    labels = labels_of([*training, *dev])
    start = load_start(options.encoder)
    heads, _ = begin(to_corpus(training, labels).schema, start, config)
    start = replace(start, extractor=heads)  # all models begin with the same heads, or their mean would be of no use
    if dev:
        chosen = fit(start, config, labels, training, dev)
        show("dev", evaluate_words(chosen, dev))
        show("test, without the development file", evaluate_words(chosen, test))
    models = []
    for seed in range(options.seed, options.seed + options.models):
        models.append(fit(start, replace(config, seed=seed), labels, training + dev))
        show(f"test, the model of seed {seed} alone", evaluate_words(models[-1], test))
    found = evaluate_words(average(models), test)
    show("test", found)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(found.to_dict(), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def fit(
    start: Start, config: TrainingConfig, labels: list[str], training: list[Sentence], dev: Sequence[Sentence] = ()
) -> Extractor:
    """An extractor of the entities of sentences, of the epoch best on the development sentences or the last."""
    corpus = to_corpus(training, labels)
    kept = {f"dev{id_}": document for id_, document in to_corpus(list(dev), labels).documents.items()}
    corpus = Corpus(corpus.schema, {**corpus.documents, **kept})
    began = time.monotonic()
    with TrainingTable() as progress:
        trained = train(corpus, encoder=start, dev=list(kept), config=config, skip_invalid=True, progress=progress)
    print(f"trained in {time.monotonic() - began:.0f} s; {len(trained.problems)} entities could not be used")
    return trained.extractor


def show(name: str, found: WordFigures) -> None:
    print(f"{name}: macro F1 {found.macro_f1:.2f}, micro F1 {found.micro_f1:.2f}")
    for label, figures in found.by_label.items():
        print(f"  {label:8} {figures.precision:6.2f} {figures.recall:6.2f} {figures.f1:6.2f} {figures.support:6d}")


if __name__ == "__main__":
    main()
