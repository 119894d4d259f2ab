"""Masked-language-model training of an encoder on raw text, to make it at home in a domain (Gururangan et al. 2020).

Whole words are masked (Devlin et al. 2019, section 3.1 and its later whole-word release): of a word of several pieces
the others would give a single one away. The head is thrown away afterwards.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset
from transformers import TrainerCallback, TrainerControl, TrainerState, set_seed

from wasl.encoding import TextEncoder
from wasl.errors import ArgumentError, CorpusError, Problem
from wasl.extractor import CONFIG, TOKENIZER, WEIGHTS, pad_id
from wasl.pretrained import EMBEDDED
from wasl_training.encoders import Start, load_start, mask_token_id
from wasl_training.trainer import (
    CHECKPOINTS,
    RecordingTrainer,
    begin_checkpoints,
    computes_in_bf16,
    quiet_arguments,
    use_plain_attention,
)

IGNORED = -100


@dataclass(frozen=True)
class MaskingConfig:
    """Settings of `adapt`.

    Attributes:
        epochs: passes over the texts; may be a fraction.
        rate: highest learning rate (AdamW, linear warm-up and decay to 0).
        batch_size: windows in a step.
        max_pieces: most pieces in a window.
        share: of the words that are predicted.
        warmup: share of the steps in which the rate rises.
        dev: share of the texts kept back for the loss that is reported.
        log_steps: steps between two reports.
        checkpoint_seconds: least time between two checkpoints.
        seed: of order, masks and dropout.

    Raises:
        ArgumentError: a value makes no sense.
    """

    epochs: float = 1.0
    rate: float = 3e-4
    batch_size: int = 32
    max_pieces: int = 128
    share: float = 0.15
    warmup: float = 0.06
    dev: float = 0.01
    log_steps: int = 500
    checkpoint_seconds: float = 300.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs <= 0 or self.batch_size < 1 or self.log_steps < 1:
            raise ArgumentError("epochs, batch_size and log_steps must be above 0")
        for name in ("share", "warmup", "dev"):
            if not 0 <= getattr(self, name) < 1:
                raise ArgumentError(f"{name}={getattr(self, name)}: must be at least 0 and below 1")


@dataclass(frozen=True)
class MaskedLoss:
    """One report: after so many steps, the mean cross-entropy (nats) since the last one, and on the kept-back texts."""

    step: int
    loss: float
    dev_loss: float
    seconds: float


@dataclass(frozen=True)
class MaskWindow:
    """A window's pieces, and for each the word it belongs to, counted from 0; -1 for special tokens."""

    pieces: np.ndarray
    word: np.ndarray


class MaskDataset(Dataset[MaskWindow]):
    """Windows of whole sentences of raw texts, packed into two arrays: tens of millions of pieces fit in memory."""

    def __init__(self, texts: Iterable[str], text_encoder: TextEncoder) -> None:
        pieces: list[np.ndarray] = []
        words: list[np.ndarray] = []
        for text in texts:
            for window in text_encoder.encode(text, context=False).windows:
                word = np.full(len(window.pieces), -1, dtype=np.int16)
                word[window.link_pieces] = window.link_words - window.link_words.min(initial=window.own[0])
                pieces.append(window.pieces.astype(np.int32))
                words.append(word)
        self.bounds = np.cumsum([0] + [len(p) for p in pieces])
        self.pieces = np.concatenate(pieces) if pieces else np.zeros(0, np.int32)
        self.words = np.concatenate(words) if words else np.zeros(0, np.int16)

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __getitem__(self, index: int) -> MaskWindow:
        here = slice(self.bounds[index], self.bounds[index + 1])
        return MaskWindow(self.pieces[here], self.words[here])


class MaskCollator:
    """Masks words anew each time: of the chosen, 80 % become the mask, 10 % a random piece, 10 % stay as they are."""

    def __init__(self, mask_id: int, pad: int, vocabulary: int, share: float, seed: int) -> None:
        self.mask_id = mask_id
        self.pad = pad
        self.vocabulary = vocabulary
        self.share = share
        self.random = np.random.default_rng(seed)

    def __call__(self, windows: Sequence[MaskWindow]) -> dict[str, Tensor]:
        length = max(len(w.pieces) for w in windows)
        ids = np.full((len(windows), length), self.pad, dtype=np.int64)
        labels = np.full((len(windows), length), IGNORED, dtype=np.int64)
        attention = np.zeros((len(windows), length), dtype=np.int64)
        for row, window in enumerate(windows):
            n = len(window.pieces)
            ids[row, :n], attention[row, :n] = window.pieces, 1
            count = int(window.word.max(initial=-1)) + 1
            if not count:
                continue
            chosen = self.random.random(count) < self.share
            chosen[self.random.integers(count)] = True
            fate = self.random.random(count)
            masked = (window.word >= 0) & chosen[window.word]
            labels[row, :n] = np.where(masked, window.pieces, IGNORED)
            here = fate[window.word]
            ids[row, :n] = np.where(masked & (here < 0.8), self.mask_id, ids[row, :n])
            other = self.random.integers(self.vocabulary, size=n)
            ids[row, :n] = np.where(masked & (here >= 0.9), other, ids[row, :n])
        return {
            "input_ids": torch.from_numpy(ids),
            "attention_mask": torch.from_numpy(attention),
            "labels": torch.from_numpy(labels),
        }


