"""The model card: what a model is, what it was made from and by which command, and how good it is."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING

import wasl
from wasl.corpus import Corpus
from wasl_training.config import TrainingConfig
from wasl_training.metrics import Figures

if TYPE_CHECKING:
    from wasl_training.training import Trained


def model_card(
    trained: Trained,
    corpus: Corpus,
    trained_on: list[str],
    dev: list[str],
    config: TrainingConfig,
    base: str,
    command: str,
) -> str:
    """A model card in Markdown with the Hugging Face front matter."""
    schema = trained.extractor.schema
    settings = "\n".join(f"| {key} | {value} |" for key, value in asdict(config).items())
    extractor = trained.extractor.config
    dropped = (
        f"\n{len(trained.problems)} annotations could not be used and were left out.\n" if trained.problems else ""
    )
    return f"""---
language: ar
library_name: wasl
tags: [token-classification, relation-extraction, arabic]
---

# A wasl extractor

Finds entities and the relations between them in Arabic text; made by wasl {wasl.__version__}.

```python
import wasl

document = wasl.load("THIS FOLDER").predict("...")
```

**Entities:** {", ".join(schema.entities)}.
**Relations:** {", ".join(schema.relation_labels) or "none"}.

## Training

Started from `{base}`. Trained on {len(trained_on)} documents: {", ".join(trained_on[:40])}{" ..." if len(trained_on) > 40 else ""}.
{dropped}
```
{command or "wasl_training.train(...) from Python"}
```

| setting | value |
|---|---|
{settings}
| epochs trained | {len(trained.epochs)} |
| epoch kept | {trained.best} |

## Figures

{_figures(trained.dev, dev)}
Scores are probabilities after calibration (slope and shift: entities {extractor.entity_calibration.slope},
{extractor.entity_calibration.shift}; relations {extractor.relation_calibration.slope},
{extractor.relation_calibration.shift}; of a relation with both its entities
{extractor.triple_calibration.slope}, {extractor.triple_calibration.shift}). Relations are returned from {extractor.relation_threshold} on.

## Limits

Relations are found within a sentence only. Names end at the end of a word. Other kinds of text than that of the training
documents give worse results; evaluate on documents of your own with `wasl evaluate`.
"""


def _figures(figures: Figures | None, dev: list[str]) -> str:
    if figures is None:
        return (
            "No documents were kept back for development, so there are none here, and calibration and threshold are those\n"
            "of the model it started from (or plain logits and 0.5).\n"
        )
    rows = "\n".join(
        f"| {name} | {s.precision:.1f} | {s.recall:.1f} | {s.f1:.1f} | {s.support} |"
        for name, s in (
            ("entities", figures.entities),
            ("relations, boundaries", figures.boundaries),
            ("relations, strict", figures.strict),
            ("relations, gold entities given", figures.given_gold),
        )
    )
    return f"""On the {len(dev)} development documents, which also chose the epoch, the calibration and the threshold (so these
figures are optimistic): {", ".join(dev[:40])}{" ..." if len(dev) > 40 else ""}.

| | precision | recall | F1 | support |
|---|---|---|---|---|
{rows}

Entities that start inside a word: {figures.clitic_recall:.1f} % of {figures.clitic_support} found exactly.
"""


def shown_command(arguments: list[str]) -> str:
    """The command line as one would type it; `python -m wasl_training` has no subcommand."""
    return shlex.join(["wasl", *([] if arguments[:1] == ["train"] else ["train"]), *arguments])
