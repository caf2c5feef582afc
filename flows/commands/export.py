"""`augment export`: a labelled synthetic data set from a run or a generator."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from data.base.device import Compute, DeviceChoice, Precision, resolve_compute
from data.base.errors import CorruptFileError, UsageError
from data.base.files import digest_json, read_model
from data.base.randomness import child_seed
from data.images import LabelledImages
from data.parquet import read_subset
from data.publishing.formats import FileFormat
from evaluation.arms import HEADLINE_REFERENCE, Material, training_set
from evaluation.classifiers import fit_classifier
from evaluation.fitting import FitOptions
from evaluation.policy import PolicyChoice
from evaluation.samples import SampleEvaluation
from flows.commands.allowing import AllowOption, allow_code
from flows.commands.console import output_console
from flows.commands.paths import path_option
from flows.study.generators.trained import generators_of, of_most_data
from flows.study.run_directory import POLICY_FILE, SUBSET_FILE, load_run_config
from flows.study.stages.samples import EVALUATION_FILE
from flows.study.store import store_of
from gan.checkpoint import GENERATOR_FILE
from gan.config import SHARD_SIZE
from gan.export import SAMPLES_FILE, ExportProgress, ExportRequest, check_number, export_dataset, sample_source
from gan.sampling import ConfidenceFilter, apportion

DEFAULT_NUM_IMAGES = 10_000


@dataclass(frozen=True, kw_only=True)
class GeneratorChoice:
    """A generator to draw from, and the run and cell that it was trained in, where there is one."""

    directory: Path
    run: Path | None = None
    cell: str = ""

    def subset(self, *, needed_for: str) -> LabelledImages:
        """Read the real images that the generator was trained on.

        Raises:
            UsageError: it does not stand in a run.
        """
        file = self.directory.parent / SUBSET_FILE
        if not file.is_file():
            raise UsageError(f"{needed_for} needs the generator's subset, and {file} is missing; give --run")
        return read_subset(file)

    @property
    def policy(self) -> str:
        """The policy of classical augmentation that the generator's cell chose."""
        return read_model(self.directory.parent / POLICY_FILE, PolicyChoice).policy


def export(
    output: Annotated[Path, path_option("folder of the data set; must not exist yet")],
    run: Annotated[str | None, typer.Option(help="run (directory or URL) to take a generator from")] = None,
    cell: Annotated[str | None, typer.Option(help="with --run: REGIME/REPLICATE, such as balanced-100/0")] = None,
    generator: Annotated[str | None, typer.Option(help="generator (directory or URL), instead of --run")] = None,
    num_images: Annotated[int | None, typer.Option(help=f"synthetic images; default {DEFAULT_NUM_IMAGES:,}")] = None,
    file_format: Annotated[FileFormat, typer.Option("--format", help="files to write")] = "parquet",
    class_distribution: Annotated[
        str, typer.Option(help="balanced, as-real, or counts: 100,50,25 or cat=100,dog=50")
    ] = "balanced",
    min_confidence: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="with --run: keep samples that a classifier of the subset finds this likely"),
    ] = None,
    mix_real: Annotated[bool, typer.Option("--mix-real", help="add the real images, marked synthetic = false")] = False,
    title: Annotated[str, typer.Option(help="of the data set, in card and metadata; default: after the source")] = "",
    seed: Annotated[int, typer.Option(min=0, help="of the samples")] = 0,
    shard_size: Annotated[int, typer.Option(min=1, help="synthetic images a shard")] = SHARD_SIZE,
    workers: Annotated[int, typer.Option(min=0, help="threads; 0 takes all cores; changes no byte")] = 0,
    device: Annotated[DeviceChoice, typer.Option(help="where the generator computes")] = "auto",
    precision: Annotated[Precision, typer.Option(help="how precisely it computes")] = "auto",
    allowed: AllowOption = None,
) -> None:
    """Write a labelled synthetic data set that loads anywhere. Interrupted, the same command goes on where it was."""
    console = output_console()
    allow_code(allowed)
    with ExitStack() as copies:
        choice = choose_generator(
            run=None if run is None else copies.enter_context(store_of(run).copied()),
            cell=cell,
            generator=None if generator is None else copies.enter_context(_copied_generator(generator)),
        )
        if choice.cell:
            console.print(f"generator of cell [bold]{escape(choice.cell)}[/]", highlight=False)
        compute = resolve_compute(device=device, precision=precision)
        total, counts = resolve_counts(class_distribution, num_images=num_images, choice=choice)
        confidence = None
        if min_confidence is not None:
            with console.status("training the classifier of the confidence filter"):
                confidence = confidence_filter(choice, minimum=min_confidence, compute=compute)
        request = ExportRequest(
            num_images=total,
            seed=seed,
            shard_size=shard_size,
            file_format=file_format,
            class_counts=counts,
            confidence=confidence,
            real=choice.subset(needed_for="--mix-real") if mix_real else None,
            title=title,
            privacy=measured_privacy(choice.directory),
            workers=workers or os.cpu_count() or 1,
        )
        last: list[ExportProgress] = []
        with _shown(console) as show:

            def on_progress(progress: ExportProgress) -> None:
                last[:] = [progress]
                show(progress)

            export_dataset(choice.directory, output, request, compute=compute, on_progress=on_progress)
        console.print(f"{last[0].total:,} images in {escape(str(output))} ({_stages(last[0])})", highlight=False)


