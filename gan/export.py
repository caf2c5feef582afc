"""From a generator to a published data set: shards drawn and encoded in parallel, card and provenance.

A GAN draws as many images as are asked for. Any other generator has left the images that it made, and hands these out.

Each worker draws whole shards: while one encodes, another keeps the network busy. A shard depends on the request
and its own number alone (its random stream, one thread of arithmetic), so any number of workers gives the same bytes.
Finished shards survive a kill in a hidden folder beside the output, and the same request continues from them.
"""

import re
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from filelock import FileLock, Timeout

from data.base.device import Compute, threads_kept
from data.base.errors import AugmentError, CorruptFileError, UsageError
from data.base.files import digest_file, digest_json, read_json, write_json, write_text
from data.base.limits import check_limit, check_seed
from data.base.names import check_class_name, public_dataset_name
from data.base.randomness import numpy_stream, torch_stream
from data.images import LabelledImages
from data.parquet import read_subset
from data.publishing.card import CardFacts, dataset_card
from data.publishing.class_names import PROVENANCE_FILE as PROVENANCE_FILE  # it names the generator's own too
from data.publishing.class_names import class_record
from data.publishing.croissant import croissant
from data.publishing.formats import PIECES, FileFormat, ShardRows, encode_shard, join_pieces, write_shard
from gan.checkpoint import GENERATOR_FILE, load_generator
from gan.config import SHARD_SIZE
from gan.networks import GeneratorEnsemble
from gan.sampling import (
    ConfidenceFilter,
    FilterTooStrictError,
    Pixels,
    apportion,
    class_sequence,
    draw_confident_images,
    draw_images,
)

SAMPLES_FILE = "samples.parquet"  # in its place: what a generator other than the GAN has made
_URL = re.compile(r"[a-z][a-z0-9+.-]*:/")  # a path has one of its slashes
MAX_EXPORTED = 100_000_000
EXPORT_VERSION = 2  # of the bytes that a request stands for
COLUMNS = (
    ("generator", "string"),
    ("seed", "int64"),
    ("index", "int64"),
    ("confidence", "float32"),
    ("synthetic", "bool"),
)


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """What to draw, and how to write it.

    Attributes:
        class_counts: synthetic images of each class, adding up to `num_images`; None balances the classes.
        real: real images to mix in, marked by `synthetic` = false and numbered by their source rows.
        title: of the data set; "" names it after the source.
        privacy: what was measured about who was in training, in a sentence for the card; "" where nothing was.
        workers: threads; they change nothing but the time it takes.
    """

    num_images: int
    seed: int = 0
    shard_size: int = SHARD_SIZE
    file_format: FileFormat = "parquet"
    class_counts: tuple[int, ...] | None = None
    confidence: ConfidenceFilter | None = None
    real: LabelledImages | None = None
    title: str = ""
    privacy: str = ""
    workers: int = 1


@dataclass(frozen=True, kw_only=True)
class StageSeconds:
    """Time that the workers have spent on each stage, added up over workers."""

    network: float = 0.0
    encoding: float = 0.0
    writing: float = 0.0

    def __add__(self, other: "StageSeconds") -> "StageSeconds":
        return StageSeconds(
            network=self.network + other.network,
            encoding=self.encoding + other.encoding,
            writing=self.writing + other.writing,
        )


@dataclass(frozen=True, kw_only=True)
class ExportProgress:
    """How many of the images are written, and where the time went. `resumed` of them were there before."""

    done: int
    total: int
    resumed: int = 0
    seconds: StageSeconds = field(default_factory=StageSeconds)


