"""Every setting of a training run, with its default and its bounds."""

from __future__ import annotations

from dataclasses import dataclass, replace

from wasl.errors import ArgumentError


@dataclass(frozen=True)
class Defaults:
    """Settings that depend on what a training starts from."""

    epochs: int
    encoder_rate: float
    head_rate: float
    keep: float
    hide: float


# What was found best on news (docs/experiments.md). An extractor that knows all labels is only nudged, or it forgets;
# words are hidden where the encoder has read names before, or it learns too little of a few articles.
FROM_ENCODER, FOR_NEW_LABELS = Defaults(10, 2e-4, 1e-3, 0.0, 0.0), Defaults(10, 2e-4, 1e-3, 0.0, 0.1)
FOR_KNOWN_LABELS = Defaults(5, 2e-5, 1e-4, 0.75, 0.0)
PRECISIONS = ("auto", "fp32", "bf16")


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of `train`.

    Attributes:
        epochs: passes over the training documents; where None, 10, or 5 from an extractor that knows all labels.
        batch_size: windows in a step; where None, 2 for a few articles, rising to 8 where an epoch has 400 windows.
        max_pieces: most pieces in a window.
        split_proclitics: whether proclitics are set apart before the tokenizer (`wasl.proclitics`); where None, as the
            extractor it starts from has it, and from a bare encoder they are.
        encoder_rate: highest learning rate of the encoder (AdamW, linear warm-up and decay); where None, 2e-4, or 2e-5
            from an extractor that knows all labels.
        head_rate: highest learning rate of the heads; where None, 1e-3, or 1e-4 from such an extractor.
        keep: share of the start's weights in the finished ones, 0 to 1, where it is an extractor that knows all labels
            (Wortsman et al. 2022, arXiv 2109.01903); where None, 0.75 from such an extractor, else 0.
        warmup: share of the steps in which the rates rise, 0 to 1.
        weight_decay: of AdamW, not on biases and layer norms.
        relation_weight: of the relation loss beside the two entity losses.
        glue: chance, 0 to 1, that a proclitic is glued onto an entity in training, anew in every epoch.
        unglue: chance, 0 to 1, that a proclitic before an entity is taken off in training.
        swap: chance, 0 to 1, that an entity is replaced in training by another mention of its label.
        hide: chance, 0 to 1, that a word is hidden from the encoder in training; where None, 0.1 from an extractor that
            does not know all labels and whose tokenizer has a mask token, else 0.
        cut: chance, 0 to 1, that a word's pieces are cut into smaller ones in training.
        perturb: length (L2, over a batch) by which piece embeddings are moved against the loss for a second pass of
            each step; 0 for none. See `wasl_training.trainer`. It doubles the time.
        dev_fraction: share of the documents kept for choosing epoch, calibration and thresholds, where no documents are
            named for it and there are at least `dev_from`.
        dev_from: fewest documents for a development part; below, nothing is kept back, and the last epoch is saved.
        seed: of weights, order, dropout and augmentation.
        precision: `fp32`, `bf16` (autocast), or `auto`: bf16 where the processor computes in it.
        checkpoint_seconds: least time between two checkpoints that `resume` can go on from.
        export: whether the finished model folder gets int8 graphs for ONNX Runtime; see `wasl_training.export`.

    Raises:
        ArgumentError: a value makes no sense.
    """

    epochs: int | None = None
    batch_size: int | None = None
    max_pieces: int = 128
    split_proclitics: bool | None = None
    encoder_rate: float | None = None
    head_rate: float | None = None
    keep: float | None = None
    warmup: float = 0.1
    weight_decay: float = 0.01
    relation_weight: float = 1.0
    glue: float = 0.1
    unglue: float = 0.2
    swap: float = 0.0
    hide: float | None = None
    cut: float = 0.0
    perturb: float = 0.0
    dev_fraction: float = 0.1
    dev_from: int = 20
    seed: int = 0
    precision: str = "auto"
    checkpoint_seconds: float = 120.0
    export: bool = True

    def __post_init__(self) -> None:
        for name in ("batch_size", "epochs"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ArgumentError(f"{name}={value}: must be 1 or more")
        if self.max_pieces < 32:
            raise ArgumentError(f"max_pieces={self.max_pieces}: a window needs at least 32 pieces")
        for name in ("warmup", "glue", "unglue", "swap", "hide", "cut", "dev_fraction"):
            if not 0 <= (getattr(self, name) or 0.0) <= 1:
                raise ArgumentError(f"{name}={getattr(self, name)}: must be between 0 and 1")
        if self.perturb < 0:
            raise ArgumentError(f"perturb={self.perturb}: must be 0 or more")
        if self.keep is not None and not 0 <= self.keep < 1:
            raise ArgumentError(f"keep={self.keep}: must be at least 0 and below 1")
        for name in ("encoder_rate", "head_rate"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise ArgumentError(f"{name}={value}: must be at least 0 and below 1")
        if self.precision not in PRECISIONS:
            raise ArgumentError(f"precision={self.precision!r}: choose one of {', '.join(PRECISIONS)}")

    def windows_in_step(self, windows: int) -> int:
        """The batch size for an epoch of so many windows."""
        return self.batch_size or (8 if windows >= 400 else 4 if windows >= 150 else 2)

    def resolved(self, knows_all: bool, can_hide: bool) -> TrainingConfig:
        """The settings with all decided that follows from the start; the batch size may still be None.

        Args:
            knows_all: whether it starts from an extractor that knows all labels of the schema.
            can_hide: whether it starts from an extractor at all, whose tokenizer has a mask token.
        """
        defaults = FOR_KNOWN_LABELS if knows_all else FOR_NEW_LABELS if can_hide else FROM_ENCODER
        return replace(
            self,
            epochs=self.epochs or defaults.epochs,
            encoder_rate=defaults.encoder_rate if self.encoder_rate is None else self.encoder_rate,
            head_rate=defaults.head_rate if self.head_rate is None else self.head_rate,
            keep=(defaults.keep if self.keep is None else self.keep) if knows_all else 0.0,
            hide=defaults.hide if self.hide is None else self.hide,
        )
