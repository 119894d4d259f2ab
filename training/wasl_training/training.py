"""Training an extractor: from an encoder or an extractor and annotated documents to a model folder."""

from __future__ import annotations

import copy
import random
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor
from transformers import set_seed

from wasl.config import ExtractorConfig
from wasl.corpus import SKIP_ADVICE, Corpus
from wasl.errors import ArgumentError, CorpusError, Problem
from wasl.extractor import WEIGHTS, Extractor, pad_id
from wasl.network import Network, keep_shared_rows
from wasl.pretrained import EMBEDDED
from wasl.schema import Schema
from wasl.torch_engine import torch_extractor
from wasl_training.auxiliary import MAIN, Auxiliary, MixedBatches, MixedCollator, MixedLoss
from wasl_training.calibration import calibrate
from wasl_training.config import TrainingConfig
from wasl_training.encoders import Start, has_mask_token, load_start
from wasl_training.evaluation import check_same_rules, evaluate
from wasl_training.examples import Collator, WindowDataset
from wasl_training.export import export
from wasl_training.fingerprint import fingerprint
from wasl_training.loss import JointLoss
from wasl_training.metrics import Figures
from wasl_training.model_card import model_card
from wasl_training.progress import Epoch, Progress
from wasl_training.trainer import CHECKPOINTS, Run, Task

# Where no documents are kept back to choose one: what was best for uncalibrated scores of a model trained on news.
UNCALIBRATED_THRESHOLD = 0.4


@dataclass(frozen=True)
class Trained:
    """What `train` made.

    Attributes:
        extractor: ready to predict.
        epochs: the table of the training.
        best: number of the epoch whose weights it has.
        dev: figures on the development documents, with the final calibration; None where there were none.
        problems: annotations that were left out.
        auxiliary: by name, extractors of the entities of the auxiliary corpora with labels of their own; they share the
            encoder.
    """

    extractor: Extractor
    epochs: list[Epoch]
    best: int
    dev: Figures | None
    problems: list[Problem] = field(default_factory=list)
    auxiliary: dict[str, Extractor] = field(default_factory=dict)


def train(
    corpus: Corpus,
    output: str | Path | None = None,
    *,
    encoder: str | Path | Start = EMBEDDED,
    also: Sequence[Corpus] = (),
    auxiliary: Mapping[str, Auxiliary] | None = None,
    dev: list[str] | None = None,
    config: TrainingConfig | None = None,
    skip_invalid: bool = False,
    resume: bool = False,
    command: str = "",
    progress: Progress | None = None,
) -> Trained:
    """Train an extractor for a corpus's schema.

    Args:
        corpus: its schema is the extractor's; its documents are trained on.
        output: the model folder to write, with checkpoints in it while training; None to keep all in memory.
        encoder: an encoder or an extractor to start from: `embedded`, a folder, a hub id, or one already loaded.
        also: further documents to train on, with the same labels.
        auxiliary: by name, corpora that are trained on beside, most with labels of their own.
        dev: ids of documents of `corpus` to keep back for choosing epoch, calibration and thresholds; where None, a
            tenth of a corpus of 20 or more documents, chosen by chance; [] for none.
        config: all other settings.
        skip_invalid: leave out annotations that cannot be used instead of raising.
        resume: go on from the last checkpoint in `output`, if there is one.
        command: what to name in the model card as the command that made it.
        progress: is told of steps and epochs.

    Raises:
        CorpusError: annotations cannot be used and `skip_invalid` is off, or `also` has other labels.
        ModelError: the encoder cannot be loaded.
    """
    config = config or TrainingConfig()
    progress = progress or Progress()
    folder = Path(output) if output is not None else None
    if resume and folder is not None and (folder / WEIGHTS).is_file() and not (folder / CHECKPOINTS).is_dir():
        return Trained(Extractor.from_pretrained(folder), [], 0, None)  # it was finished
    start = encoder if isinstance(encoder, Start) else load_start(encoder)
    for other in also:
        check_same_rules(corpus.schema, other.schema)
    dev_ids = choose_dev(corpus, dev, config)
    dev_corpus = corpus.select(dev_ids) if dev_ids else None
    documents = dict(corpus.select(without=dev_ids).documents)
    for n, other in enumerate(also):
        documents.update({f"also{n}/{id_}": document for id_, document in other.documents.items()})

    extractor, kept = begin(corpus.schema, start, config)
    network, text_encoder = extractor.network, extractor.text_encoder
    can_hide = start.extractor is not None and has_mask_token(start.tokenizer)
    config = config.resolved(_knows_all(corpus.schema, kept), can_hide)
    dataset = WindowDataset(documents, corpus.schema, text_encoder, config, start.limit)
    if dataset.problems and not skip_invalid:
        raise CorpusError(dataset.problems, SKIP_ADVICE)
    if not len(dataset):
        raise CorpusError([Problem("empty corpus", "no words to train on", folder or Path("."))])

    config = replace(config, batch_size=config.windows_in_step(len(dataset)))
    begun = copy.deepcopy(network.state_dict()) if config.keep else {}
    for one in (auxiliary or {}).values():
        if one.joint:
            check_same_rules(corpus.schema, one.corpus.schema)
    known = {**documents, **(dev_corpus.documents if dev_corpus else {})}
    for name, one in (auxiliary or {}).items():
        known.update({f"{name}/{one.share}/{id_}": document for id_, document in one.corpus.documents.items()})
    identity = fingerprint(config, start, corpus.schema, known)
    task, beside = _task(extractor, dataset, auxiliary or {}, config, start.limit)
    scored = {
        name: (beside.get(name, extractor), one.dev) for name, one in (auxiliary or {}).items() if one.dev is not None
    }
    run = Run(extractor, task, dev_corpus, scored, config, folder, progress, identity)
    epochs, best = run.train(resume, kept)
    network.eval()
    if config.keep:
        keep_weights(network, begun, config.keep)
    if dev_corpus is not None:
        extractor.config = calibrate(extractor, dev_corpus.documents)
    dev_figures = evaluate(extractor, dev_corpus).figures if dev_corpus is not None else None
    trained = Trained(extractor, epochs, best, dev_figures, dataset.problems, beside)
    if folder is not None and run.main_process:
        card = model_card(trained, corpus, list(documents), dev_ids, config, start.name, command)
        extractor.save_pretrained(folder, card)
        if config.export:
            export(extractor, folder)
        shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    return trained


