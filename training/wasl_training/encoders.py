"""What a training run starts from: a bare encoder or a whole extractor, from anywhere."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer
from transformers.utils import logging

from wasl.errors import ModelError
from wasl.extractor import CONFIG, TOKENIZER, WEIGHTS, Extractor
from wasl.network import piece_limit, without_pooler
from wasl.pretrained import resolve

MASK_TOKENS = ("<mask>", "[MASK]")


@dataclass(frozen=True)
class Start:
    """A pretrained encoder with its tokenizer, and the extractor it is from, if any.

    Attributes:
        encoder: gives `last_hidden_state`, shape (windows, pieces, hidden); fp32.
        encoder_config: its Hugging Face configuration.
        tokenizer: a fast tokenizer.
        limit: most pieces it can read at once.
        extractor: where the start is a whole extractor.
        name: as the user named it.
        digest: SHA-256 of its weights file.
    """

    encoder: nn.Module
    encoder_config: dict[str, Any]
    tokenizer: Tokenizer
    limit: int
    extractor: Extractor | None
    name: str
    digest: str

    @property
    def split_proclitics(self) -> bool:
        """Whether proclitics are set apart: as an extractor was trained, and for a bare encoder they are."""
        return self.extractor.config.split_proclitics if self.extractor else True


def load_start(name: str | Path) -> Start:
    """Load an encoder or an extractor to train from.

    Args:
        name: `embedded`, a folder, or a hub id. Encoders may be of any BERT-like kind with a fast tokenizer. Only
            safetensors are read and no code of the model's is run.

    Raises:
        ModelError: it is not there, or is no encoder that can be used.
    """
    folder = resolve(name)
    if _is_extractor(folder):
        extractor = Extractor.from_pretrained(folder, engine="torch")
        encoder = extractor.network.encoder
        tokenizer = extractor.text_encoder.tokenizer
        return Start(
            encoder, extractor.config.encoder, tokenizer, piece_limit(encoder), extractor, str(name), _digest(folder)
        )
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        # Attention dropout costs a third of the training time on a CPU, where it rules out the fused kernel
        # (docs/experiments.md).
        for key in ("attention_probs_dropout_prob", "attention_dropout"):
            if hasattr(config, key):
                setattr(config, key, 0.0)
        with quiet_transformers():
            encoder = AutoModel.from_pretrained(
                folder, config=config, dtype=torch.float32, trust_remote_code=False, use_safetensors=True
            )
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"{name}: no encoder that can be read ({str(error).splitlines()[0]}); it needs a {CONFIG} of a model that "
            f"transformers knows and {WEIGHTS}"
        ) from error
    encoder = without_pooler(encoder)
    tokenizer = _load_tokenizer(folder, name)
    plain = json.loads(config.to_json_string(use_diff=False))  # as it will be read back
    plain.pop("_name_or_path", None)  # a path of this machine
    return Start(encoder, plain, tokenizer, piece_limit(encoder), None, str(name), _digest(folder))


def has_mask_token(tokenizer: Tokenizer) -> bool:
    return any(tokenizer.token_to_id(token) is not None for token in MASK_TOKENS)


def mask_token_id(tokenizer: Tokenizer, name: str) -> int:
    """The id of a tokenizer's mask token.

    Args:
        tokenizer: the encoder's.
        name: of the encoder, for the error.

    Raises:
        ModelError: it has none.
    """
    found = next((i for token in MASK_TOKENS if (i := tokenizer.token_to_id(token)) is not None), None)
    if found is None:
        raise ModelError(f"{name}: its tokenizer has no mask token ({' or '.join(MASK_TOKENS)}): no word can be hidden")
    return int(found)


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for weights in sorted(folder.glob("*.safetensors")):
        digest.update(weights.read_bytes())
    return digest.hexdigest()


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Without transformers' progress bar and warnings, such as its table of the pooler's missing weights."""
    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()


def _is_extractor(folder: Path) -> bool:
    try:
        return json.loads((folder / CONFIG).read_text(encoding="utf-8")).get("model_type") == "wasl"
    except (OSError, ValueError):
        return False


def _load_tokenizer(folder: Path, name: str | Path) -> Tokenizer:
    if (folder / TOKENIZER).is_file():
        return Tokenizer.from_file(str(folder / TOKENIZER))
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, use_fast=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{name}: no tokenizer that can be read ({str(error).splitlines()[0]})") from error
    if not tokenizer.is_fast:
        raise ModelError(f"{name}: has no fast tokenizer; save one as {TOKENIZER} beside its weights")
    return Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
