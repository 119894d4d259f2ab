"""Parts done by processes of this machine: results in order, whatever happens to a worker."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection

from wasl.engine import available_cores
from wasl.errors import WaslError, WorkerError
from wasl.extractor import Extractor
from wasl.parts import Part, PartResult, predict_part

DEATHS = 3  # of workers on one part, after which the part itself is to blame
AHEAD = 4  # parts for each worker that are begun or done before an earlier one is returned


def load_worker_model(model: str, threads: int | None) -> Extractor:
    """The extractor of a worker process, which is to use so many threads (None: as many as it likes)."""
    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(threads)  # of a model without graphs: read when torch is imported
    import wasl

    return wasl.load(model, threads=threads)


class Worker:
    """An extractor that is loaded once and does part after part.

    A model that cannot be loaded is told with the first part: a worker that dies as it starts leaves no message.
    """

    def __init__(self, model: str, threads: int | None, batch_size: int) -> None:
        self.batch_size = batch_size
        self.extractor: Extractor | WaslError
        try:
            self.extractor = load_worker_model(model, threads)
        except WaslError as error:
            self.extractor = error

    def __call__(self, part: Part) -> PartResult:
        """Raises: WaslError: the model cannot be loaded."""
        if isinstance(self.extractor, WaslError):
            raise self.extractor
        return predict_part(self.extractor, part, self.batch_size)


_worker: Worker  # of this process, where it is a worker


def _start(alive: Connection, model: str, threads: int, batch_size: int) -> None:
    """What a worker process does first."""
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the main process says what is to be done
    threading.Thread(target=_end_with, args=(alive,), daemon=True).start()
    _worker = Worker(model, threads, batch_size)


def _end_with(alive: Connection) -> None:
    """End this process when the main one closes its end of the pipe, or dies: not when the part is done."""
    alive.poll(None)
    os._exit(1)


def _work(part: Part) -> PartResult:
    return _worker(part)


class _Pool:
    """A process pool that can be ended at once, with the parts that are under way."""

    def __init__(self, model: str, workers: int, batch_size: int) -> None:
        # Spawned, not forked: torch and ONNX Runtime have threads of their own, which a fork would lose.
        context = multiprocessing.get_context("spawn")
        alive, self.mine = context.Pipe(duplex=False)
        threads = max(1, available_cores() // workers)
        self.executor = ProcessPoolExecutor(workers, context, _start, (alive, model, threads, batch_size))
        self.alive = alive  # kept open until all workers have it

    def submit(self, part: Part) -> Future[PartResult]:
        return self.executor.submit(_work, part)

    def end(self, at_once: bool = True) -> None:
        if at_once:
            self.mine.close()
        self.executor.shutdown(wait=True, cancel_futures=True)
        self.mine.close()
        self.alive.close()


def predict_in_processes(parts: Iterable[Part], model: str, workers: int, batch_size: int) -> Iterator[PartResult]:
    """Results of all parts, lazily and in order. Parts that a killed worker had begun are done again by another.

    The processes are spawned: a script that calls this needs `if __name__ == "__main__":`.

    Args:
        parts: what `parts.cut` gave.
        model: a folder, a hub id, or `embedded`; each process loads it once.
        workers: processes; the cores are shared out among them.
        batch_size: texts that share encoder passes.

    Raises:
        WorkerError: three workers were killed while they did the same part.
        WaslError: the model cannot be loaded.
    """
    source = iter(parts)
    waiting: deque[Part] = deque()  # not yet returned, in order
    futures: dict[int, Future[PartResult]] = {}
    deaths: Counter[int] = Counter()
    pool = _Pool(model, workers, batch_size)
    try:
        while True:
            # After a death those that may have caused it are done one at a time: the next death has one cause only.
            suspects = any(deaths[p.number] for p in waiting)
            while not suspects and len(waiting) < AHEAD * workers and (part := next(source, None)) is not None:
                waiting.append(part)
            if not waiting:
                return
            try:
                for part in list(waiting)[: 1 if suspects else None]:
                    if part.number not in futures:
                        futures[part.number] = pool.submit(part)
                result = futures[waiting[0].number].result()
            except BrokenProcessPool:
                pool.end()
                running = [p for p in waiting if p.number in futures and not _has_result(futures[p.number])][:workers]
                for part in running:
                    deaths[part.number] += 1
                    _give_up(part, deaths[part.number])
                futures = {number: f for number, f in futures.items() if _has_result(f)}
                pool = _Pool(model, workers, batch_size)
                continue
            done = waiting.popleft()
            del futures[done.number], deaths[done.number]
            yield result
    finally:
        pool.end(at_once=bool(waiting))


def _has_result(future: Future[PartResult]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def _give_up(part: Part, deaths: int) -> None:
    if deaths >= DEATHS:
        raise WorkerError(
            f"{part.place}: {deaths} workers were killed on this part, perhaps for want of memory: go on with --resume "
            "and fewer --workers, or begin again with a smaller --batch-size or without these texts"
        )
