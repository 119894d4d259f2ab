"""Leave one article out, wasl beside three baselines on the same folds; prints the tables of the README.

    python scripts/benchmark_articles.py annotations --output runs/encoder
    python scripts/benchmark_articles.py annotations --output runs/extractor --encoder runs/base \
        --also NEWS --also SYNTHETIC

With an extractor as the encoder the gazetteer and the CRF are trained on the `--also` corpora too, as it was itself;
token classification starts from the extractor's encoder with a fresh head. The gazetteer and the CRF do not depend on a
seed and are run once; token classification is run with the first `--token-seeds` seeds. Finished folds are kept in the
output folder; `wasl crossval` with the same output folder finds those of wasl.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from safetensors.torch import save_file

import wasl
from baselines import Crf, Gazetteer, TokenClassification
from wasl.document import Document
from wasl_training.config import TrainingConfig
from wasl_training.crossvalidation import Crossval, fold_identity, load_tally, save_tally, summarise_folds
from wasl_training.encoders import Start, load_start
from wasl_training.evaluation import evaluate
from wasl_training.metrics import Score, Tally, tally
from wasl_training.training import train

WASL, GAZETTEER, CRF, TOKENS = (
    "wasl",
    "gazetteer + most frequent relation",
    "CRF",
    "token classification + wasl's relations",
)
TOKEN_EPOCHS = 20  # with one learning rate its head needs twice as many as wasl (docs/experiments.md)
FOLDERS = {WASL: "folds", GAZETTEER: "gazetteer", CRF: "crf", TOKENS: "tokens"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--encoder", default="embedded", help="what each fold starts from")
    parser.add_argument("--also", type=Path, action="append", default=[], help="what the extractor was trained on")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--token-seeds", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    corpus = wasl.read_corpus(options.corpus)
    also = [wasl.read_corpus(folder) for folder in options.also]
    further = [d for other in also for d in other.documents.values()]
    start = load_start(options.encoder)
    counts: dict[str, dict[tuple[int, str], Tally]] = {WASL: {}, GAZETTEER: {}, CRF: {}, TOKENS: {}}
    for seed in reversed(range(options.seeds)):  # the cheap folds first
        for id_ in corpus.documents:
            systems = [WASL] + [GAZETTEER, CRF] * (seed == 0) + [TOKENS] * (seed < options.token_seeds)
            files = {name: options.output / FOLDERS[name] / f"{id_}-seed{seed}.json" for name in systems}
            began = time.monotonic()
            identity = fold_identity(TrainingConfig(seed=seed), start, corpus, [])
            if not all(load_tally(file, identity) for file in files.values()):
                for name, one in run_fold(corpus, id_, seed, start, further, systems).items():
                    save_tally(one, files[name], identity)
            for name, file in files.items():
                counts[name][seed, id_] = load_tally(file, identity) or Tally()
            print(f"seed {seed} {id_}: {time.monotonic() - began:.0f} s", flush=True)
    results = {name: summarise_folds(tallies) for name, tallies in counts.items() if tallies}
    print_tables(results)
    if options.json:
        data = {name: result.to_dict() for name, result in results.items()}
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(data, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def run_fold(
    corpus: wasl.Corpus, id_: str, seed: int, start: Start, further: list[Document], systems: list[str]
) -> dict[str, Tally]:
    """Counts of each system on one held-out article."""
    rest = corpus.select(without=[id_])
    gold = corpus.documents[id_]
    documents = [*rest.documents.values(), *further]
    schema = corpus.schema

    def count(predicted: Document, given: Document | None) -> Tally:
        return tally(gold, predicted, given, schema.symmetric)

    extractor = train(rest, encoder=start, dev=[], config=TrainingConfig(seed=seed)).extractor
    found = {WASL: evaluate(extractor, corpus.select([id_])).tallies[id_]}
    if GAZETTEER in systems:
        gazetteer = Gazetteer(documents, schema)
        found[GAZETTEER] = count(gazetteer.predict(gold.text), gazetteer.relate(gold))
    if CRF in systems:
        found[CRF] = count(Crf(documents, schema).predict(gold.text), None)
    if TOKENS in systems:
        tokens = train_tokens(rest, start, seed)
        found[TOKENS] = count(extractor.relate(tokens.predict(gold.text)), extractor.relate(gold))
    return found


def train_tokens(rest: wasl.Corpus, start: Start, seed: int) -> TokenClassification:
    """Token classification from the start's encoder, written to a folder as Hugging Face users have it."""
    with TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps({**start.encoder_config, "dtype": "float32"}))
        prefix = start.encoder_config["model_type"]
        weights = {f"{prefix}.{k}": v.contiguous() for k, v in start.encoder.state_dict().items()}
        save_file(weights, Path(folder) / "model.safetensors", metadata={"format": "pt"})
        documents = rest.documents.values()
        return TokenClassification(documents, rest.schema, folder, start.tokenizer, TOKEN_EPOCHS, seed)


def cell(score: Score) -> str:
    if not score.support or score.f1 == 0:
        return "–"
    return f"{score.f1:.1f}" + (f" ({score.ci95[0]:.1f}–{score.ci95[1]:.1f})" if score.ci95 else "")


def print_tables(results: dict[str, Crossval]) -> None:
    """The tables in Markdown."""
    print(
        "\n| F1 (95 % over articles) | entities | relations, boundaries | relations, strict | relations, given gold |"
    )
    print("|---|---|---|---|---|")
    for name, result in results.items():
        p = result.pooled
        cells = (cell(s) for s in (p.entities, p.boundaries, p.strict, p.given_gold))
        print(f"| {name} | {' | '.join(cells)} |")
    own = results[WASL]
    print(
        f"\nEntities that start inside a word: {own.pooled.clitic_recall:.1f} % of {own.pooled.clitic_support} found."
    )
    print("\n| article | entities | boundaries | strict | gold entities given |\n|---|---|---|---|---|")
    for id_, figures in own.per_document.items():
        row = (figures.entities, figures.boundaries, figures.strict, figures.given_gold)
        print(f"| {id_} | {' | '.join(f'{s.f1:.1f}' for s in row)} |")
    for seed, figures in enumerate(own.per_seed):
        row = (figures.entities, figures.boundaries, figures.strict, figures.given_gold)
        print(f"| seed {seed} | {' | '.join(f'{s.f1:.1f}' for s in row)} |")
    for title, score in (("entity", own.pooled.entities), ("relation, strict", own.pooled.strict)):
        print(f"\n| {title} | precision | recall | F1 | support |\n|---|---|---|---|---|")
        for label, part in (score.by_label or {}).items():
            print(f"| {label} | {part.precision:.1f} | {part.recall:.1f} | {part.f1:.1f} | {part.support} |")


if __name__ == "__main__":
    main()
