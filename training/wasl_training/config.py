"""Every setting of a training run, with its default and its bounds."""

from __future__ import annotations

from dataclasses import dataclass

from wasl.errors import ArgumentError

EPOCHS_FROM_ENCODER, EPOCHS_FROM_EXTRACTOR = 24, 8
PRECISIONS = ("auto", "fp32", "bf16")


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of `train`.

    Attributes:
        epochs: passes over the training documents; where None, 24 from a bare encoder and 8 from an extractor.
        batch_size: windows in a step.
        max_pieces: most pieces in a window.
        encoder_rate: highest learning rate of the encoder (AdamW, linear warm-up and decay).
        head_rate: highest learning rate of the heads.
        warmup: share of the steps in which the rates rise, 0 to 1.
        weight_decay: of AdamW, not on biases and layer norms.
        relation_weight: of the relation loss beside the two entity losses.
        glue: chance, 0 to 1, that a proclitic is glued onto an entity in training, anew in every epoch.
        unglue: chance, 0 to 1, that a proclitic before an entity is taken off in training.
        dev_fraction: share of the documents kept for choosing epoch, calibration and thresholds, where no documents are
            named for it and there are at least `dev_from`.
        dev_from: fewest documents for a development part; below, nothing is kept back, and the last epoch is saved.
        seed: of weights, order, dropout and augmentation.
        precision: `fp32`, `bf16` (autocast), or `auto`: bf16 where the processor computes in it.
        checkpoint_seconds: least time between two checkpoints that `resume` can go on from.

    Raises:
        ArgumentError: a value makes no sense.
    """

    epochs: int | None = None
    batch_size: int = 4
    max_pieces: int = 128
    encoder_rate: float = 2e-4
    head_rate: float = 1e-3
    warmup: float = 0.1
    weight_decay: float = 0.01
    relation_weight: float = 1.0
    glue: float = 0.1
    unglue: float = 0.2
    dev_fraction: float = 0.1
    dev_from: int = 20
    seed: int = 0
    precision: str = "auto"
    checkpoint_seconds: float = 120.0

    def __post_init__(self) -> None:
        positive = {"batch_size": self.batch_size, "epochs": 1 if self.epochs is None else self.epochs}
        for name, value in positive.items():
            if value < 1:
                raise ArgumentError(f"{name}={value}: must be 1 or more")
        if self.max_pieces < 32:
            raise ArgumentError(f"max_pieces={self.max_pieces}: a window needs at least 32 pieces")
        for name in ("warmup", "glue", "unglue", "dev_fraction"):
            if not 0 <= getattr(self, name) <= 1:
                raise ArgumentError(f"{name}={getattr(self, name)}: must be between 0 and 1")
        for name in ("encoder_rate", "head_rate"):
            if not 0 <= getattr(self, name) < 1:
                raise ArgumentError(f"{name}={getattr(self, name)}: must be at least 0 and below 1")
        if self.precision not in PRECISIONS:
            raise ArgumentError(f"precision={self.precision!r}: choose one of {', '.join(PRECISIONS)}")
