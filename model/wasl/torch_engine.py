"""The network on torch: for training, for GPUs, and for models without ONNX graphs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from wasl.config import ExtractorConfig
from wasl.encoding import Encoded, Window
from wasl.engine import Engine, WordArrays
from wasl.errors import ModelError
from wasl.extractor import Extractor, pad_id
from wasl.network import Network, collate
from wasl.pairs import PAIR_FIELDS, PairIndex

PIECES_IN_BATCH = 2048  # padded pieces in one encoder pass


def torch_extractor(network: Network, tokenizer: Tokenizer, config: ExtractorConfig) -> Extractor:
    """An extractor of a network at hand; its weights are shared, not copied."""
    return Extractor(TorchEngine(network, pad_id(tokenizer)), tokenizer, config)


class TorchEngine(Engine):
    """The network on torch.

    Args:
        network: the network.
        pad_id: the token id to pad windows with.
        device: where it runs.
        bf16: compute in bf16 (autocast); where None, on a GPU only. On a CPU results then depend on the batch.
    """

    def __init__(self, network: Network, pad_id: int, device: str = "cpu", bf16: bool | None = None) -> None:
        self.network = network.to(device).eval()
        self.pad_id = pad_id
        self.bf16 = bf16
        self.relations = len(network.schema.relations)

    @classmethod
    def load(
        cls, weights: Path, config: ExtractorConfig, pad_id: int, device: str, bf16: bool | None = None
    ) -> TorchEngine:
        """An engine of a weights file.

        Raises:
            ModelError: the file is damaged, or not of this configuration.
        """
        network = Network(config.schema, config.encoder)
        try:
            network.load_state_dict(read_weights(weights))
        except (SafetensorError, RuntimeError) as error:
            raise ModelError(
                f"{weights}: the weights do not fit config.json ({str(error).splitlines()[0]}); "
                "the folder is damaged or mixed from two models, copy or train it again"
            ) from error
        return cls(network, pad_id, device, bf16)

    def save(self, weights: Path) -> None:
        """Write the weights in fp16."""
        state = {k: v.detach().cpu().to(torch.float16).contiguous() for k, v in self.network.state_dict().items()}
        save_file(state, weights, metadata={"format": "pt"})

    @property
    def device(self) -> str:
        """Where the network is now; a trainer may have moved it."""
        return next(self.network.parameters()).device.type

    def run_windows(self, windows: Sequence[tuple[Encoded, Window]]) -> list[WordArrays]:
        results: list[WordArrays] = [_NOTHING] * len(windows)
        order = sorted(range(len(windows)), key=lambda i: len(windows[i][1].pieces))
        for group in _by_budget(order, [len(windows[i][1].pieces) for i in order]):
            batch = collate([windows[i] for i in group], self.pad_id)
            with torch.inference_mode(), self._precision():
                out = self.network(batch.to(self.device))
            arrays = [t.float().cpu().numpy() for t in (out.vectors, out.tags, out.proclitics)]
            edges = np.cumsum([0] + [windows[i][1].own[1] - windows[i][1].own[0] for i in group])
            for i, low, high in zip(group, edges, edges[1:], strict=False):
                vectors, tags, proclitics = (a[low:high] for a in arrays)
                results[i] = (vectors, tags, proclitics)
        return results

    def run_index(self, vectors: np.ndarray, index: PairIndex) -> np.ndarray:
        tensors = [
            torch.from_numpy(np.ascontiguousarray(a)) for a in (vectors, *(getattr(index, f) for f in PAIR_FIELDS))
        ]
        vectors_, *index_ = (t.to(self.device) for t in tensors)
        with torch.inference_mode():
            return self.network.score_pairs(vectors_, PairIndex(*index_)).float().cpu().numpy()

    def _precision(self) -> AbstractContextManager[None]:
        wanted = self.device != "cpu" if self.bf16 is None else self.bf16
        return torch.autocast(self.device, torch.bfloat16, enabled=wanted)


def read_weights(file: Path) -> dict[str, torch.Tensor]:
    """Weights in fp32. Those of 8 bits have their scales beside them, as `NAME.scale`: products are transposed, with a
    scale for each output, as ONNX Runtime reads them; embeddings have one for each row. Where a product has
    `NAME.sizes`, by so much its graph makes each input smaller, and the weights stand there multiplied by it.
    """
    stored = load_file(file)
    weights = {name: value.float() for name, value in stored.items()}
    for name in [name for name, value in stored.items() if value.dtype == torch.int8]:
        scale = weights.pop(f"{name}.scale")
        scaled = weights[name] * scale
        if scale.ndim == 1:
            scaled = scaled.T.contiguous()
        sizes = weights.pop(f"{name}.sizes", None)
        weights[name] = scaled if sizes is None else scaled / sizes
    return weights


_NOTHING = (np.zeros((0, 0), np.float32),) * 3


def _by_budget(order: list[int], lengths: list[int]) -> Iterator[list[int]]:
    """Groups of windows, shortest first, that stay under the budget when padded to the longest of the group."""
    group: list[int] = []
    for i, length in zip(order, lengths, strict=True):
        if group and (len(group) + 1) * length > PIECES_IN_BATCH:
            yield group
            group = []
        group.append(i)
    if group:
        yield group
