"""What a training's result depends on, as one short string: kept work is used again only where it is the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict

from wasl.document import Document
from wasl.schema import Schema
from wasl_training.config import TrainingConfig
from wasl_training.encoders import Start


def fingerprint(config: TrainingConfig, start: Start, schema: Schema, documents: Mapping[str, Document]) -> str:
    """A digest of the settings, the encoder's weights, the schema, and the texts and annotations."""
    digest = hashlib.sha256()
    for part in (asdict(config), start.digest, schema.source):
        digest.update(json.dumps(part, sort_keys=True).encode())
    for id_, document in documents.items():
        digest.update(json.dumps([id_, document.to_dict()], sort_keys=True).encode())
    return digest.hexdigest()[:16]
