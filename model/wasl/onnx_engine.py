"""The network on ONNX Runtime, for CPUs: two graphs that `wasl export` writes beside the weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime

from wasl.config import ExtractorConfig
from wasl.encoding import Encoded, Window
from wasl.engine import Engine, WordArrays, available_cores
from wasl.errors import ModelError
from wasl.pairs import PAIR_FIELDS, PairIndex
from wasl.pretrained import GRAPHS

WORDS, PAIRS = GRAPHS


class OnnxEngine(Engine):
    """Runs each window by itself, on one thread, and as many windows at once as there are threads.

    So nothing is padded, and what a window gives does not depend on what else is in the batch: the dynamic quantisation
    of int8 graphs takes its scale from all that is in a tensor.

    Args:
        folder: a model folder with graphs.
        config: its configuration.
        threads: windows that are computed at once; the cores this process may use, where None.

    Raises:
        ModelError: a graph is damaged, or not of this configuration.
    """

    def __init__(self, folder: Path, config: ExtractorConfig, threads: int | None = None) -> None:
        self.relations = len(config.schema.relations)
        self.threads = threads or available_cores()
        self.words = make_session(folder / WORDS)
        self.pairs = make_session(folder / PAIRS)
        tags = config.schema.tag_slices[-1].stop
        shapes = (self.words.get_outputs()[1].shape[1], self.pairs.get_outputs()[0].shape[1])
        if shapes != (tags, max(self.relations, 1)):
            raise ModelError(
                f"{folder}: its graphs ({shapes[0]} tags, {shapes[1]} relations) are of another model than its "
                f"config.json ({tags}, {self.relations}); make them again with `wasl export {folder}`"
            )
        self.pool = ThreadPoolExecutor(self.threads, thread_name_prefix="wasl")

    def run_windows(self, windows: Sequence[tuple[Encoded, Window]]) -> list[WordArrays]:
        return self.start_windows(windows)()

    def start_windows(self, windows: Sequence[tuple[Encoded, Window]]) -> Callable[[], list[WordArrays]]:
        started = [self.pool.submit(self._run, encoded, window) for encoded, window in windows]
        return lambda: [one.result() for one in started]

    def _run(self, encoded: Encoded, window: Window) -> WordArrays:
        first, last = window.own
        own = (window.link_words >= first) & (window.link_words < last)
        mean = np.zeros((last - first, len(window.pieces)), np.float32)
        mean[window.link_words[own] - first, window.link_pieces[own]] = 1
        mean /= np.maximum(mean.sum(axis=1, keepdims=True), 1)
        feed = {"pieces": window.pieces[None], "mean": mean, "letters": encoded.words.letters[first:last]}
        vectors, tags, proclitics = self.words.run(None, feed)
        return vectors, tags, proclitics

    def run_index(self, vectors: np.ndarray, index: PairIndex) -> np.ndarray:
        feed = {"vectors": vectors, **{name: getattr(index, name) for name in PAIR_FIELDS}}
        logits: np.ndarray = self.pairs.run(None, feed)[0]
        return logits


def make_session(graph: Path) -> onnxruntime.InferenceSession:
    """A session that runs on the thread it is called from.

    Raises:
        ModelError: the graph is damaged.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        # That fusion is slower than what it fuses, by a sixth of the whole (docs/experiments.md).
        return onnxruntime.InferenceSession(
            graph, options, providers=["CPUExecutionProvider"], disabled_optimizers=["SkipLayerNormFusion"]
        )
    except Exception as error:  # onnxruntime's own errors have no common base
        raise ModelError(
            f"{graph}: damaged ({str(error).splitlines()[0]}); copy it or run `wasl export` again"
        ) from error
