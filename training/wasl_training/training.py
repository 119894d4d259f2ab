"""Training an extractor: from an encoder or an extractor and annotated documents to a model folder."""

from __future__ import annotations

import copy
import random
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments, set_seed

from wasl.config import ExtractorConfig
from wasl.corpus import SKIP_ADVICE, Corpus
from wasl.encoding import TextEncoder
from wasl.errors import ArgumentError, CorpusError, Problem
from wasl.extractor import WEIGHTS, Extractor, pad_id
from wasl.network import Network, keep_shared_rows
from wasl.pretrained import EMBEDDED
from wasl_training.calibration import calibrate
from wasl_training.config import TrainingConfig
from wasl_training.encoders import Start, load_start
from wasl_training.evaluation import check_same_rules, evaluate
from wasl_training.examples import Collator, WindowDataset
from wasl_training.fingerprint import fingerprint
from wasl_training.loss import JointLoss
from wasl_training.metrics import Figures
from wasl_training.model_card import model_card

CHECKPOINTS = "checkpoints"
BEST = "best.safetensors"
RUN = "run"
# Where no documents are kept back to choose one: what was best for uncalibrated scores of a model trained on news.
UNCALIBRATED_THRESHOLD = 0.4


@dataclass(frozen=True)
class Epoch:
    """One row of the training table.

    Attributes:
        number: from 1.
        loss, tags, proclitics, relations: means over the epoch's steps; the joint loss and its parts.
        seconds: since the training started, or was resumed.
        dev_entities, dev_strict, dev_given_gold: F1 on the development documents in percent, where there are any.
    """

    number: int
    loss: float
    tags: float
    proclitics: float
    relations: float
    seconds: float
    dev_entities: float | None = None
    dev_strict: float | None = None
    dev_given_gold: float | None = None

    @property
    def goodness(self) -> float:
        """What the best epoch has most of: the mean of entity and strict relation F1."""
        return ((self.dev_entities or 0.0) + (self.dev_strict or 0.0)) / 2


class Progress:
    """Told what happens in a training; does nothing. The command line has one that draws a table."""

    def started(self, epochs: int, steps: int, kept: tuple[list[str], list[str]], dev: list[str]) -> None:
        """Training starts: epochs, steps in all, entity and relation labels whose rows were kept, dev documents."""

    def step(self, done: int) -> None:
        """So many steps are done."""

    def epoch(self, epoch: Epoch) -> None:
        """An epoch is over."""


@dataclass(frozen=True)
class Trained:
    """What `train` made.

    Attributes:
        extractor: ready to predict.
        epochs: the table of the training.
        best: number of the epoch whose weights it has.
        dev: figures on the development documents, with the final calibration; None where there were none.
        problems: annotations that were left out.
    """

    extractor: Extractor
    epochs: list[Epoch]
    best: int
    dev: Figures | None
    problems: list[Problem] = field(default_factory=list)


