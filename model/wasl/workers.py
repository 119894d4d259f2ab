"""Parts done by processes of this machine: results in order, whatever happens to a worker."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from queue import SimpleQueue

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


def _serve(connection: Connection, model: str, threads: int, batch_size: int) -> None:
    """A worker process: parts come in, results or errors go out, until it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the main process says what is to be done
    threading.Thread(target=_end_with_main, daemon=True).start()
    worker = Worker(model, threads, batch_size)
    while True:
        try:
            part = connection.recv()
        except EOFError:
            return
        try:
            connection.send(worker(part))
        except Exception as error:
            error.add_note(traceback.format_exc())  # which does not travel otherwise
            connection.send(error)


def _end_with_main() -> None:
    """End this process as soon as the main one dies: not when the part is done."""
    main = multiprocessing.parent_process()
    assert main is not None
    main.join()
    os._exit(1)


class _Process:
    """A worker process at the other end of a pipe of its own.

    So it is known which part killed it, and a result that it was killed in the middle of ends there. The standard
    library's `ProcessPoolExecutor`, with one queue for all results, waits for the rest of it for ever.
    """

    def __init__(self, model: str, threads: int, batch_size: int) -> None:
        # Spawned, not forked: torch and ONNX Runtime have threads of their own, which a fork would lose.
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, model, threads, batch_size), daemon=True)
        self.process.start()
        theirs.close()  # or its death would not end the pipe

    def do(self, part: Part) -> PartResult | Exception | None:
        """What came of a part; None where the process died."""
        try:
            self.connection.send(part)
            found: PartResult | Exception = self.connection.recv()
        except (EOFError, OSError):
            return None
        return found

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


class _Pool:
    """So many processes, each with a thread that waits for it."""

    def __init__(self, model: str, workers: int, batch_size: int) -> None:
        self.settings = model, max(1, available_cores() // workers), batch_size
        self.executor = ThreadPoolExecutor(workers, thread_name_prefix="wasl-worker")
        self.lock = threading.Lock()
        self.ended = False
        self.processes: set[_Process] = set()
        self.idle: SimpleQueue[_Process | None] = SimpleQueue()  # None: one that is to be started
        for _ in range(workers):
            self.idle.put(None)

    def submit(self, part: Part) -> Future[PartResult]:
        return self.executor.submit(self._do, part)

    def _do(self, part: Part) -> PartResult:
        process = self.idle.get_nowait()  # there are as many as threads
        try:
            for _ in range(DEATHS):
                process = process or self._start()
                found = process.do(part)
                if isinstance(found, PartResult):
                    return found
                if found is not None:
                    raise found
                self._bury(process)
                process = None
        finally:
            self.idle.put(process)
        raise WorkerError(
            f"{part.place}: {DEATHS} workers were killed on this part, perhaps for want of memory: go on with --resume "
            "and fewer --workers, or begin again with a smaller --batch-size or without these texts"
        )

    def _start(self) -> _Process:
        with self.lock:
            if self.ended:
                raise CancelledError
            process = _Process(*self.settings)
            self.processes.add(process)
            return process

    def _bury(self, process: _Process) -> None:
        with self.lock:
            if not self.ended:
                self.processes.remove(process)
                process.end()

    def end(self) -> None:
        """Kill the processes, whatever they are doing."""
        with self.lock:
            self.ended = True
            for process in self.processes:
                process.process.kill()
        self.executor.shutdown(wait=True, cancel_futures=True)
        for process in self.processes:
            process.end()


def predict_in_processes(parts: Iterable[Part], model: str, workers: int, batch_size: int) -> Iterator[PartResult]:
    """Results of all parts, lazily and in order. A part that a worker was killed on is done again by another.

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
    waiting: deque[Future[PartResult]] = deque()
    pool = _Pool(model, workers, batch_size)
    try:
        while True:
            while len(waiting) < AHEAD * workers and (part := next(source, None)) is not None:
                waiting.append(pool.submit(part))
            if not waiting:
                return
            yield waiting.popleft().result()
    finally:
        pool.end()
