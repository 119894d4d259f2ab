"""What a model folder's `config.json` holds, besides the encoder's own configuration."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from wasl.errors import ModelError
from wasl.schema import Schema

FORMAT = 1  # raised when a model folder of this version could not be read by the one before


@dataclass(frozen=True)
class Calibration:
    """Turns a raw logit into a probability: sigmoid(slope * logit + shift) (Platt 1999).

    Attributes:
        slope, shift: fitted on documents that were not trained on; 1 and 0 where there were none.
    """

    slope: float = 1.0
    shift: float = 0.0


@dataclass(frozen=True)
class ExtractorConfig:
    """Everything but the weights and the tokenizer.

    Attributes:
        annotation_conf: the schema, as the text of its `annotation.conf`.
        encoder: the encoder's Hugging Face configuration.
        max_pieces: most pieces in a window, special tokens included.
        context_pieces: pieces of earlier sentences repeated at the start of a window; none by default, as they cost
            time and give nothing (docs/experiments.md).
        split_proclitics: whether proclitics are set apart before the tokenizer; see `wasl.proclitics`.
        entity_calibration, relation_calibration: how raw scores become probabilities: of an entity, and of a relation
            given its two entities.
        triple_calibration: how the product of a relation's probability and those of its two entities becomes the
            probability of all three. They are not independent: where a relation is read, its entities are surer.
        entity_threshold: least probability of an entity that is returned, 0 to 1.
        relation_threshold: least probability, given its two entities, of a relation that is returned, 0 to 1.
        base: the encoder or extractor the training started from.
        format: version of the folder's layout.
    """

    annotation_conf: str
    encoder: dict[str, Any]
    max_pieces: int = 192
    context_pieces: int = 0
    split_proclitics: bool = False
    entity_calibration: Calibration = field(default_factory=Calibration)
    relation_calibration: Calibration = field(default_factory=Calibration)
    triple_calibration: Calibration = field(default_factory=Calibration)
    entity_threshold: float = 0.0
    relation_threshold: float = 0.5
    base: str = ""
    format: int = FORMAT

    @property
    def schema(self) -> Schema:
        return Schema.parse(self.annotation_conf)

    def write(self, path: Path) -> None:
        path.write_text(
            json.dumps({"model_type": "wasl", **asdict(self)}, ensure_ascii=False, indent=2) + "\n", encoding="utf-8"
        )

    @classmethod
    def read(cls, path: Path) -> ExtractorConfig:
        """Read a `config.json`.

        Raises:
            ModelError: it is not a wasl model's, or was made by a version this one cannot read.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ModelError(f"{path}: not JSON ({error}); the folder is damaged, download or train it again") from None
        if not isinstance(data, dict) or data.pop("model_type", None) != "wasl":
            raise ModelError(
                f"{path}: an encoder, not a wasl extractor; train one from it with "
                f"`wasl train CORPUS --encoder {path.parent} --output DIR`"
            )
        if data.get("format") != FORMAT:
            raise ModelError(
                f"{path}: made by another version of wasl (folder format {data.get('format')}, this version reads "
                f"{FORMAT}); train it again, or install the wasl version its model card names"
            )
        unknown = sorted(data.keys() - {f.name for f in fields(cls)})
        if unknown:
            raise ModelError(f"{path}: unknown settings {', '.join(unknown)}; install a newer wasl")
        try:
            for key in ("entity_calibration", "relation_calibration"):
                data[key] = Calibration(**data[key])
            data["triple_calibration"] = Calibration(**data.get("triple_calibration", {}))  # older folders have none
            return cls(**data)
        except (KeyError, TypeError) as error:
            raise ModelError(f"{path}: {error} is missing or wrong; the folder is damaged, train it again") from None
