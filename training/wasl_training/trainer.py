"""One run of the Hugging Face Trainer: learning rates, epochs, the best weights, checkpoints.

A step may have a second pass in which the embeddings of its pieces are moved in the direction that raises the loss most
(adversarial training; Miyato et al. 2017, arXiv 1605.07725, equation 5); the gradients of both passes are added.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from wasl.corpus import Corpus
from wasl.errors import ArgumentError
from wasl.extractor import Extractor
from wasl_training.auxiliary import MixedBatches
from wasl_training.config import TrainingConfig
from wasl_training.evaluation import evaluate
from wasl_training.examples import WindowDataset
from wasl_training.progress import Epoch, Progress

CHECKPOINTS = "checkpoints"
BEST = "best.safetensors"
RUN = "run"


def computes_in_bf16() -> bool:
    """Whether bf16 is faster than fp32 here: on a GPU that has it, or a processor with AVX512-BF16 or AMX."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def use_plain_attention(encoder: nn.Module) -> None:
    """Have an encoder on a CPU compute attention with plain matrix products.

    The fused kernel's backward pass costs as much there as all other products together (docs/experiments.md).
    """
    if not torch.cuda.is_available():
        encoder.set_attn_implementation("eager")  # type: ignore[operator]


@dataclass(frozen=True)
class Task:
    """What is trained: a loss with its examples.

    Attributes:
        loss: gives `loss`, `tags`, `proclitics` and `relations`, scalars (NaN where a batch has no such part).
        dataset: examples, or whole batches of them.
        collate: makes a batch of `batch_size` items of the dataset.
        batch_size: items in a step.
    """

    loss: nn.Module
    dataset: WindowDataset | MixedBatches
    collate: Callable[[Any], dict[str, Any]]
    batch_size: int


class Run:
    """One run of the Hugging Face Trainer.

    Args:
        extractor: whose network is trained.
        task: what it is trained on.
        dev: documents to choose the best epoch by.
        auxiliary: `{corpus: (extractor that shares the network, documents)}` to score beside.
        config: with every setting decided.
        folder: where checkpoints go; None for none.
        progress: is told of steps and epochs.
        identity: what a checkpoint must have been made with to be gone on from.
    """

    def __init__(
        self,
        extractor: Extractor,
        task: Task,
        dev: Corpus | None,
        auxiliary: Mapping[str, tuple[Extractor, Corpus]],
        config: TrainingConfig,
        folder: Path | None,
        progress: Progress,
        identity: str,
    ) -> None:
        self.extractor = extractor
        self.task = task
        self.dev = dev
        self.auxiliary = auxiliary
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
        last = begin_checkpoints(checkpoints, self.identity, resume)
        return self._train(checkpoints, last, kept)

    def _train(
        self, checkpoints: Path, last: Path | None, kept: tuple[list[str], list[str]]
    ) -> tuple[list[Epoch], int]:
        use_plain_attention(self.extractor.network.encoder)
        bf16 = self.config.precision == "bf16" or (self.config.precision == "auto" and computes_in_bf16())
        arguments = quiet_arguments(
            checkpoints, epochs=self.count, batch_size=self.task.batch_size, warmup=self.config.warmup,
            seed=self.config.seed, bf16=bf16,
        )  # fmt: skip
        callback = _EpochCallback(self)
        trainer = _JointTrainer(
            model=self.task.loss,
            args=arguments,
            train_dataset=self.task.dataset,
            data_collator=self.task.collate,
            callbacks=[callback],
        )
        trainer.rates = (self.config.encoder_rate or 0.0, self.config.head_rate or 0.0, self.config.weight_decay)
        trainer.perturb = self.config.perturb
        trainer.embeddings = self.extractor.network.encoder.get_input_embeddings().weight  # type: ignore[operator]
        self.main_process = trainer.is_world_process_zero()
        callback.losses = trainer.losses
        steps = self.count * len(trainer.get_train_dataloader())
        self.progress.started(self.count, steps, kept, list(self.dev.documents) if self.dev else [])
        trainer.train(resume_from_checkpoint=str(last) if last else None)
        if callback.best_weights is not None:
            self.task.loss.load_state_dict(callback.best_weights)
        best = max(callback.epochs, key=lambda e: e.goodness).number if self.dev else len(callback.epochs)
        return callback.epochs, best