@contextmanager
def _copied_generator(location: str) -> Iterator[Path]:
    """Yield the generator's folder; that of a store is copied with the subset beside it."""
    store = store_of(location)
    if store.is_local:
        yield Path(location)
        return
    parent, _, name = location.rstrip("/").rpartition("/")
    cell = store_of(parent)
    with cell.workspace() as directory:
        cell.pull(directory, [SUBSET_FILE])
        cell.pull_folder(directory, name)
        yield directory / name


def choose_generator(*, run: Path | None, cell: str | None, generator: Path | None) -> GeneratorChoice:
    """Find the generator directory: the one given, or a cell's; by default replicate 0 of the regime with most data.

    Raises:
        UsageError: neither or both of run and generator, no trained generator, or no such cell.
    """
    if generator is not None and run is None:
        if cell is not None:
            raise UsageError("--cell belongs to --run; leave it out with --generator")
        return GeneratorChoice(directory=generator)
    if run is None or generator is not None:
        raise UsageError("give either --run RUN or --generator DIR")
    found = generators_of(run, GENERATOR_FILE, SAMPLES_FILE)
    if not found:
        raise UsageError(f"{run} holds no trained generator; finish a run first, or give --generator DIR")
    cell = of_most_data(found) if cell is None else cell
    if cell not in found:
        raise UsageError(f"{run} has no generator of cell {cell!r}; it has {', '.join(found)}")
    return GeneratorChoice(directory=found[cell], run=run, cell=cell)


def measured_privacy(generator_directory: Path) -> str:
    """Return what the cell's evaluation found about who was in training; "" where it stands in no judged cell."""
    file = generator_directory.parent / "samples" / EVALUATION_FILE
    try:
        return read_model(file, SampleEvaluation).membership.sentence()
    except CorruptFileError:
        return ""


def resolve_counts(
    distribution: str, *, num_images: int | None, choice: GeneratorChoice
) -> tuple[int, tuple[int, ...] | None]:
    """Return the number of images and the counts per class (None: balanced) that `distribution` stands for.

    A generator that left images alone gives all of them where nothing else is asked for.

    Raises:
        UsageError: unknown class, counts that do not fit, or a number of images that contradicts the counts.
        LimitError: more images than one data set may have.
    """
    source = sample_source(choice.directory)
    class_names = source.class_names
    if distribution == "balanced":
        if num_images is None and source.most is not None:
            return sum(source.most), source.most
        return DEFAULT_NUM_IMAGES if num_images is None else num_images, None
    if distribution == "as-real":
        total = DEFAULT_NUM_IMAGES if num_images is None else num_images
        check_number(total)
        real_counts = choice.subset(needed_for="--class-distribution as-real").class_counts()
        return total, tuple(apportion(total, real_counts).tolist())
    counts = _parse_counts(distribution, class_names)
    if num_images is not None and num_images != sum(counts):
        raise UsageError(f"the class counts add up to {sum(counts):,}, --num-images says {num_images:,}; leave one out")
    return sum(counts), counts


