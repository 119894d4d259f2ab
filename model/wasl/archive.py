"""Predictions for a whole archive: what `wasl predict` does, for Python."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from wasl.errors import ArgumentError
from wasl.inputs import STANDARD_INPUT, Unreadable, check_files, find_files, read_inputs
from wasl.outputs import Format, check_output, write_output
from wasl.parts import Part, PartFolder, PartResult, cut
from wasl.pretrained import EMBEDDED, resolve

MODEL_FILES = (".json", ".safetensors", ".onnx")  # what of a model folder shows in its predictions


class WorkerKind(StrEnum):
    """What shares out the work: processes of this machine, or Ray."""

    processes = "processes"
    ray = "ray"


@dataclass(frozen=True)
class PredictSettings:
    """How to read, predict and write.

    Attributes:
        model: a model folder, a hub id, or `embedded`.
        format: what to write; None for Parquet where the output's name says so, else JSON lines.
        text_field: the field (JSONL) or column (CSV, Parquet) the texts are in.
        whole: read standard input as one text, not as one a line.
        batch_size: texts that share encoder passes.
        workers: how many; 1 of `processes` is this process itself.
        engine: what the workers are.

    Raises:
        ArgumentError: a value that makes no sense, or Ray is not installed.
    """

    model: str = EMBEDDED
    format: Format | None = None
    text_field: str = "text"
    whole: bool = False
    batch_size: int = 32
    workers: int = 1
    engine: WorkerKind = WorkerKind.processes

    def __post_init__(self) -> None:
        for name in ("batch_size", "workers"):
            if getattr(self, name) < 1:
                raise ArgumentError(f"{name}={getattr(self, name)}: must be 1 or more")
        try:  # plain strings will do
            object.__setattr__(self, "format", None if self.format is None else Format(self.format))
            object.__setattr__(self, "engine", WorkerKind(self.engine))
        except ValueError as error:
            raise ArgumentError(
                f"{error}: formats are {', '.join(Format)}; engines are {', '.join(WorkerKind)}"
            ) from None
        if self.engine is WorkerKind.ray:
            from wasl.cluster import import_ray

            import_ray()


@dataclass(frozen=True)
class Summary:
    """What became of an archive.

    Attributes:
        documents: how many predictions there are.
        bad: how many records could not be read.
    """

    documents: int
    bad: int


def predict_archive(
    paths: Iterable[Path],
    output: Path,
    settings: PredictSettings | None = None,
    *,
    stdin: Iterable[bytes] = (),
    resume: bool = False,
    began: Callable[[int], None] = lambda size: None,
    report: Callable[[Unreadable], None] = lambda bad: None,
    progress: Callable[[PartResult], None] = lambda result: None,
) -> Summary:
    """Predict on all texts of files and folders, and write what was found.

    Finished parts are kept in `OUTPUT.parts` until all are there; then the output is written beside and renamed, and
    they are removed. With several workers, which are spawned processes, a script needs `if __name__ == "__main__":`.

    Args:
        paths: text, `.jsonl`, `.csv` and `.parquet` files, and folders of these; none for `stdin`.
        output: a file (JSONL, Parquet), or a folder (brat, HTML).
        settings: how to read, predict and write.
        stdin: lines to read where there are no paths.
        resume: go on where a killed run with the same output stopped.
        began: told the bytes of all files together, 0 for `stdin`, before the first is read.
        report: told of each record that cannot be read, in order.
        progress: told of each finished part, in order.

    Raises:
        ArgumentError: settings that do not fit the files or each other, or a resumed run with other files, model or
            settings.
        ModelError: the model cannot be loaded.
        WorkerError: a part of the archive kills its workers.
    """
    settings, paths = settings or PredictSettings(), list(paths)
    format_ = format_of(settings, output)
    check_output(format_, output)
    _check_names(paths, output)
    began(check_files(find_files(paths, output), settings.text_field))
    conf = _annotation_conf(settings.model) if format_ is Format.brat else ""
    folder = PartFolder(output, _identity(paths, settings, format_))
    folder.open(resume)
    records = read_inputs(paths, stdin, whole=settings.whole, text_field=settings.text_field, leave_out=output)
    count = bad = documents = 0
    try:
        with closing(_finish(cut(records), folder, settings)) as results:
            for result in results:
                count += 1
                bad += len(result.bad)
                for record in result.bad:
                    report(record)
                progress(result)
    finally:
        folder.close()

    def lines() -> Iterator[str]:
        nonlocal documents
        for line in folder.lines(count):
            documents += 1
            yield line

    write_output(lines(), output, format_, conf)
    folder.remove()
    return Summary(documents, bad)


def predict_lines(
    paths: Iterable[Path], settings: PredictSettings | None = None, *, stdin: Iterable[bytes] = ()
) -> Iterator[PartResult]:
    """The same without an output: results as they are found, `batch_size` texts at a time, in order.

    Args:
        paths: as of `predict_archive`.
        settings: likewise.
        stdin: likewise.
    """
    settings, paths = settings or PredictSettings(), list(paths)
    check_files(find_files(paths), settings.text_field)
    records = read_inputs(paths, stdin, whole=settings.whole, text_field=settings.text_field)
    return run_parts(cut(records, settings.batch_size), settings)


def run_parts(parts: Iterable[Part], settings: PredictSettings) -> Generator[PartResult, None, None]:
    """Results of all parts, lazily and in order, by the workers that the settings name."""
    if settings.engine is WorkerKind.ray:
        from wasl.cluster import predict_on_ray

        yield from predict_on_ray(parts, settings.model, settings.workers, settings.batch_size)
        return
    from wasl.workers import Worker, predict_in_processes

    if settings.workers > 1:
        yield from predict_in_processes(parts, settings.model, settings.workers, settings.batch_size)
    else:
        yield from map(Worker(settings.model, None, settings.batch_size), parts)


def format_of(settings: PredictSettings, output: Path | None) -> Format:
    """What is written: as the settings say, else as the output's name says."""
    by_name = Format.parquet if output is not None and output.suffix.lower() == ".parquet" else Format.jsonl
    return settings.format or by_name


