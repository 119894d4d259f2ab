"""Leave one article out: train on all documents of a corpus but one, score on that one, for each and for each seed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wasl.corpus import Corpus
from wasl.document import Document
from wasl.errors import CorpusError, Problem
from wasl.pretrained import EMBEDDED
from wasl_training.config import TrainingConfig
from wasl_training.encoders import Start, load_start
from wasl_training.evaluation import evaluate
from wasl_training.fingerprint import fingerprint
from wasl_training.metrics import TASKS, Figures, Tally, figures, pool
from wasl_training.progress import Progress
from wasl_training.training import train


@dataclass(frozen=True)
class Crossval:
    """What `crossval` found.

    Attributes:
        pooled: over all documents and seeds.
        per_document: `{document id: figures over the seeds}`.
        per_seed: figures of each seed.
        tallies: `{(seed, document id): counts}`.
    """

    pooled: Figures
    per_document: dict[str, Figures]
    per_seed: list[Figures]
    tallies: dict[tuple[int, str], Tally]

    def to_dict(self) -> dict[str, Any]:
        return {
            **self.pooled.to_dict(),
            "per_document": {id_: f.to_dict() for id_, f in self.per_document.items()},
            "per_seed": [f.to_dict() for f in self.per_seed],
        }


def crossval(
    corpus: Corpus,
    output: str | Path,
    *,
    encoder: str | Path = EMBEDDED,
    also: Sequence[Corpus] = (),
    seeds: int = 3,
    config: TrainingConfig | None = None,
    skip_invalid: bool = False,
    progress: Progress | None = None,
    fold: Callable[[int, str, Figures], None] | None = None,
) -> Crossval:
    """Leave one document out, once for each document and seed.

    Nothing of the held-out document is used in its fold: there is no development part, so epochs are fixed beforehand,
    and calibration and threshold are the start's. Finished folds are kept in `output` and not trained again, unless a
    setting, the encoder or a document has changed.

    Args:
        corpus: annotated documents; two or more.
        output: a folder for the counts of finished folds.
        encoder: what each fold starts from.
        also: further documents to train on in every fold.
        seeds: how many seeds, from `config.seed` on.
        config: all other settings.
        skip_invalid: leave out annotations that cannot be used instead of raising.
        progress: is told of steps and epochs of each fold.
        fold: is told of each fold's seed, document and figures.
    """
    config = config or TrainingConfig()
    folds = Path(output) / "folds"
    folds.mkdir(parents=True, exist_ok=True)
    check_held_out(corpus.documents, also)
    start = load_start(encoder)
    tallies: dict[tuple[int, str], Tally] = {}
    for seed in range(config.seed, config.seed + seeds):
        for id_ in corpus.documents:
            kept = folds / f"{id_}-seed{seed}.json"
            settings = replace(config, seed=seed)
            identity = fold_identity(settings, start, corpus, also)
            counts = load_tally(kept, identity)
            if counts is None:
                trained = train(
                    corpus.select(without=[id_]), encoder=start, also=also, dev=[], config=settings,
                    skip_invalid=skip_invalid, progress=progress,
                )  # fmt: skip
                counts = evaluate(trained.extractor, corpus.select([id_])).tallies[id_]
                save_tally(counts, kept, identity)
            tallies[seed, id_] = counts
            if fold:
                fold(seed, id_, figures([counts]))
    return summarise_folds(tallies)


def summarise_folds(tallies: dict[tuple[int, str], Tally]) -> Crossval:
    """Pool the counts of all folds; documents, each with all of its seeds, are what intervals resample."""
    seeds = sorted({seed for seed, _ in tallies})
    ids = sorted({id_ for _, id_ in tallies})
    by_document = {id_: pool(tallies[seed, id_] for seed in seeds) for id_ in ids}
    return Crossval(
        figures(list(by_document.values()), repeats=len(seeds)),
        {id_: figures([t], repeats=len(seeds)) for id_, t in by_document.items()},
        [figures([tallies[seed, id_] for id_ in ids]) for seed in seeds],
        tallies,
    )


def check_held_out(held_out: Mapping[str, Document], also: Sequence[Corpus]) -> None:
    """Raise CorpusError where a held-out text is in a corpus that is trained on."""
    for id_, document in held_out.items():
        for other in also:
            for name, known in other.documents.items():
                if known.text == document.text:
                    message = f"the same text is {name} of an --also corpus; take it out there"
                    raise CorpusError([Problem("held-out document is trained on", message, Path(f"{id_}.txt"))])


def fold_identity(config: TrainingConfig, start: Start, corpus: Corpus, also: Sequence[Corpus]) -> str:
    """What the counts of a fold depend on, besides which document is held out."""
    documents = dict(corpus.documents)
    for n, other in enumerate(also):
        documents.update({f"also{n}/{id_}": document for id_, document in other.documents.items()})
    return fingerprint(config, start, corpus.schema, documents)


def save_tally(counts: Tally, path: Path, identity: str) -> None:
    """Keep the counts of a fold."""
    data = {
        "identity": identity,
        **{name: getattr(counts, name) for name in ("hits", "predicted", "gold")},
        "clitic_hits": counts.clitic_hits,
        "clitic_gold": counts.clitic_gold,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part")
    beside.write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")
    beside.replace(path)


def load_tally(path: Path, identity: str) -> Tally | None:
    """The counts that were kept; None where there are none, or where they are of something else."""
    if not path.is_file():
        return None
    data = json.loads(path.read_text(encoding="utf-8"))
    if data["identity"] != identity:
        return None
    counts = Tally(clitic_hits=data["clitic_hits"], clitic_gold=data["clitic_gold"])
    for name in ("hits", "predicted", "gold"):
        for task in TASKS:
            getattr(counts, name)[task].update(data[name][task])
    return counts
