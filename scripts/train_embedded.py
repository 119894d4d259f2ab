"""Make the embedded model, stage by stage, from the encoder that `make_embedded_encoder.py` makes.

    python scripts/train_embedded.py scripts/embedded.toml --data DATA --encoder runs/encoder --output runs/embedded

The recipe names the corpora and the stages. A stage is one of four things: masked-language-model training on raw text
(`texts`); training on the main corpus and on others beside it; annotating raw text with the mean of models of earlier
stages (`teachers`), for a later stage to train on; or the mean of the weights of models of earlier stages (`average`).
A stage whose folder is finished is passed over; one that was killed goes on from its last checkpoint. Scores on the
development parts are printed after every epoch and kept in `OUTPUT/STAGE.json`. `OUTPUT/embedded` is the last stage's
model, without the paths of this machine.

Sentences of development parts are taken out of every corpus that is trained on, where the same text is in several.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import re
import shutil
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import wasl
from referenced import read_referenced
from wasl.conll import Sentence, glue_clitics, labels_of, read_conll, to_corpus
from wasl.corpus import SCHEMA_FILE, Corpus, write_document
from wasl.document import Document
from wasl.extractor import WEIGHTS, Extractor
from wasl.text import normalise
from wasl_training import TrainingConfig, evaluate, train
from wasl_training.auxiliary import Auxiliary
from wasl_training.averaging import average
from wasl_training.calibration import calibrate
from wasl_training.committee import committee
from wasl_training.export import export
from wasl_training.masking import MaskingConfig, adapt
from wasl_training.raw import read_articles
from wasl_training.report import TrainingTable
from wasl_training.training import choose_dev

SHINGLE = 4  # words; two texts are the same where many of these runs agree


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="folder that the recipe's files are relative to")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--encoder", required=True, help="what the stages that name no other start from")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    recipe = tomllib.loads(options.recipe.read_text(encoding="utf-8"))
    options.output.mkdir(parents=True, exist_ok=True)
    stages = Stages(recipe, options.recipe.parent, options.data, options.output, options.encoder, options.seed)
    for stage in recipe["stages"]:
        stages.run(stage)
    extractor = wasl.load(options.output / recipe["stages"][-1]["name"], engine="torch")
    extractor.config = replace(extractor.config, base=recipe["base"])
    extractor.save_pretrained(options.output / "embedded")
    export(extractor, options.output / "embedded", compact=True)


class Stages:
    """Runs the stages of a recipe.

    Args:
        recipe: see `embedded.toml`.
        beside: folder of the recipe, which packed annotations and `folders` are relative to.
        data: folder that all its other files are relative to.
        output: a folder for each stage goes here.
        encoder: what stages that name no other start from.
        seed: of every stage that has none of its own.
    """

    def __init__(self, recipe: dict[str, Any], beside: Path, data: Path, output: Path, encoder: str, seed: int) -> None:
        self.data = data
        self.output = output
        self.encoder = encoder
        self.seed = seed
        self.corpus = wasl.read_corpus(data / recipe["corpus"])
        self.also = [wasl.read_corpus(data / name) for name in recipe.get("also", ())]
        self.auxiliary = read_auxiliary(recipe.get("corpora", {}), data)
        self.dev = choose_dev(self.corpus, None, TrainingConfig(seed=seed))  # the same in every stage
        for name, folder in recipe.get("folders", {}).items():
            self.auxiliary[name] = Auxiliary(wasl.read_corpus(beside / folder), joint=True)
        self.held_out: list[Document] = []
        for name, one in recipe.get("referenced", {}).items():
            texts = [data / text for text in one["texts"]]
            found = read_referenced(beside / one["file"], texts, self.corpus.schema.source)
            if one.get("held_out", False):
                self.held_out += found.documents.values()
                continue
            kept = [id_ for id_, document in found.documents.items() if is_dev(document.text, one.get("dev", 0))]
            self.auxiliary[name] = Auxiliary(found.select(without=kept), joint=True)
            self.corpus = Corpus(self.corpus.schema, {**self.corpus.documents, **found.select(kept).documents})
            self.dev += kept

    def run(self, stage: dict[str, Any]) -> None:
        settings = dict(stage)
        name, start = settings.pop("name"), settings.pop("start", None)
        settings.setdefault("seed", self.seed)
        print(f"{name}: from {start or 'the encoder'}, {settings}", flush=True)
        begin = self.output / start if start else self.encoder
        if "teachers" in settings:
            self.annotate(self.output / name, **settings)
        elif "average" in settings:
            self.average(self.output / name, settings["average"])
        elif "texts" in settings:
            self.mask(self.output / name, begin, settings)
        else:
            self.train(self.output / name, begin, settings)

    def mask(self, output: Path, start: str | Path, settings: dict[str, Any]) -> None:
        """Masked-language-model training on raw text."""
        articles = read_articles([self.data / name for name in settings.pop("texts")], settings.pop("articles", None))
        texts = (article.text for article in articles)
        losses = adapt(texts, output, encoder=start, config=MaskingConfig(**settings), report=print)
        if losses:
            write_log(output.with_suffix(".json"), [asdict(loss) for loss in losses])

    def train(self, output: Path, start: str | Path, settings: dict[str, Any]) -> None:
        """Joint training on the main corpus, with others beside it; their own heads are kept in `heads`."""
        beside = {}
        entities_only = settings.pop("entities_only", ())
        for name, share in settings.pop("beside", {}).items():
            one = self.auxiliary.get(name) or Auxiliary(wasl.read_corpus(self.output / name), joint=True)
            beside[name] = replace(one, share=share, relations=name not in entities_only)
        config = TrainingConfig(**{"keep": 0.0, "hide": 0.0, "export": False, **settings})
        with TrainingTable() as progress:
            trained = train(
                self.corpus, output, encoder=start, also=self.also, auxiliary=beside, dev=self.dev, config=config,
                resume=True, progress=progress, command=f"python scripts/train_embedded.py (stage {output.name})",
            )  # fmt: skip
        if trained.epochs:
            write_log(output.with_suffix(".json"), [asdict(epoch) for epoch in trained.epochs])
            for name, extractor in trained.auxiliary.items():
                extractor.save_pretrained(output / "heads" / name)

    def average(self, output: Path, names: list[str]) -> None:
        """The mean of the weights of models trained from one encoder; one that is named twice counts twice."""
        if (output / WEIGHTS).is_file():
            return
        extractor = average([wasl.load(self.output / name, engine="torch") for name in names])
        self.calibrate(extractor)
        extractor.save_pretrained(output)

    def calibrate(self, extractor: Extractor) -> None:
        """Fit calibration and thresholds on the development documents, and print the figures there."""
        dev = self.corpus.select(self.dev)
        extractor.config = calibrate(extractor, dev.documents)
        found = evaluate(extractor, dev).figures
        print(
            f"on the development documents: entities {found.entities.f1:.1f}, given gold {found.given_gold.f1:.1f}, "
            f"strict {found.strict.f1:.1f}"
        )

    def annotate(
        self, output: Path, teachers: list[str], texts: list[str], articles: dict[str, int], words: list[int], seed: int
    ) -> None:
        """Raw articles with what the mean of the teachers finds in them, as a corpus.

        So many articles of each category are drawn, of a length between two numbers of words, and none that shares
        text with a document of the main corpus or a held-out one.
        """
        if (output / SCHEMA_FILE).is_file():
            return
        extractor = committee([wasl.load(self.output / name, engine="torch") for name in teachers])
        self.calibrate(extractor)
        known = {
            run for document in [*self.corpus.documents.values(), *self.held_out] for line in sentences(document.text)
            for run in shingles(line)
        }  # fmt: skip
        drawn = draw_articles([self.data / name for name in texts], articles, words, known, seed)
        beside = output.with_name(output.name + ".part")
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        for number, document in enumerate(extractor.predict_many(drawn)):
            write_document(document, beside, f"{number:05d}")
        (beside / SCHEMA_FILE).write_text(self.corpus.schema.source, encoding="utf-8")
        shutil.rmtree(output, ignore_errors=True)
        beside.rename(output)


def is_dev(text: str, one_in: int) -> bool:
    """Whether a document is for development: one in so many (0: none), whatever other documents there are."""
    return one_in > 0 and int(hashlib.sha256(text.encode()).hexdigest(), 16) % one_in == 0


def draw_articles(
    files: Sequence[Path], articles: dict[str, int], words: Sequence[int], known: set[tuple[str, ...]], seed: int
) -> Iterator[str]:
    """Texts, so many of each category, by chance."""
    least, most = words
    found: dict[str, list[str]] = {category: [] for category in articles}
    for article in read_articles(files):
        if article.category in found and least <= len(article.text.split()) <= most:
            found[article.category].append(article.text)
    for category, texts in found.items():
        random.Random(f"{seed} {category}").shuffle(texts)
        new = (text for text in texts if not is_known(text.split(), known, 0.15))
        yield from (text for _, text in zip(range(articles[category]), new, strict=False))


def read_auxiliary(corpora: dict[str, dict[str, Any]], data: Path) -> dict[str, Auxiliary]:
    """The recipe's word-level corpora, less what is in a development part of any of them."""
    parts: dict[str, list[Sentence]] = {}
    kept: dict[str, list[Sentence]] = {}
    for name, one in corpora.items():
        lines = read_conll(data / one["file"])
        tail = round(len(lines) * one.get("dev_tail", 0))
        parts[name] = lines[: len(lines) - tail]
        kept[name] = read_conll(data / one["dev"]) if "dev" in one else lines[len(lines) - tail :]
    known = {run for lines in kept.values() for sentence in lines for run in shingles(sentence.words)}
    found = {}
    for name, one in corpora.items():
        clitics = one.get("clitics", False)
        both = [[glue_clitics(s) for s in lines] if clitics else lines for lines in (parts[name], kept[name])]
        training = [s for s in both[0] if not is_known(s.words, known)]
        labels = labels_of(both[0] + both[1])
        corpus = to_corpus(training, labels)
        print(
            f"{name}: {len(corpus.documents)} documents, {sum(len(d.entities) for d in corpus.documents.values())} "
            f"entities; {len(both[0]) - len(training)} of {len(both[0])} sentences are in a development part; "
            f"{len(both[1])} kept for scoring"
        )
        found[name] = Auxiliary(corpus, 1.0, clitics, to_corpus(both[1], labels) if both[1] else None)
    return found


def sentences(text: str) -> list[list[str]]:
    """Words of the lines and sentences of a text, roughly."""
    return [words for line in re.split(r"[\n.]", text) if len(words := line.split()) >= SHINGLE]


def shingles(words: Iterable[str]) -> set[tuple[str, ...]]:
    """Runs of words, or the whole of a shorter sentence, in a spelling that all corpora share."""
    plain = [re.sub("[أإآٱ]", "ا", normalise(w).text) for w in words if w[0].isalnum()]
    return {tuple(plain[i : i + SHINGLE]) for i in range(max(1, len(plain) - SHINGLE + 1))}


def is_known(words: Iterable[str], known: set[tuple[str, ...]], share: float = 0.5) -> bool:
    """Whether at least a share of the runs of words are known."""
    runs = shingles(words) - {()}
    return bool(runs) and len(runs & known) >= share * len(runs)


def write_log(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