def _finish(parts: Iterable[Part], folder: PartFolder, settings: PredictSettings) -> Generator[PartResult, None, None]:
    """Do the parts that are not in the folder yet, and return all in order; the parts done here are put there."""
    begun: dict[int, str] = {}  # their digests: texts that wait for a worker are not kept here too
    resumed: dict[int, PartResult] = {}

    def to_do() -> Iterator[Part]:
        for part in parts:
            found = folder.get(part)
            if found is None:
                begun[part.number] = part.digest()
                yield part
            else:
                resumed[part.number] = found

    following = 0
    with closing(run_parts(to_do(), settings)) as results:
        for result in results:
            while following in resumed:
                yield resumed.pop(following)
                following += 1
            folder.put(begun.pop(result.number), result)
            yield result
            following += 1
    while following in resumed:
        yield resumed.pop(following)
        following += 1


def _check_names(paths: list[Path], output: Path) -> None:
    for path in paths:
        if path.resolve() == output.resolve():
            raise ArgumentError(f"{output}: both an input and the output; name another with --output")


def _annotation_conf(model: str) -> str:
    from wasl.config import ExtractorConfig
    from wasl.extractor import CONFIG

    return ExtractorConfig.read(resolve(model) / CONFIG).schema.source


def _identity(paths: list[Path], settings: PredictSettings, format_: Format) -> dict[str, Any]:
    """All that shows in the output but the texts themselves, of which each part has a digest of its own."""
    import wasl

    kept = asdict(settings) | {"format": format_.value, "model": _digest(resolve(settings.model))}
    for name in ("workers", "engine"):
        del kept[name]  # the output is the same
    return {"version": wasl.__version__, "inputs": [str(p) for p in paths] or [STANDARD_INPUT], **kept}


def _digest(model: Path) -> str:
    total = hashlib.sha256()
    for path in sorted(model.iterdir()):
        if path.suffix in MODEL_FILES and path.is_file():
            with path.open("rb") as stream:
                total.update(f"{path.name} {hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()
