"""Studies from Python: run, read back, compared."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from augmentation_gain.in_memory import Given, GivenImages, GivenLabels, dataset_options
from augmentation_gain.progress import shown_progress
from augmentation_gain.report import Report, report_at
from data.base.device import threads_kept
from data.base.errors import UsageError
from data.base.files import given_path
from data.base.plugins import allow
from evaluation.reporting.comparison import Comparison, NamedReport, compare_reports
from evaluation.reporting.report import StudyReport
from evaluation.reporting.run_files import REPORT_JSON
from flows.study.config import PresetName, resolve_config
from flows.study.designs import resolve_study, study_source
from flows.study.judging import JudgeRequest, judge_config
from flows.study.running import run_study
from flows.study.scratch import scratch_folder
from flows.study.stages.table import study_weight


def study(
    images: GivenImages,
    labels: GivenLabels = None,
    *,
    groups: GivenLabels = None,
    test: object = None,
    class_names: Sequence[str] | None = None,
    directory: str | Path | None = None,
    preset: PresetName = "quick",
    replicates: int | None = None,
    seed: int | None = None,
    wished_gain: float | None = None,
    settings: Mapping[str, Any] | None = None,
    workers: int = 1,
    progress: bool = False,
) -> Report:
    """Measure how much GAN augmentation helps on labelled images, and return the report.

    Args:
        images: one of
            - an array (N, H, W), (N, H, W, C) or (N, C, H, W), C = 1, 3 or 4 (the last is alpha), or flat rows (N, D)
              of squares. Whole numbers are read by the fewest bits that hold the largest of all (8 as they are), floats
              from 0 to 1 are scaled to 0 to 255, truth values are black and white, values below 0 make all be scaled
              from the smallest to the largest; the report notes it. A tensor counts as an array.
            - a list of arrays, Pillow images, bytes of image files, or their paths, also of different sizes
              (then with settings={"data.resize": 32});
            - a pandas frame with these in the column `data.image_column`, or with a column for each pixel;
            - a data set of (image, label) pairs, such as torchvision's, or of dictionaries, such as Hugging Face's
              `datasets` has them, whether it has items by number or gives them one after the other. Its images must
              be the same each time: no random transforms. Class names are taken from it where its labels count them;
            - a path, or a data set's name as `augment run --dataset` takes it.
        labels: (N,) class numbers or names; of a frame the name of its column (default `data.label_column`); None where
            `images` has them.
        groups: (N,) what images belong to, such as patients, or the frame's column: groups are never divided.
        test: images to test on, as a pair (images, labels), or by themselves where they hold their labels. Without, a
            study of one data set tests on folds, and a share is held out elsewhere.
        class_names: of labels that are whole numbers from 0.
        directory: where the run is kept, with the images that were given; the same call continues it, and one with more
            replicates makes it larger. None: a folder of its own that is removed at the end.
        preset: where settings start: `quick`, `standard` or `full`.
        replicates: how often each regime is repeated.
        seed: of everything random.
        wished_gain: the least gain worth having, a share: 0.005 is half a point of accuracy.
        settings: any configuration keys with values, such as {"data.images_per_class": (10,)}.
        workers: cells at a time. Several run in processes of their own, which import the caller's script again: it
            needs `if __name__ == "__main__":`.
        progress: whether to show it, as a bar on standard error or in the notebook; of one worker.

    Raises:
        UsageError: images without labels, of an impossible shape, or a configuration that cannot be.
        AugmentError: the data cannot make a study.
    """
    if directory is not None and "://" in str(directory):
        raise UsageError(f"directory {str(directory)!r} is a URL; from Python a run lies in a folder of this machine")
    if workers < 1 or (progress and workers > 1):
        raise UsageError(f"workers={workers}: give 1 or more, and 1 where progress is to be shown")
    chosen = {"replicates": replicates, "seed": seed, "evaluation.wished_gain": wished_gain}
    chosen = {key: value for key, value in chosen.items() if value is not None}
    given = Given(images=images, labels=labels, groups=groups, test=test, class_names=class_names)
    with scratch_folder() as scratch, threads_kept():
        run = scratch / "run" if directory is None else given_path(directory).resolve()
        options = dataset_options(given, folder=run / "images", settings=settings or {})
        config = resolve_config(preset_name=preset, file=None, options=options | chosen, assignments=[])
        for reference in config.named_code:
            allow(reference)  # whoever calls this named it
        config = resolve_study(config, study_source(config.data))
        with shown_progress(progress, total_weight=study_weight(config)):
            run_study(config, run, workers=workers)
        return report_at(run / REPORT_JSON)


def judge(
    images: GivenImages,
    labels: GivenLabels = None,
    *,
    synthetic: str | Path | tuple[Any, GivenLabels],
    test: object = None,
    resize: int = 0,
    directory: str | Path | None = None,
    replicates: int | None = None,
    seed: int | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Report:
    """Measure what a ready-made synthetic set is worth: fidelity, memorisation, leaks, labels, and the gain by it.

    What the generator of these images saw, nobody here knows. Where it may have seen all of `images`, only `test`
    is clean; the report's warning says so.

    Args:
        images, labels: labelled real images, in the forms that `study` takes.
        synthetic: labelled synthetic images: a path, `KIND:PATH`, or a pair (images, labels).
        test: real images that the generator surely did not see, in the form that `study` takes.
        resize: side in pixels that all images get; 0: none.
        directory, replicates, seed, settings: as of `study`.

    Raises:
        UsageError: other classes, sizes or kinds of images, or too few synthetic ones.
        AugmentError: one of the sets cannot be read.
    """
    if not isinstance(synthetic, str | Path | tuple):
        raise UsageError(f"synthetic is a {type(synthetic).__name__}; give a path, or the pair (images, labels)")
    chosen = {key: value for key, value in (("replicates", replicates), ("seed", seed)) if value is not None}
    with scratch_folder() as scratch, threads_kept():
        run = scratch / "run" if directory is None else given_path(directory).resolve()
        options = dataset_options(
            Given(images=images, labels=labels, test=test),
            folder=run / "images",
            settings={**(settings or {}), **chosen},
        )
        made = str(synthetic)
        if isinstance(synthetic, tuple):
            if len(synthetic) != 2:
                raise UsageError(f"synthetic has {len(synthetic)} parts; give the pair (images, labels)")
            pictures, names = synthetic
            written = dataset_options(Given(images=pictures, labels=names), folder=run / "synthetic", settings={})
            made = written["data.dataset"]
        config = judge_config(
            JudgeRequest(
                real=options.pop("data.dataset"),
                synthetic=made,
                test=options.pop("data.test", ""),
                resize=resize,
                settings=options,
            )
        )
        for reference in config.named_code:
            allow(reference)  # whoever calls this named it
        run_study(config, run)
        return report_at(run / REPORT_JSON)


def load_report(run: str | Path) -> Report:
    """Read the report of a finished run, by its directory or its report.json.

    Raises:
        CorruptFileError: missing, damaged, or written by another version.
    """
    path = given_path(run)
    return report_at(path / REPORT_JSON if path.is_dir() else path)


def compare(runs: Sequence[str | Path | StudyReport], *, force: bool = False) -> Comparison:
    """Hold every later run against the first: runs by their directories, or reports, which are numbered.

    Raises:
        UsageError: fewer than two runs, or runs that cannot be compared.
        CorruptFileError: a report that cannot be read.
    """
    named: list[NamedReport] = []
    for number, run in enumerate(runs, start=1):
        report = run if isinstance(run, StudyReport) else load_report(run)
        name = f"report {number}" if isinstance(run, StudyReport) else Path(run).resolve().name
        taken = any(other.name == name for other in named)
        named.append(NamedReport(name=f"{name} #{number}" if taken else name, link="", report=report))
    return compare_reports(named, force=force)
