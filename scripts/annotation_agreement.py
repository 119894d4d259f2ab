"""Agreement between two annotation passes over the same texts, and counts of the adjudicated annotations.

    python scripts/annotation_agreement.py annotations --passes annotations/passes/a annotations/passes/b

Prints the tables of the data card. Agreement is the F1 of one pass scored against the other (which is which does not
matter): entities by start, end and label, relations by label and both spans and labels.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import wasl
from wasl.brat import parse_annotations
from wasl_training.metrics import Score, Tally, pool, score, tally


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--passes", type=Path, nargs=2, required=True)
    options = parser.parse_args()

    corpus = wasl.read_corpus(options.corpus)
    tallies = {}
    for id_, adjudicated in corpus.documents.items():
        one, other = (_read(folder / f"{id_}.ann", adjudicated.text, corpus.schema) for folder in options.passes)
        tallies[id_] = tally(one, other, None, corpus.schema.symmetric)
    total = [pool(tallies.values())]
    for title, task in (("entity", "entities"), ("relation", "strict")):
        found = score(task, total)
        print(f"\n| {title} | first pass | second pass | agreed | F1 |\n|---|---|---|---|---|")
        for label, part in [*(found.by_label or {}).items(), ("**all**", found)]:
            print(f"| {label} | {_row(label, part, total[0], task)} |")
    print("\n| article | characters | entities | relations |\n|---|---|---|---|")
    for id_, document in corpus.documents.items():
        print(f"| {id_} | {len(document.text)} | {len(document.entities)} | {len(document.relations)} |")
    entities, relations = corpus.counts()
    print(f"| all | {sum(len(d.text) for d in corpus.documents.values())} | {entities.total()} | {relations.total()} |")
    for counts in (entities, relations):
        print(
            "\n| label | "
            + " | ".join(corpus.documents)
            + " | all |\n|---" * 1
            + "|---" * (len(corpus.documents) + 1)
            + "|"
        )
        for label, count in counts.most_common():
            row = [
                [*map(_label, d.entities), *map(_label, d.relations)].count(label) for d in corpus.documents.values()
            ]
            print(f"| {label} | {' | '.join(map(str, row))} | {count} |")


def _label(item: wasl.Entity | wasl.Relation) -> str:
    return item.label


def _read(path: Path, text: str, schema: wasl.Schema) -> wasl.Document:
    document, problems = parse_annotations(text, path.read_text(encoding="utf-8"), schema, path)
    if problems:
        raise SystemExit("\n".join(map(str, problems)))
    return document


def _row(label: str, part: Score, total: Tally, task: str) -> str:
    gold, predicted, hits = (
        counts[task].total() if label == "**all**" else counts[task][label]
        for counts in (total.gold, total.predicted, total.hits)
    )
    return f"{gold} | {predicted} | {hits} | {part.f1:.1f}"


if __name__ == "__main__":
    main()
