"""Make the embedded model: domain adaptation, then names of many corpora, then entities and relations together.

    python scripts/train_embedded.py scripts/embedded.toml --data DATA --encoder runs/encoder --output runs/embedded

`make_embedded_encoder.py` makes the encoder. The recipe names corpora and settings of each stage. A stage whose folder
holds a finished model is passed over; one that was killed goes on from its last checkpoint. Scores on the development
parts are printed after every epoch and kept in `OUTPUT/STAGE.json`. `OUTPUT/embedded` is the model: the last stage's,
without the paths of this machine.

Sentences of development parts are taken out of every corpus that is trained on, where the same text is in several.
"""

from __future__ import annotations

import argparse
import json
import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import wasl
from wasl.conll import Sentence, glue_clitics, labels_of, read_conll, to_corpus
from wasl.text import normalise
from wasl_training import TrainingConfig, train
from wasl_training.auxiliary import Auxiliary
from wasl_training.masking import MaskingConfig, adapt, read_texts
from wasl_training.report import TrainingTable
from wasl_training.training import Trained

SHINGLE = 4  # words; two sentences are the same text where half of these runs agree


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="folder that the recipe's files are relative to")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--encoder", required=True, help="what the first stage starts from")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    recipe = tomllib.loads(options.recipe.read_text(encoding="utf-8"))
    options.output.mkdir(parents=True, exist_ok=True)

    start: str | Path = options.encoder
    mask = recipe.get("mask", {})
    if mask.get("epochs"):
        start = mask_stage(mask, options.data, options.output / "mask", start, options.seed)
    joint = recipe["joint"]
    if recipe.get("names", {}).get("epochs"):
        start = names_stage(recipe["names"], joint, options.data, options.output / "names", start, options.seed)
    joint_stage(joint, options.data, options.output / "joint", start, options.seed)
    extractor = wasl.load(options.output / "joint")
    extractor.config = replace(extractor.config, base=recipe["base"])
    extractor.save_pretrained(options.output / "embedded")


def mask_stage(recipe: dict[str, Any], data: Path, output: Path, start: str | Path, seed: int) -> Path:
    """Masked-language-model training on raw text."""
    texts = read_texts([data / name for name in recipe["texts"]], recipe.get("articles"))
    settings = {k: v for k, v in recipe.items() if k not in ("texts", "articles")}
    losses = adapt(texts, output, encoder=start, config=MaskingConfig(seed=seed, **settings), report=print)
    if losses:
        write_log(output.with_suffix(".json"), [asdict(loss) for loss in losses])
    return output


def names_stage(
    recipe: dict[str, Any], joint: dict[str, Any], data: Path, output: Path, start: str | Path, seed: int
) -> Path:
    """The joint model with a head for each further corpus beside it."""
    auxiliary = read_auxiliary(recipe["corpora"], data)
    for name, one in auxiliary.items():
        dev = len(one.dev.documents) if one.dev else 0
        count = sum(len(d.entities) for d in one.corpus.documents.values())
        print(f"{name}: {len(one.corpus.documents)} documents, {count} entities; {dev} documents kept for scoring")
    trained = run(recipe, joint, data, output, start, seed, auxiliary)
    for name, extractor in trained.auxiliary.items():
        extractor.save_pretrained(output / "heads" / name)
    return output


def joint_stage(recipe: dict[str, Any], data: Path, output: Path, start: str | Path, seed: int) -> None:
    """Entities and relations of the recipe's corpus alone."""
    run(recipe, recipe, data, output, start, seed, {})


def run(
    recipe: dict[str, Any],
    joint: dict[str, Any],
    data: Path,
    output: Path,
    start: str | Path,
    seed: int,
    auxiliary: dict[str, Auxiliary],
) -> Trained:
    settings = {k: v for k, v in recipe.items() if k not in ("corpora", "corpus", "also")}
    corpus = wasl.read_corpus(data / joint["corpus"])
    also = [wasl.read_corpus(data / name) for name in joint.get("also", ())]
    print(f"{output.name}: from {start}, {settings}", flush=True)
    with TrainingTable() as progress:
        trained = train(
            corpus, output, encoder=start, also=also, auxiliary=auxiliary, config=TrainingConfig(seed=seed, **settings),
            resume=True, progress=progress, command=f"python scripts/train_embedded.py (stage {output.name})",
        )  # fmt: skip
    if trained.epochs:
        write_log(output.with_suffix(".json"), [asdict(epoch) for epoch in trained.epochs])
    return trained


def read_auxiliary(corpora: Sequence[dict[str, Any]], data: Path) -> dict[str, Auxiliary]:
    """The recipe's word-level corpora, less what is in a development part of any of them."""
    parts: dict[str, list[Sentence]] = {}
    kept: dict[str, list[Sentence]] = {}
    for one in corpora:
        sentences = read_conll(data / one["file"])
        tail = round(len(sentences) * one.get("dev_tail", 0))
        parts[one["name"]] = sentences[: len(sentences) - tail]
        kept[one["name"]] = read_conll(data / one["dev"]) if "dev" in one else sentences[len(sentences) - tail :]
    known = {run for sentences in kept.values() for sentence in sentences for run in shingles(sentence.words)}
    found = {}
    for one in corpora:
        name, clitics = one["name"], one.get("clitics", False)
        both = [
            [glue_clitics(s) for s in sentences] if clitics else sentences for sentences in (parts[name], kept[name])
        ]
        training = [s for s in both[0] if not is_known(s.words, known)]
        labels = labels_of(both[0] + both[1])
        dev = to_corpus(both[1], labels) if both[1] else None
        print(f"{name}: {len(both[0]) - len(training)} of {len(both[0])} sentences are in a development part")
        found[name] = Auxiliary(to_corpus(training, labels), one.get("share", 1.0), clitics, dev)
    return found


def shingles(words: Iterable[str]) -> set[tuple[str, ...]]:
    """Runs of words, or the whole of a shorter sentence, in a spelling that all corpora share."""
    plain = [re.sub("[أإآٱ]", "ا", normalise(w).text) for w in words if w[0].isalnum()]
    return {tuple(plain[i : i + SHINGLE]) for i in range(max(1, len(plain) - SHINGLE + 1))}


def is_known(words: Iterable[str], known: set[tuple[str, ...]]) -> bool:
    runs = shingles(words) - {()}
    return bool(runs) and 2 * len(runs & known) >= len(runs)


def write_log(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
