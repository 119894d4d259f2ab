"""Parts done on a Ray cluster, by Ray Data: results in order, whatever happens to a worker."""

from __future__ import annotations

import logging
import os
import pickle
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from wasl.errors import ArgumentError, WaslError, WorkerError
from wasl.parts import Part, PartResult
from wasl.workers import DEATHS, Worker

# The inputs are put into Ray's object store, so many bytes at a time: an archive may be larger than it is.
SECTION_SIZE = 2**29


class RayWorker:
    """A worker as Ray Data wants it: batches of one part, pickled, in and out. wasl's own errors are results too."""

    def __init__(self, model: str, batch_size: int, attempts: Any) -> None:
        self.worker = Worker(model, 1, batch_size)
        self.attempts = attempts

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[bytes]]:
        """Do one part."""
        return {"result": [pickle.dumps(self.predict(pickle.loads(part))) for part in batch["part"]]}

    def predict(self, part: Part) -> PartResult | WaslError:
        """Do the part, unless it has cost too many workers already."""
        begun = import_ray().get(self.attempts.begin.remote(part.number))
        if begun > DEATHS:
            return WorkerError(
                f"{part.place}: {DEATHS} workers were lost on this part, perhaps for want of memory: begin again with "
                "a smaller --batch-size or without these texts, or go on with --resume on larger nodes"
            )
        try:
            return self.worker(part)
        except WaslError as error:
            return error


class Attempts:
    """A Ray actor that counts how often each part was begun."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()

    def begin(self, number: int) -> int:
        """How often the part was begun, this time included."""
        self.counts[number] += 1
        return self.counts[number]


def import_ray() -> Any:
    """The module `ray`, with `ray.data` loaded.

    Raises:
        ArgumentError: it is not installed.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ArgumentError("--engine ray needs Ray Data: pip install 'wasl[ray]'") from error
    return ray


def predict_on_ray(parts: Iterable[Part], model: str, workers: int, batch_size: int) -> Iterator[PartResult]:
    """Results of all parts, lazily and in order. Parts that a lost worker had begun are done again by another.

    Where `ray.init` was not called, the cluster that RAY_ADDRESS names is used, or Ray is started on this machine.

    Args:
        parts: what `parts.cut` gave. They are read here and sent to the workers, which need no files but the model.
        model: a folder that every node has, a hub id, or `embedded`; each worker loads it once for half a gigabyte of
            texts.
        workers: Ray actors, of one CPU each.
        batch_size: texts that share encoder passes.

    Raises:
        ArgumentError: Ray is not installed.
        WorkerError: a part was lost three times, or Ray failed.
        WaslError: the model cannot be loaded.
    """
    ray = import_ray()
    started = not ray.is_initialized()
    if started:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # wasl sends nothing anywhere unless asked to
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        source = iter(parts)
        while section := list(_put_section(ray, source)):
            yield from _predict_section(ray, section, model, workers, batch_size)
    finally:
        if started:
            ray.shutdown()


def _put_section(ray: Any, source: Iterator[Part]) -> Iterator[tuple[str, Any]]:
    """The places of parts of `SECTION_SIZE` together, and references to them as Arrow tables of one row."""
    import pyarrow

    size = 0
    while size < SECTION_SIZE and (part := next(source, None)) is not None:
        packed = pickle.dumps(part)
        size += len(packed)
        yield part.place, ray.put(pyarrow.table({"part": [packed]}))


def _predict_section(
    ray: Any, section: list[tuple[str, Any]], model: str, workers: int, batch_size: int
) -> Iterator[PartResult]:
    # A part is one block and one task: Ray does it again by itself where its actor is lost, without end.
    attempts = ray.remote(Attempts).options(num_cpus=0, max_restarts=-1, max_task_retries=-1).remote()
    dataset = ray.data.from_arrow_refs([reference for _, reference in section])
    dataset.context.execution_options.preserve_order = True
    dataset.context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # it tells of every dataset; wasl has a progress bar
    results = dataset.map_batches(
        RayWorker,
        fn_constructor_args=(model, batch_size, attempts),
        batch_size=1,
        batch_format="numpy",
        compute=ray.data.ActorPoolStrategy(size=min(workers, len(section)), max_tasks_in_flight_per_actor=1),
        num_cpus=1,
    )
    done = 0
    try:
        for row in results.iter_rows():
            result = pickle.loads(row["result"])
            if isinstance(result, WaslError):
                raise result
            done += 1
            yield result
    except ray.exceptions.RayError as error:
        raise WorkerError(
            f"{section[done][0]}: Ray gave up ({type(error).__name__}: {str(error).splitlines()[0]}); see that its "
            "nodes have the model and memory enough, then go on with --resume"
        ) from error