def begin(schema: Schema, start: Start, config: TrainingConfig) -> tuple[Extractor, tuple[list[str], list[str]]]:
    """An extractor of a schema before any training: heads by chance, but for what the start knows of its labels.

    Args:
        schema: the labels.
        start: the encoder is copied.
        config: its `seed` decides the heads.

    Returns:
        the extractor; the entity and relation labels whose rows were kept.
    """
    set_seed(config.seed)
    network = Network(schema, start.encoder_config, copy.deepcopy(start.encoder))
    kept = keep_shared_rows(network, start.extractor.network) if start.extractor else ([], [])
    settings = _extractor_config(schema, start, config, _knows_all(schema, kept))
    return torch_extractor(network, start.tokenizer, settings), kept


def _knows_all(schema: Schema, kept: tuple[list[str], list[str]]) -> bool:
    return kept == (list(schema.entities), list(schema.relation_labels))


def keep_weights(network: Network, begun: Mapping[str, Tensor], share: float) -> None:
    """Make a network's weights a mean of its own and those it began with, which have so large a share.

    What a few documents teach is kept, and less is lost of what they do not show (Wortsman et al. 2022, arXiv
    2109.01903).
    """
    with torch.no_grad():
        for name, weight in network.state_dict().items():
            if weight.is_floating_point():
                weight.lerp_(begun[name].to(weight.device), share)


def _task(
    extractor: Extractor,
    dataset: WindowDataset,
    auxiliary: Mapping[str, Auxiliary],
    config: TrainingConfig,
    most_pieces: int,
) -> tuple[Task, dict[str, Extractor]]:
    """What is trained, and an extractor for each auxiliary corpus."""
    pad = pad_id(extractor.text_encoder.tokenizer)
    joint = JointLoss(extractor.network, config.relation_weight)
    collate = Collator(extractor.schema, pad)
    size = config.batch_size or 1
    if not auxiliary:
        return Task(joint, dataset, collate, size), {}
    loss = MixedLoss(joint, auxiliary)
    others = {n: one.dataset(extractor.text_encoder, config, most_pieces) for n, one in auxiliary.items()}
    datasets = {MAIN: dataset, **others}
    shares = {MAIN: 1.0, **{n: one.share for n, one in auxiliary.items()}}
    collators = {MAIN: collate, **{n: Collator(one.corpus.schema, pad) for n, one in auxiliary.items()}}
    beside = {name: loss.extractor(name, auxiliary[name].corpus.schema, extractor) for name in loss.heads}
    return Task(loss, MixedBatches(datasets, shares, size, config.seed), MixedCollator(collators), 1), beside


def choose_dev(corpus: Corpus, dev: list[str] | None, config: TrainingConfig) -> list[str]:
    """Ids of the development documents; see `train`."""
    ids = list(corpus.documents)
    if dev is not None:
        corpus.select(dev)
        if len(dev) >= len(ids):
            raise ArgumentError("every document is in the development part; leave some to train on")
        return dev
    if len(ids) < config.dev_from or config.dev_fraction == 0:
        return []
    return sorted(random.Random(config.seed).sample(ids, max(2, round(config.dev_fraction * len(ids)))))


def _extractor_config(schema: Schema, start: Start, config: TrainingConfig, knows_all: bool) -> ExtractorConfig:
    max_pieces = min(config.max_pieces, start.limit)
    plain = ExtractorConfig(
        schema.source,
        start.encoder_config,
        max_pieces,
        split_proclitics=start.split_proclitics if config.split_proclitics is None else config.split_proclitics,
        relation_threshold=UNCALIBRATED_THRESHOLD,
        base=start.name,
    )
    if start.extractor is None or not knows_all:
        return plain  # what was fitted to other labels says nothing of new ones
    old = start.extractor.config  # its calibration is kept until documents are at hand to fit a new one
    return replace(
        plain,
        entity_calibration=old.entity_calibration,
        relation_calibration=old.relation_calibration,
        triple_calibration=old.triple_calibration,
        entity_threshold=old.entity_threshold,
        relation_threshold=old.relation_threshold,
    )