class SampleSource(Protocol):
    """What a data set is drawn from.

    Attributes:
        file: what its digest is of.
        most: images of a class that it can give; None for any number.
    """

    @property
    def file(self) -> Path: ...
    @property
    def class_names(self) -> tuple[str, ...]: ...
    @property
    def image_shape(self) -> tuple[int, int, int]: ...
    @property
    def most(self) -> tuple[int, ...] | None: ...

    def prepared(self, compute: Compute) -> "SampleSource":
        """Return the source ready to draw."""

    def draw(self, labels: npt.NDArray[np.int64], ranks: npt.NDArray[np.int64], *, rng: torch.Generator) -> Pixels:
        """Return an image for each label, (N, C, H, W) uint8.

        Args:
            ranks: (N,) int64, how many images of its class come before each in the whole data set.
        """


@dataclass(frozen=True, kw_only=True)
class GanSource:
    """A trained GAN."""

    file: Path
    class_names: tuple[str, ...]
    ensemble: GeneratorEnsemble
    compute: Compute | None = None

    most: tuple[int, ...] | None = None

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.ensemble.image_shape

    def prepared(self, compute: Compute) -> "GanSource":
        return replace(self, ensemble=self.ensemble.to(compute.device).eval(), compute=compute)

    def draw(self, labels: npt.NDArray[np.int64], ranks: npt.NDArray[np.int64], *, rng: torch.Generator) -> Pixels:  # noqa: ARG002
        if self.compute is None:
            raise ValueError("a source draws once it is prepared")
        return draw_images(self.ensemble, labels, rng=rng, compute=self.compute)


@dataclass(frozen=True, kw_only=True)
class StoredSource:
    """The images that another generator has made, in the order in which it gave those of each class."""

    file: Path
    images: LabelledImages

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.images.class_names

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.images.shape

    @property
    def most(self) -> tuple[int, ...] | None:
        return tuple(self.images.class_counts().tolist())

    def prepared(self, compute: Compute) -> "StoredSource":  # noqa: ARG002
        return self

    def draw(self, labels: npt.NDArray[np.int64], ranks: npt.NDArray[np.int64], *, rng: torch.Generator) -> Pixels:  # noqa: ARG002
        starts = np.concatenate([[0], np.cumsum(self.images.class_counts())])[:-1]
        return self.images.images[self._by_class[starts[labels] + ranks]]

    @cached_property
    def _by_class(self) -> npt.NDArray[np.int64]:
        return np.argsort(self.images.labels, kind="stable").astype(np.int64)


def generator_file(directory: Path) -> Path:
    """Return the file of a generator's folder whose digest names the generator."""
    samples = directory / SAMPLES_FILE
    return samples if samples.exists() else directory / GENERATOR_FILE


def sample_source(directory: Path) -> SampleSource:
    """Read what to draw from: a trained GAN, or the images that another generator has made.

    Raises:
        CorruptFileError: it cannot be read.
    """
    file = generator_file(directory)
    if file.name == SAMPLES_FILE:
        return StoredSource(file=file, images=read_subset(file))
    ensemble, class_names = load_generator(file)
    return GanSource(file=file, class_names=class_names, ensemble=ensemble)