def train(
    corpus: Corpus,
    output: str | Path | None = None,
    *,
    encoder: str | Path | Start = EMBEDDED,
    also: Sequence[Corpus] = (),
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

    set_seed(config.seed)  # after the encoder was loaded, which draws random numbers of its own
    network = Network(corpus.schema, start.encoder_config, copy.deepcopy(start.encoder))
    kept = keep_shared_rows(network, start.extractor.network) if start.extractor else ([], [])
    extractor_config = _extractor_config(corpus, start, config)
    text_encoder = TextEncoder(start.tokenizer, extractor_config.max_pieces, extractor_config.context_pieces)
    dataset = WindowDataset(documents, corpus.schema, text_encoder, config)
    if dataset.problems and not skip_invalid:
        raise CorpusError(dataset.problems, SKIP_ADVICE)
    if not len(dataset):
        raise CorpusError([Problem("empty corpus", "no words to train on", folder or Path("."))])

    extractor = Extractor(network, start.tokenizer, extractor_config)
    knows_all = kept == (list(corpus.schema.entities), list(corpus.schema.relation_labels))
    config = config.resolved(len(dataset), knows_all)
    identity = fingerprint(config, start, corpus.schema, {**documents, **(dev_corpus.documents if dev_corpus else {})})
    run = _Run(extractor, dataset, dev_corpus, config, folder, progress, identity)
    epochs, best = run.train(resume, kept)
    network.eval()
    if dev_corpus is not None:
        extractor.config = calibrate(extractor, dev_corpus.documents)
    dev_figures = evaluate(extractor, dev_corpus).figures if dev_corpus is not None else None
    trained = Trained(extractor, epochs, best, dev_figures, dataset.problems)
    if folder is not None and run.main_process:
        card = model_card(trained, corpus, list(documents), dev_ids, config, start.name, command)
        extractor.save_pretrained(folder, card)
        shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    return trained


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


def _extractor_config(corpus: Corpus, start: Start, config: TrainingConfig) -> ExtractorConfig:
    max_pieces = min(config.max_pieces, start.limit)
    plain = ExtractorConfig(
        corpus.schema.source,
        start.encoder_config,
        max_pieces,
        min(48, max_pieces // 4),
        relation_threshold=UNCALIBRATED_THRESHOLD,
        base=start.name,
    )
    if start.extractor is None:
        return plain
    old = start.extractor.config  # its calibration is kept until documents are at hand to fit a new one
    return replace(
        plain,
        entity_calibration=old.entity_calibration,
        relation_calibration=old.relation_calibration,
        entity_threshold=old.entity_threshold,
        relation_threshold=old.relation_threshold,
    )


def computes_in_bf16() -> bool:
    """Whether bf16 is faster than fp32 here: on a GPU that has it, or a processor with AVX512-BF16 or AMX."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


class _Run:
    """One run of the Hugging Face Trainer."""

    def __init__(
        self,
        extractor: Extractor,
        dataset: WindowDataset,
        dev: Corpus | None,
        config: TrainingConfig,
        folder: Path | None,
        progress: Progress,
        identity: str,
    ) -> None:
        self.extractor = extractor
        self.dataset = dataset
        self.dev = dev
        self.config = config
        self.folder = folder
        self.progress = progress
        self.count = config.epochs or 1
        self.identity = identity
        self.main_process = True

    def train(self, resume: bool, kept: tuple[list[str], list[str]]) -> tuple[list[Epoch], int]:
        if self.folder is None:
            with TemporaryDirectory() as folder:
                return self._train(Path(folder), None, kept)
        checkpoints = self.folder / CHECKPOINTS
        last = last_checkpoint(checkpoints) if resume else None
        if last is None:
            shutil.rmtree(checkpoints, ignore_errors=True)
        elif (checkpoints / RUN).read_text() != self.identity:
            raise ArgumentError(
                f"{checkpoints}: of a training with other settings, encoder or documents; give the same ones to go on "
                "from it, or leave out --resume to start anew"
            )
        checkpoints.mkdir(parents=True, exist_ok=True)
        (checkpoints / RUN).write_text(self.identity)
        return self._train(checkpoints, last, kept)

    def _train(
        self, checkpoints: Path, last: Path | None, kept: tuple[list[str], list[str]]
    ) -> tuple[list[Epoch], int]:
        bf16 = self.config.precision == "bf16" or (self.config.precision == "auto" and computes_in_bf16())
        arguments = TrainingArguments(
            output_dir=str(checkpoints),
            per_device_train_batch_size=self.config.batch_size or 1,
            num_train_epochs=self.count,
            warmup_steps=self.config.warmup,
            lr_scheduler_type="linear",
            seed=self.config.seed,
            bf16=bf16,
            use_cpu=not torch.cuda.is_available(),
            save_strategy="no",  # the callback asks for checkpoints
            save_total_limit=1,
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            log_level="error",
            remove_unused_columns=False,
            dataloader_pin_memory=False,
        )
        if arguments.n_gpu > 1:
            arguments._n_gpu = (
                1  # DataParallel would tear the ragged batches apart; several GPUs need `accelerate launch`
            )
        callback = _EpochCallback(self)
        trainer = _JointTrainer(
            model=JointLoss(self.extractor.network, self.config.relation_weight),
            args=arguments,
            train_dataset=self.dataset,
            data_collator=Collator(self.extractor.schema, pad_id(self.extractor.text_encoder.tokenizer)),
            callbacks=[callback],
        )
        trainer.remove_callback(_printer_callback())
        trainer.rates = (self.config.encoder_rate or 0.0, self.config.head_rate or 0.0, self.config.weight_decay)
        self.main_process = trainer.is_world_process_zero()
        callback.losses = trainer.losses
        steps = self.count * len(trainer.get_train_dataloader())
        self.progress.started(self.count, steps, kept, list(self.dev.documents) if self.dev else [])
        trainer.train(resume_from_checkpoint=str(last) if last else None)
        if callback.best_weights is not None:
            self.extractor.network.load_state_dict(callback.best_weights)
        best = max(callback.epochs, key=lambda e: e.goodness).number if self.dev else len(callback.epochs)
        return callback.epochs, best


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end; the Trainer writes `trainer_state.json` last."""
    whole = [p for p in folder.glob("checkpoint-*") if (p / "trainer_state.json").is_file()]
    return max(whole, key=lambda p: int(p.name.rsplit("-", 1)[1]), default=None)


def _printer_callback() -> type[TrainerCallback]:
    from transformers.trainer_callback import PrinterCallback

    return PrinterCallback


class _JointTrainer(Trainer):  # type: ignore[misc]
    """The Trainer with two learning rates and the parts of the loss kept for the table."""

    rates: tuple[float, float, float] = (2e-4, 1e-3, 0.01)
    optimizer: torch.optim.Optimizer | None

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.losses: list[dict[str, float]] = []

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        if self.optimizer is not None:
            return self.optimizer
        encoder_rate, head_rate, decay = self.rates
        groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
        for name, parameter in (model or self.model).named_parameters():
            groups.setdefault((".encoder." in f".{name}", parameter.ndim > 1), []).append(parameter)
        optimizer = torch.optim.AdamW(
            [
                {
                    "params": parameters,
                    "lr": encoder_rate if encoder else head_rate,
                    "weight_decay": decay if matrix else 0.0,
                }
                for (encoder, matrix), parameters in sorted(groups.items())
            ],
            fused=True,
        )
        self.optimizer = optimizer
        return optimizer

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        parts: dict[str, Tensor] = model(**inputs)
        self.losses.append({name: float(value.detach()) for name, value in parts.items()})
        return (parts["loss"], parts) if return_outputs else parts["loss"]


class _EpochCallback(TrainerCallback):  # type: ignore[misc]
    """Sets the dataset's epoch, scores the development documents, keeps the best weights, asks for checkpoints."""

    def __init__(self, run: _Run) -> None:
        self.run = run
        self.epochs: list[Epoch] = []
        self.losses: list[dict[str, float]] = []
        self.best_weights: dict[str, Tensor] | None = None
        self.started = self.saved = time.monotonic()

    @property
    def _best_file(self) -> Path | None:
        return self.run.folder / CHECKPOINTS / BEST if self.run.folder else None

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.epochs = [Epoch(**row) for row in state.log_history]
        if self.epochs and self._best_file and self._best_file.exists():
            self.best_weights = load_file(self._best_file)

    def on_epoch_begin(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.run.dataset.epoch = round(state.epoch or 0)
        self.losses.clear()

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.run.progress.step(state.global_step)

    def on_epoch_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        means = {
            k: float(np.mean([row[k] for row in self.losses])) for k in ("loss", "tags", "proclitics", "relations")
        }
        seconds = round(time.monotonic() - self.started, 1)
        epoch = Epoch(round(state.epoch or 0), **means, seconds=seconds, **self._score())
        if self.run.dev is not None and epoch.goodness > max((e.goodness for e in self.epochs), default=-1.0):
            weights = self.run.extractor.network.state_dict()
            self.best_weights = {k: v.detach().cpu().clone() for k, v in weights.items()}
            if self._best_file and self.run.main_process:
                beside = self._best_file.with_suffix(".part")
                save_file(self.best_weights, beside)
                beside.replace(self._best_file)
        self.epochs.append(epoch)
        state.log_history.append(asdict(epoch))  # a checkpoint carries the table
        self.run.progress.epoch(epoch)
        # Several processes must agree without asking each other, and their clocks differ.
        waited = args.world_size > 1 or time.monotonic() - self.saved >= self.run.config.checkpoint_seconds
        if self.run.folder and waited and epoch.number < self.run.count:
            control.should_save = True
            self.saved = time.monotonic()

    def _score(self) -> dict[str, float]:
        if self.run.dev is None:
            return {}
        network = self.run.extractor.network
        network.eval()
        found = evaluate(self.run.extractor, self.run.dev).figures
        network.train()
        return {"dev_entities": found.entities.f1, "dev_strict": found.strict.f1, "dev_given_gold": found.given_gold.f1}
