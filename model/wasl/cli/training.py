"""`wasl train`, `wasl evaluate`, `wasl crossval`: looked up in `wasl_training` when one of them runs.

The package that predicts does not depend on the one that trains; only the commands here know of it.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer

from wasl.conll import read_conll
from wasl.corpus import read_corpus
from wasl.errors import ArgumentError, WaslError
from wasl.pretrained import EMBEDDED

CorpusArgument = Annotated[Path, typer.Argument(help="Folder of ID.txt and ID.ann with an annotation.conf.")]
EncoderOption = Annotated[
    str, typer.Option(help="What to start from: `embedded`, a folder or a hub id; an encoder or a whole extractor.")
]
AlsoOption = Annotated[
    list[Path] | None, typer.Option(help="A further corpus, for the training part only. May be repeated.")
]
EpochsOption = Annotated[
    int | None, typer.Option(min=1, help="Passes over the corpus [default: 10 from an encoder, 5 from an extractor].")
]
BatchOption = Annotated[
    int | None, typer.Option(min=1, help="Windows in a step [default: 2 to 8, by the size of the corpus].")
]
PiecesOption = Annotated[int | None, typer.Option(min=32, help="Most pieces in a window.")]
RateOption = Annotated[
    float | None, typer.Option(help="Highest learning rate of the encoder [default: 2e-4, or 2e-5 from an extractor].")
]
HeadRateOption = Annotated[
    float | None, typer.Option(help="Highest learning rate of the heads [default: 1e-3, or 1e-4 from an extractor].")
]
PrecisionOption = Annotated[str | None, typer.Option(help="fp32, bf16, or auto: bf16 where it is the faster.")]
SkipOption = Annotated[bool, typer.Option("--skip-invalid", help="Leave out annotations that cannot be used.")]
JsonOption = Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")]


def _settings(**given: object) -> Any:
    """Not None, of the options given, as a TrainingConfig."""
    config = training_module("config").TrainingConfig
    return config(**{name: value for name, value in given.items() if value is not None})


def training_module(name: str) -> ModuleType:
    """A module of `wasl_training`.

    Raises:
        WaslError: what it needs is not installed.
    """
    try:
        return importlib.import_module(f"wasl_training.{name}")
    except ModuleNotFoundError as error:
        raise WaslError(f"this needs {error.name}, which is not installed: pip install 'wasl[train]'") from error


def train_command(
    corpus: CorpusArgument,
    output: Annotated[Path, typer.Option(help="The model folder to write.")],
    encoder: EncoderOption = EMBEDDED,
    also: AlsoOption = None,
    holdout: Annotated[
        list[str] | None, typer.Option(help="Id of a document to leave out altogether. May be repeated.")
    ] = None,
    dev: Annotated[
        list[str] | None,
        typer.Option(
            help="Id of a document to choose epoch, calibration and thresholds on. May be repeated "
            "[default: a tenth of the corpus if it has 20 documents or more, else none]."
        ),
    ] = None,
    epochs: EpochsOption = None,
    batch_size: BatchOption = None,
    max_pieces: PiecesOption = None,
    learning_rate: RateOption = None,
    head_learning_rate: HeadRateOption = None,
    precision: PrecisionOption = None,
    seed: Annotated[int, typer.Option(help="Of weights, order, dropout and augmentation.")] = 0,
    skip_invalid: SkipOption = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in the output.")] = False,
) -> None:
    """Train an extractor on annotated articles and write it as a model folder with a model card."""
    report = training_module("report")
    config = _settings(
        epochs=epochs, batch_size=batch_size, max_pieces=max_pieces, encoder_rate=learning_rate,
        head_rate=head_learning_rate, precision=precision, seed=seed,
    )  # fmt: skip
    main = read_corpus(corpus, skip_invalid=skip_invalid)
    others = [read_corpus(folder, skip_invalid=skip_invalid) for folder in also or ()]
    report.print_problems([p for c in (main, *others) for p in c.problems])
    training_module("crossvalidation").check_held_out(main.select(holdout or []).documents, others)
    with report.TrainingTable() as progress:
        trained = training_module("training").train(
            main.select(without=holdout), output, encoder=encoder, also=others, dev=dev, config=config,
            skip_invalid=skip_invalid, resume=resume, progress=progress,
            command=training_module("model_card").shown_command(sys.argv[1:]),
        )  # fmt: skip
    report.print_trained(trained, output)


def evaluate_command(
    model: Annotated[str, typer.Argument(help="A model folder, a hub id, or `embedded`.")],
    corpus: Annotated[
        Path, typer.Argument(help="Folder of ID.txt and ID.ann with an annotation.conf; or a word-level file.")
    ],
    documents: Annotated[
        list[str] | None, typer.Option(help="Id of a document to score on; all where none. May be repeated.")
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            help="Of a word-level file: which of its labels each of the model's stands for, `PER=PERS,ORG=ORG`, or a "
            "JSON file of the same [default: labels of the same name]."
        ),
    ] = None,
    json_: JsonOption = None,
    skip_invalid: SkipOption = False,
) -> None:
    """Score a model on annotated articles: entities, relations end to end, and relations with the entities given.

    A file with a word and its IOB2 tag a line is scored as word-level papers do, with seqeval's strict mode.
    """
    from wasl.extractor import Extractor

    report = training_module("report")
    if corpus.is_file():
        if documents:
            raise ArgumentError("--documents: a word-level file has no documents; leave it out")
        word_level = training_module("word_level")
        extractor = Extractor.from_pretrained(model)
        mapping = word_level.read_label_map(labels, extractor.schema.entities) if labels else None
        scored = word_level.evaluate_words(extractor, read_conll(corpus), mapping)
        report.print_word_figures(scored, f"{model} on {corpus}")
        if json_:
            _write_json(json_, scored.to_dict())
        return
    if labels:
        raise ArgumentError(f"--labels: only for a word-level file, and {corpus} is none")
    part = read_corpus(corpus, skip_invalid=skip_invalid).select(documents)
    report.print_problems(part.problems)
    found = training_module("evaluation").evaluate(Extractor.from_pretrained(model), part)
    report.print_figures(found.figures, f"{model} on {len(part.documents)} documents")
    report.print_calibration(found.calibration)
    if json_:
        _write_json(json_, found.to_dict())


def crossval_command(
    corpus: CorpusArgument,
    output: Annotated[Path, typer.Option(help="Folder for the counts of finished folds, which are not run again.")],
    encoder: EncoderOption = EMBEDDED,
    also: AlsoOption = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds.")] = 3,
    epochs: EpochsOption = None,
    batch_size: BatchOption = None,
    max_pieces: PiecesOption = None,
    learning_rate: RateOption = None,
    head_learning_rate: HeadRateOption = None,
    precision: PrecisionOption = None,
    json_: JsonOption = None,
    skip_invalid: SkipOption = False,
) -> None:
    """Leave one article out: train on all others and score on it, for every article and several seeds."""
    report = training_module("report")
    config = _settings(
        epochs=epochs, batch_size=batch_size, max_pieces=max_pieces, encoder_rate=learning_rate,
        head_rate=head_learning_rate, precision=precision,
    )  # fmt: skip
    main = read_corpus(corpus, skip_invalid=skip_invalid)
    others = [read_corpus(folder, skip_invalid=skip_invalid) for folder in also or ()]
    report.print_problems([p for c in (main, *others) for p in c.problems])
    with report.FoldProgress(len(main.documents) * seeds) as progress:
        found = training_module("crossvalidation").crossval(
            main, output, encoder=encoder, also=others, seeds=seeds, config=config, progress=progress,
            fold=progress.fold,
            skip_invalid=skip_invalid,
        )  # fmt: skip
    report.print_crossval(found)
    if json_:
        _write_json(json_, found.to_dict())


def _write_json(path: Path, data: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".part")
    beside.write_text(json.dumps(data, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    beside.replace(path)