def begin_checkpoints(folder: Path, identity: str, resume: bool) -> Path | None:
    """Make a folder of checkpoints ready for a run.

    Args:
        folder: emptied where nothing is gone on from.
        identity: of the run.
        resume: whether to go on from the last checkpoint in it.

    Returns:
        that checkpoint, if there is one.

    Raises:
        ArgumentError: it is of a run of another identity.
    """
    last = last_checkpoint(folder) if resume else None
    if last is None:
        shutil.rmtree(folder, ignore_errors=True)
    elif (folder / RUN).read_text() != identity:
        raise ArgumentError(
            f"{folder}: of a training with other settings, encoder or documents; give the same ones to go on "
            "from it, or start anew without resuming (without --resume, or with another output folder)"
        )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RUN).write_text(identity)
    return last


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end; the Trainer writes `trainer_state.json` last."""
    whole = [p for p in folder.glob("checkpoint-*") if (p / "trainer_state.json").is_file()]
    return max(whole, key=lambda p: int(p.name.rsplit("-", 1)[1]), default=None)


def quiet_arguments(
    folder: Path, *, epochs: float, batch_size: int, warmup: float, seed: int, bf16: bool, **further: Any
) -> TrainingArguments:
    """Arguments of a Trainer that prints and saves nothing by itself; a callback asks for checkpoints in `folder`."""
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=batch_size,
        num_train_epochs=epochs,
        warmup_steps=warmup,
        lr_scheduler_type="linear",
        seed=seed,
        bf16=bf16,
        use_cpu=not torch.cuda.is_available(),
        save_strategy="no",
        save_total_limit=1,
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        log_level="error",
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        **further,
    )
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1  # DataParallel would tear ragged batches apart; several GPUs need `accelerate launch`
    return arguments


class RecordingTrainer(Trainer):  # type: ignore[misc]
    """The Trainer for a model that returns the parts of its loss; they are kept in `losses`, a row for each step."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.remove_callback(PrinterCallback)
        self.losses: list[dict[str, float]] = []

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        parts: dict[str, Tensor] = model(**inputs)
        self.losses.append({name: float(value.detach()) for name, value in parts.items()})
        return (parts["loss"], parts) if return_outputs else parts["loss"]


class _JointTrainer(RecordingTrainer):
    """With two learning rates: that of the encoder and that of the heads; and with a second, perturbed pass."""

    rates: tuple[float, float, float] = (2e-4, 1e-3, 0.01)
    perturb: float = 0.0
    embeddings: nn.Parameter
    optimizer: torch.optim.Optimizer | None

    def training_step(self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:
        loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
        gradient = self.embeddings.grad  # of this step alone: it has one batch
        if not self.perturb or gradient is None or not (length := gradient.norm()):
            return loss
        before = self.embeddings.detach().clone()
        with torch.no_grad():
            self.embeddings.add_(gradient, alpha=self.perturb / float(length))
        super().training_step(model, inputs, num_items_in_batch)
        with torch.no_grad():
            self.embeddings.copy_(before)
        self.losses.pop()  # the epoch's table is of the first passes
        return loss

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


class _EpochCallback(TrainerCallback):  # type: ignore[misc]
    """Sets the dataset's epoch, scores the development documents, keeps the best weights, asks for checkpoints."""

    def __init__(self, run: Run) -> None:
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
        self.run.task.dataset.epoch = round(state.epoch or 0)
        self.losses.clear()

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.run.progress.step(state.global_step)

    def on_epoch_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        means = {
            k: float(np.nanmean([row[k] for row in self.losses])) for k in ("loss", "tags", "proclitics", "relations")
        }
        seconds = round(time.monotonic() - self.started, 1)
        scores: dict[str, Any] = {**means, **self._score()}
        epoch = Epoch(round(state.epoch or 0), seconds=seconds, **scores)
        if self.run.dev is not None and epoch.goodness > max((e.goodness for e in self.epochs), default=-1.0):
            weights = self.run.task.loss.state_dict()
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

    def _score(self) -> dict[str, Any]:
        if self.run.dev is None and not self.run.auxiliary:
            return {}
        self.run.task.loss.eval()
        scores: dict[str, Any] = {}
        if self.run.dev is not None:
            found = evaluate(self.run.extractor, self.run.dev).figures
            scores.update(
                dev_entities=found.entities.f1, dev_strict=found.strict.f1, dev_given_gold=found.given_gold.f1
            )
        scores["auxiliary"] = {
            name: evaluate(extractor, dev).figures.entities.f1 for name, (extractor, dev) in self.run.auxiliary.items()
        }
        self.run.task.loss.train()
        return scores