@dataclass(frozen=True, kw_only=True)
class _Export:
    """A checked request with everything that its shards need."""

    request: ExportRequest
    source: SampleSource
    class_names: tuple[str, ...]
    generator_digest: str
    trained_on: dict[str, Any]
    labels: npt.NDArray[np.int64]
    compute: Compute

    @property
    def num_shards(self) -> int:
        return -(-len(self.labels) // self.request.shard_size)

    @cached_property
    def ranks(self) -> npt.NDArray[np.int64]:
        """How many images of its class come before each, (num_images,) int64."""
        ranks = np.empty_like(self.labels)
        for label in range(len(self.class_names)):
            of_class = self.labels == label
            ranks[of_class] = np.arange(of_class.sum())
        return ranks

    @property
    def num_real(self) -> int:
        return 0 if self.request.real is None else len(self.request.real)

    def real_part(self, shard: int) -> slice:
        """Return which real images go into a shard: they are spread evenly over all."""
        return slice(shard * self.num_real // self.num_shards, (shard + 1) * self.num_real // self.num_shards)

    def shard_rows(self, shard: int) -> int:
        """Return how many rows a shard has."""
        part = self.real_part(shard)
        synthetic = min(self.request.shard_size, len(self.labels) - shard * self.request.shard_size)
        return synthetic + int(part.stop) - int(part.start)

    def facts(self) -> dict[str, Any]:
        """Return all that the bytes depend on, as JSON values."""
        request = self.request
        confidence = request.confidence
        return {
            "export_version": EXPORT_VERSION,
            "generator": self.generator_digest,
            "num_images": request.num_images,
            "class_counts": np.bincount(self.labels, minlength=len(self.class_names)).tolist(),
            "seed": request.seed,
            "shard_size": request.shard_size,
            "file_format": request.file_format,
            "confidence": confidence and {"minimum": confidence.minimum, "classifier": confidence.identity},
            "real": request.real and {"digest": request.real.digest(), "num_images": len(request.real)},
            "title": self.title,
            "compute": self.compute.as_dict(),
            **class_record(self.class_names),
        }

    @property
    def title(self) -> str:
        return self.request.title or f"Synthetic {self.trained_on['source']}"


def export_dataset(
    generator_directory: Path,
    output: Path,
    request: ExportRequest,
    *,
    compute: Compute,
    on_progress: Callable[[ExportProgress], None],
) -> None:
    """Publish samples in `output`, which appears when it is complete.

    Columns: `image`, `label`, and provenance: `generator` digest, `seed`, `index` in the whole set, `confidence`,
    `synthetic`. Interrupted, the same call continues after the last finished shard.

    Raises:
        UsageError: the request does not fit the generator, or `output` is already there.
        CorruptFileError: the generator cannot be read.
        AugmentError: `output` cannot be written, or another process is writing it.
    """
    if _URL.match(str(output)):
        raise UsageError(f"{output} is a URL; export to a folder of this machine")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UsageError(f"{output} is already there; choose another place or remove it first")
    export = _prepare(generator_directory, request, compute)
    partial_directory = output.with_name(f".{output.name}.{digest_json(export.facts())[:16]}.partial")
    try:
        with _locked(partial_directory):
            _write_shards(partial_directory, export, on_progress)
            _finish(partial_directory, export)
            if output.exists():
                output.rmdir()
            partial_directory.rename(output)
    except OSError as error:
        raise AugmentError(f"cannot write {output}: {error.strerror or error}; choose another place") from error
    for stale in output.parent.glob(f".{output.name}.*.partial"):  # of other requests, whose place is taken now
        shutil.rmtree(stale, ignore_errors=True)


def check_number(num_images: int) -> None:
    """Refuse more images than one data set may have.

    Raises:
        LimitError: there are more.
    """
    check_limit(num_images, MAX_EXPORTED, what="number of images to export", advice="export several sets")


def _prepare(generator_directory: Path, request: ExportRequest, compute: Compute) -> _Export:
    if request.num_images < 1 or request.shard_size < 1 or request.workers < 1:
        raise UsageError(
            f"cannot export {request.num_images} images in shards of {request.shard_size} with {request.workers} "
            "workers; each must be 1 or more"
        )
    check_seed(request.seed)
    check_number(request.num_images)
    source = sample_source(generator_directory)
    class_names = source.class_names
    for name in class_names:
        check_class_name(name, where=str(source.file))
    if request.class_counts is None:
        counts = apportion(request.num_images, np.ones(len(class_names), np.int64))
    else:
        counts = np.array(request.class_counts, np.int64)
        if len(counts) != len(class_names) or counts.min() < 0 or counts.sum() != request.num_images:
            raise UsageError(
                f"{len(counts)} class counts with the sum {counts.sum()} do not fit {len(class_names)} classes and "
                f"{request.num_images} images"
            )
    _check_stored(source, counts, request)
    real = request.real
    if real is not None and (real.shape != source.image_shape or real.class_names != class_names):
        raise UsageError("the real images to mix in differ from the generator's in shape or classes")
    beside = generator_directory / PROVENANCE_FILE
    trained_on = read_json(beside) if beside.exists() else {}
    if not isinstance(trained_on, dict):
        raise CorruptFileError(f"{beside} is not a record of provenance; delete it or restore it from a copy")
    trained_on = {"source": "unknown: no provenance beside the generator"} | trained_on
    trained_on["source"] = public_dataset_name(str(trained_on["source"]))
    return _Export(
        request=request,
        source=source.prepared(compute),
        class_names=class_names,
        generator_digest=digest_file(source.file),
        trained_on=trained_on,
        labels=class_sequence(counts),
        compute=compute,
    )


def _check_stored(source: SampleSource, counts: npt.NDArray[np.int64], request: ExportRequest) -> None:
    """Make sure that a generator which left images alone is asked for no more than these.

    Raises:
        UsageError: more images of a class, or a filter, which draws others for those that it rejects.
    """
    if source.most is None:
        return
    if request.confidence is not None:
        raise UsageError("a confidence filter draws other samples for those that it rejects, which only a GAN can")
    short = int(np.argmin(np.array(source.most) - counts))
    if counts[short] > source.most[short]:
        raise UsageError(
            f"{counts[short]:,} images of class {source.class_names[short]!r} are asked for, and the generator left "
            f"{source.most[short]:,}; ask for fewer, or run the study with more: --set sampling.images_per_class=N"
        )


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Keep other processes out of a partial data set while the block runs; leave it only if a shard is finished."""
    (directory / PIECES).mkdir(parents=True, exist_ok=True)
    lock = FileLock(directory / PIECES / "lock")
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise AugmentError(f"another process is writing {directory}; wait for it, or choose another place") from error
    try:
        for left_by_a_kill in directory.rglob(".*.tmp"):
            left_by_a_kill.unlink(missing_ok=True)
        yield
    except FilterTooStrictError:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    finally:
        if not any((directory / PIECES).glob("*.json")):
            shutil.rmtree(directory, ignore_errors=True)
        lock.release()


@contextmanager
def _one_thread_each(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Give a pool whose threads compute with one core each, whatever the caller's number of threads is."""
    with threads_kept():
        pool = ThreadPoolExecutor(workers, thread_name_prefix="export", initializer=partial(torch.set_num_threads, 1))
        try:
            yield pool
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _write_shards(directory: Path, export: _Export, on_progress: Callable[[ExportProgress], None]) -> None:
    total = len(export.labels) + export.num_real
    finished = {shard for shard in range(export.num_shards) if _is_finished(directory, shard)}
    resumed = done = sum(export.shard_rows(shard) for shard in finished)
    seconds = StageSeconds()
    on_progress(ExportProgress(done=done, total=total, resumed=resumed))
    missing = [shard for shard in range(export.num_shards) if shard not in finished]
    with _one_thread_each(export.request.workers) as pool:
        running: dict[Future[StageSeconds], int] = {}
        while missing or running:
            while missing and len(running) < export.request.workers:
                shard = missing.pop(0)
                running[pool.submit(_make_shard, directory, export, shard)] = shard
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                seconds += future.result()
                done += export.shard_rows(running.pop(future))
                on_progress(ExportProgress(done=done, total=total, resumed=resumed, seconds=seconds))


def _record_file(directory: Path, shard: int) -> Path:
    return directory / PIECES / f"{shard:05d}.json"


def _is_finished(directory: Path, shard: int) -> bool:
    """Tell whether a shard's files are there as its record says."""
    try:
        files = read_json(_record_file(directory, shard))
        return all(digest_file(directory / name) == digest for name, digest in files.items())
    except (AugmentError, OSError, AttributeError):
        return False


def _make_shard(directory: Path, export: _Export, shard: int) -> StageSeconds:
    started = time.perf_counter()
    rows = draw_shard(export, shard)
    drawn = time.perf_counter()
    contents = encode_shard(rows, export.request.file_format)
    encoded = time.perf_counter()
    files = write_shard(
        directory, rows, contents, file_format=export.request.file_format, class_names=export.class_names
    )
    digests = {path.relative_to(directory).as_posix(): digest_file(path) for path in files}
    write_json(_record_file(directory, shard), digests)
    return StageSeconds(network=drawn - started, encoding=encoded - drawn, writing=time.perf_counter() - encoded)


def draw_shard(export: _Export, shard: int) -> ShardRows:
    """Draw the rows of a shard from its own random stream, and mix its share of the real images in."""
    request = export.request
    first = shard * request.shard_size
    labels = export.labels[first : first + request.shard_size]
    rng = torch_stream(request.seed, "latent", shard)
    if request.confidence is None or not isinstance(export.source, GanSource):
        images = export.source.draw(labels, export.ranks[first : first + request.shard_size], rng=rng)
        confidence = pa.nulls(len(labels), pa.float32())
    else:
        images, probabilities = draw_confident_images(
            export.source.ensemble, labels, request.confidence, rng=rng, compute=export.compute
        )
        confidence = pa.array(probabilities)
    index = np.arange(first, first + len(labels), dtype=np.int64)
    part = export.real_part(shard)
    num_real = part.stop - part.start
    is_synthetic = np.repeat([True, False], [len(labels), num_real])
    order = np.arange(len(labels) + num_real)
    if num_real and request.real is not None:
        images = np.concatenate([images, request.real.images[part]])
        labels = np.concatenate([labels, request.real.labels[part]])
        index = np.concatenate([index, request.real.rows[part]])
        confidence = pa.concat_arrays([confidence, pa.nulls(num_real, pa.float32())])
        order = numpy_stream(request.seed, "mix", shard).permutation(order)
    is_synthetic, index = is_synthetic[order], index[order]
    columns = {
        "generator": pa.array([export.generator_digest] * len(order), pa.string(), mask=~is_synthetic),
        "seed": pa.array(np.full(len(order), request.seed), pa.int64(), mask=~is_synthetic),
        "index": pa.array(index),
        "confidence": confidence.take(pa.array(order)),
        "synthetic": pa.array(is_synthetic),
    }
    return ShardRows(
        number=shard,
        num_shards=export.num_shards,
        images=images[order] if num_real else images,
        labels=labels[order],
        names=[
            f"{number:08d}.png" if made else f"real-{number:08d}.png"
            for number, made in zip(index, is_synthetic, strict=True)
        ],
        provenance=columns,
    )


def _finish(directory: Path, export: _Export) -> None:
    """Write what describes the whole data set, and remove what was needed until now."""
    request = export.request
    num_images = len(export.labels) + export.num_real
    digests: dict[str, str] = {}
    for shard in range(export.num_shards):
        digests |= read_json(_record_file(directory, shard))
    if request.file_format == "idx":
        joined = join_pieces(
            directory, export.source.image_shape, num_images=num_images, num_classes=len(export.class_names)
        )
        digests |= {path.name: digest_file(path) for path in joined}
    digests = {name: digest for name, digest in digests.items() if not name.startswith(PIECES)}
    facts = CardFacts(
        title=export.title,
        file_format=request.file_format,
        num_images=num_images,
        num_real=export.num_real,
        num_bytes=sum((directory / name).stat().st_size for name in digests),
        image_shape=export.source.image_shape,
        class_names=export.class_names,
        source=str(export.trained_on["source"]),
        made_by=str(export.trained_on.get("made_by", "")),
        generator_digest=export.generator_digest,
        seed=request.seed,
        extra_columns=COLUMNS,
        privacy=request.privacy,
    )
    write_text(directory / "README.md", dataset_card(facts))
    if request.file_format == "parquet":
        today = datetime.now(UTC).date().isoformat()
        write_json(directory / "croissant.json", croissant(facts, date_published=today, version="1.0.0"))
    write_json(directory / PROVENANCE_FILE, {"trained_on": export.trained_on, **export.facts(), "files": digests})
    shutil.rmtree(directory / PIECES)