def _parse_counts(text: str, class_names: tuple[str, ...]) -> tuple[int, ...]:
    how = "write balanced, as-real, one count per class (100,50,25), or NAME=COUNT,NAME=COUNT"
    counts: dict[int, int] = {}
    parts = [part.strip() for part in text.split(",")]
    for position, part in enumerate(parts):
        name, separator, count = part.rpartition("=")
        name = name if name in class_names else name.strip()
        if not count.strip().isdecimal():
            raise UsageError(f"--class-distribution {text!r}: {part!r} holds no count; {how}")
        if separator and name not in class_names:
            raise UsageError(f"--class-distribution {text!r}: no class {name!r}; there are {', '.join(class_names)}")
        if not separator and len(parts) != len(class_names):
            raise UsageError(
                f"--class-distribution {text!r}: {len(parts)} counts for {len(class_names)} classes; {how}"
            )
        place = class_names.index(name) if separator else position
        if place in counts:
            raise UsageError(f"--class-distribution {text!r}: the class {class_names[place]!r} is given twice; {how}")
        counts[place] = int(count)
    return tuple(counts.get(place, 0) for place in range(len(class_names)))


def confidence_filter(choice: GeneratorChoice, *, minimum: float, compute: Compute) -> ConfidenceFilter:
    """Train the run's classifier on the generator's own subset (arm `real+classical`), to judge samples by.

    Raises:
        UsageError: the generator does not stand in a run.
    """
    if choice.run is None:
        raise UsageError("--min-confidence trains a classifier as the run does; give --run")
    config = load_run_config(choice.run)
    subset = choice.subset(needed_for="--min-confidence")
    policy = choice.policy if config.evaluation.policy == "auto" else config.evaluation.policy
    evaluation = config.evaluation.training().for_subset(len(subset), policy=policy)
    options = FitOptions(
        config=evaluation.classifier,
        added_shares=evaluation.added_shares,
        seed=child_seed(config.seed, "confidence filter", choice.cell),
        compute=compute,
        on_progress=lambda _: None,
    )
    material = Material(subset=subset, given_synthetic=None, num_synthetic=0, config=evaluation, options=options)
    training = training_set(HEADLINE_REFERENCE, material)
    facts = {
        "subset": subset.digest(),
        "classifier": evaluation.classifier.model_dump(mode="json"),
        "policy": evaluation.policy,
        "deformation": evaluation.deformation.model_dump(mode="json"),
        "seed": options.seed,
    }
    classifier = fit_classifier(training, options)
    return ConfidenceFilter(
        predict_probabilities=classifier.predict_probabilities, minimum=minimum, identity=digest_json(facts)
    )


@contextmanager
def _shown(console: Console) -> Iterator[Callable[[ExportProgress], None]]:
    """Show a bar with rate and time left while the block runs."""
    columns = (
        TextColumn("export"),
        BarColumn(bar_width=32),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("export", total=None, rate="")

        def show(progress: ExportProgress) -> None:
            elapsed_seconds = bar.tasks[task].elapsed or 0.0
            new = progress.done - progress.resumed
            rate = f"{new / elapsed_seconds:,.0f} images/s" if new and elapsed_seconds else ""
            if progress.resumed and not new:
                bar.console.print(f"{progress.resumed:,} images were there from before", highlight=False)
            bar.update(task, completed=progress.done, total=progress.total, rate=rate)

        yield show


def _stages(progress: ExportProgress) -> str:
    seconds = progress.seconds
    spent = max(seconds.network + seconds.encoding + seconds.writing, 1e-9)
    return (
        f"network {seconds.network / spent:.0%}, encoding {seconds.encoding / spent:.0%}, "
        f"writing {seconds.writing / spent:.0%} of the workers' time"
    )