class MaskedModel(nn.Module):
    """An encoder with BERT's masked-language-model head, its output tied to the word embedding.

    Only masked positions go through the head: its product with the vocabulary would cost a third of the encoder.
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        hidden = int(encoder.config.hidden_size)  # type: ignore[union-attr, arg-type]
        self.transform = nn.Sequential(nn.Linear(hidden, hidden), nn.GELU(), nn.LayerNorm(hidden))
        self.bias = nn.Parameter(torch.zeros(encoder.get_input_embeddings().num_embeddings))  # type: ignore[operator]

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor) -> dict[str, Tensor]:
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        masked = labels != IGNORED
        embedding = self.encoder.get_input_embeddings().weight  # type: ignore[operator]
        logits = functional.linear(self.transform(states[masked]), embedding, self.bias)
        return {"loss": functional.cross_entropy(logits.float(), labels[masked])}


def adapt(
    texts: Iterable[str],
    output: str | Path,
    *,
    encoder: str | Path = EMBEDDED,
    config: MaskingConfig | None = None,
    report: Callable[[MaskedLoss], object] | None = None,
) -> list[MaskedLoss]:
    """Train an encoder on raw texts and write it to a folder that `train` can start from.

    Goes on from the last checkpoint in `output`; returns at once, with an empty list, where it was finished.

    Args:
        texts: raw texts.
        output: the encoder folder to write.
        encoder: what to start from; see `load_start`.
        config: settings.
        report: is told the losses as they come.

    Raises:
        ModelError: the encoder cannot be loaded, or its tokenizer has no mask token.
        CorpusError: there are no texts.
        ArgumentError: the checkpoint is of other texts, settings or another encoder.
    """
    config = config or MaskingConfig()
    folder = Path(output)
    if (folder / WEIGHTS).is_file():
        return []
    start = load_start(encoder)
    mask_id = mask_token_id(start.tokenizer, start.name)
    set_seed(config.seed)
    text_encoder = TextEncoder(start.tokenizer, min(config.max_pieces, start.limit), 0, start.split_proclitics)
    dataset = MaskDataset(texts, text_encoder)
    if len(dataset) < 2:
        raise CorpusError([Problem("empty corpus", "no texts to train on", folder)])
    kept = max(1, round(config.dev * len(dataset)))
    order = np.random.default_rng(config.seed).permutation(len(dataset)).tolist()
    pad, vocabulary = pad_id(start.tokenizer), start.tokenizer.get_vocab_size()
    use_plain_attention(start.encoder)
    model = MaskedModel(start.encoder)
    callback = _Reports(model, config, report or (lambda _: None))
    collate = MaskCollator(mask_id, pad, vocabulary, config.share, config.seed + 1)
    callback.dev = [collate([dataset[i] for i in order[:kept][at : at + 32]]) for at in range(0, kept, 32)]
    trainer = RecordingTrainer(
        model=model,
        args=quiet_arguments(
            folder / CHECKPOINTS,
            epochs=config.epochs,
            batch_size=config.batch_size,
            warmup=config.warmup,
            seed=config.seed,
            bf16=computes_in_bf16(),
            learning_rate=config.rate,
            weight_decay=0.01,
        ),
        train_dataset=torch.utils.data.Subset(dataset, order[kept:]),
        data_collator=collate,
        callbacks=[callback],
    )
    callback.losses = trainer.losses
    last = begin_checkpoints(folder / CHECKPOINTS, _identity(config, start, dataset), resume=True)
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    _save(model, start.encoder_config, text_encoder, folder)
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    return callback.reports


def _identity(config: MaskingConfig, start: Start, dataset: MaskDataset) -> str:
    digest = hashlib.sha256(json.dumps([asdict(config), start.digest]).encode())
    digest.update(dataset.pieces.tobytes())
    return digest.hexdigest()[:16]


def _save(model: MaskedModel, encoder_config: dict[str, Any], text_encoder: TextEncoder, folder: Path) -> None:
    """The encoder alone, as `load_start` reads it; the weights last."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(json.dumps(encoder_config, indent=1) + "\n", encoding="utf-8")
    text_encoder.tokenizer.save(str(folder / TOKENIZER))
    state = {k: v.detach().cpu().contiguous() for k, v in model.encoder.state_dict().items()}
    save_file(state, folder / f"{WEIGHTS}.part", metadata={"format": "pt"})
    (folder / f"{WEIGHTS}.part").replace(folder / WEIGHTS)


class _Reports(TrainerCallback):  # type: ignore[misc]
    """Reports losses and asks for checkpoints."""

    def __init__(self, model: MaskedModel, config: MaskingConfig, report: Callable[[MaskedLoss], object]) -> None:
        self.model = model
        self.config = config
        self.report = report
        self.reports: list[MaskedLoss] = []
        self.losses: list[dict[str, float]] = []
        self.dev: list[dict[str, Tensor]] = []
        self.started = self.saved = time.monotonic()

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.reports = [MaskedLoss(**row) for row in state.log_history]

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.global_step % self.config.log_steps == 0 or state.global_step == state.max_steps:
            mean = float(np.mean([row["loss"] for row in self.losses])) if self.losses else float("nan")
            self.losses.clear()
            seconds = round(time.monotonic() - self.started, 1)
            self.reports.append(MaskedLoss(state.global_step, mean, self._dev_loss(), seconds))
            state.log_history.append(asdict(self.reports[-1]))  # a checkpoint carries the reports
            self.report(self.reports[-1])
        if time.monotonic() - self.saved >= self.config.checkpoint_seconds and state.global_step < state.max_steps:
            control.should_save = True
            self.saved = time.monotonic()

    def _dev_loss(self) -> float:
        self.model.eval()
        device = self.model.bias.device
        with torch.inference_mode():
            losses = [self.model(**{k: v.to(device) for k, v in batch.items()})["loss"] for batch in self.dev]
        self.model.train()
        return float(torch.stack(losses).mean())
