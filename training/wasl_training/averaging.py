"""The mean of the weights of extractors trained from one start: better than each, at the cost of one.

Wortsman et al. 2022, arXiv 2203.05482.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch

from wasl.errors import ArgumentError
from wasl.extractor import Extractor
from wasl.torch_engine import torch_extractor


def average(extractors: Sequence[Extractor]) -> Extractor:
    """An extractor whose weights are the mean of others'; with the first one's calibration, so calibrate it anew.

    Args:
        extractors: with torch networks, trained from one encoder with the same settings. One that is given twice counts
            twice.

    Raises:
        ArgumentError: they differ in labels, in shape, or in how they read proclitics.
    """
    first = extractors[0]
    weights = [e.network.state_dict() for e in extractors]
    shapes = [{key: weight.shape for key, weight in w.items()} for w in weights]
    for other, theirs in zip(extractors, shapes, strict=True):
        same_reading = other.config.split_proclitics == first.config.split_proclitics
        if other.schema != first.schema or theirs != shapes[0] or not same_reading:
            raise ArgumentError(
                "models to be averaged need the same schema and encoder, and proclitics set apart in all or in none"
            )
    network = copy.deepcopy(first.network)
    network.load_state_dict({key: torch.stack([w[key].float() for w in weights]).mean(dim=0) for key in weights[0]})
    return torch_extractor(network.eval(), first.text_encoder.tokenizer, first.config)
