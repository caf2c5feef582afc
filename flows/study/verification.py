"""Provenance: follow the digests from source rows to predictions, one link at a time.

A link joins two things that a run says belong together: a file and its recorded digest, a subset and the source rows
it names, a metric and the predictions it was computed from. An edited, swapped or truncated file breaks a link.
What this cannot show: that nobody rewrote a whole run consistently. Digests are not signatures.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data.base.device import Compute
from data.base.errors import AugmentError, UsageError
from data.base.files import digest_file, digest_json, is_below, read_json, read_model, read_record
from data.config import DataConfig
from data.images import LabelledImages
from data.parquet import published_shards, read_subset, read_table
from data.sources.registry import Source, load_source
from evaluation.facts import DatasetFacts
from evaluation.metrics import mean_metrics, tail_classes
from evaluation.predictions import read_predictions
from evaluation.reporting.run_files import CONFIG_FILE, ENVIRONMENT_FILE, REPORT_HTML, REPORT_JSON
from flows.study.config import StudyConfig
from flows.study.designs import Designs, designs_of
from flows.study.engine import (
    MADE_BY,
    CellContext,
    StageKind,
    named_code_of,
    record_digest,
    record_file,
    resolved_settings,
)
from flows.study.reporting import DIGESTS_FILE, compute_report, report_files
from flows.study.run_directory import (
    LOOKS_FILE,
    Cell,
    dataset_facts_file,
    load_run_config,
    other_data_of,
    study_cells,
)
from flows.study.stages.arm import arm_variant
from flows.study.stages.samples import EVALUATION_FILE
from flows.study.stages.table import INPUTS, STAGES, stage_of
from gan.export import PROVENANCE_FILE, generator_file

METRIC_TOLERANCE = 1e-9
LoadSource = Callable[[DataConfig], Source]


@dataclass(frozen=True, kw_only=True)
class Link:
    """One link of the chain.

    Attributes:
        name: what is joined to what.
        holds: None where it cannot be told here.
        detail: why it is broken or cannot be told, or "".
    """

    name: str
    holds: bool | None
    detail: str


class BrokenLinkError(Exception):
    """Raised inside a link's check; its message is the link's detail."""


def verify(path: Path, *, load: LoadSource = load_source) -> Iterator[Link]:
    """Follow a run's or a published data set's digests.

    Raises:
        UsageError: `path` is neither.
    """
    if (path / CONFIG_FILE).is_file():
        return verify_run(path, load=load)
    if (path / PROVENANCE_FILE).is_file() or published_shards(path):
        return verify_dataset(path)
    raise UsageError(f"{path} is neither a run directory (no config.toml) nor a synthetic data set (no data/*.parquet)")


def verify_run(run_directory: Path, *, load: LoadSource) -> Iterator[Link]:
    """Yield every link of a run, cell by cell.

    Raises:
        UsageError: the run was made by another version.
        CorruptFileError: its configuration cannot be read.
    """
    config = load_run_config(run_directory)
    yield _link("environment.json", lambda: read_record(run_directory / ENVIRONMENT_FILE))
    source: Source | None = None
    reason = ""
    try:
        source = load(config.data)
    except AugmentError as error:
        reason = str(error)
    yield Link(name=f"source {config.data.dataset}", holds=source is not None, detail=reason)
    if source is not None:
        yield _link("dataset.json = source", lambda: _began_with(run_directory, source))
    designs = None if source is None else designs_of(config, source)
    for cell in study_cells(config, run_directory):
        yield from verify_cell(cell, config, source, designs)
    yield from verify_code(study_cells(config, run_directory), config)
    yield from verify_report(run_directory, config)


def verify_cell(cell: Cell, config: StudyConfig, source: Source | None, designs: Designs | None) -> Iterator[Link]:
    """Yield the links of one cell: source → subset → generator → synthetic → predictions → cell.json."""

    def link(what: str, check: Callable[[], None]) -> Link:
        return _link(f"{cell.name}: {what}", check)

    if designs is not None:
        split = designs[cell.regime.name].split(cell.replicate)
        yield link("subset = its source rows", lambda: _subset_equals_rows(cell, split.pool))
        for arm, seeds in config.evaluation.seeds_of_arms(cell.regime.name).items():
            for seed in range(seeds):
                file = cell.predictions_file(arm, seed)
                yield link(
                    f"predictions of {arm_variant(arm, seed)} = test rows",
                    lambda file=file: _predicts_test(file, split.test),  # type: ignore[misc]
                )
    for kind in STAGES:
        for name, variant in kind.names(config, cell.regime.name):
            readable = [part for part in kind.reads(variant) if source is not None or not INPUTS[part].of_source]
            yield link(
                f"stage {name} ← {', '.join([*readable, 'settings'])}",
                lambda kind=kind, variant=variant, readable=readable: _depends_on(  # type: ignore[misc]
                    cell, config, source, designs, stage=(kind, variant), readable=readable
                ),
            )
            yield link(
                f"outputs of stage {name}",
                lambda name=name: _same_files(cell.directory, _record(cell, name)["outputs"]),  # type: ignore[misc]
            )
    yield link("generator's provenance", lambda: _generator_provenance(cell))
    for part in verify_dataset(cell.synthetic_directory):
        yield Link(name=f"{cell.name}: {part.name}", holds=part.holds, detail=part.detail)
    yield link("cell.json = its predictions", lambda: _summary(cell, config))


def verify_code(cells: Sequence[Cell], config: StudyConfig) -> Iterator[Link]:
    """Yield whether the cells' stages of each kind were made by one code, with the same libraries and precision."""
    regimes = {cell.regime.name for cell in cells}
    for kind in (kind for kind in STAGES if any(kind.names(config, regime) for regime in regimes)):
        yield _link(f"all stages {kind.name} are of one code", lambda kind=kind: _one_code(kind, cells, config))  # type: ignore[misc]


def verify_dataset(directory: Path) -> Iterator[Link]:
    """Yield the links of a published synthetic data set: its files, its samples' generator, the generator beside it."""
    yield _link("data set's files", lambda: _dataset_files(directory))
    yield _link("samples name their generator", lambda: _dataset_generator(directory))
    beside = generator_file(directory.resolve().parent / "generator")
    if beside.is_file():
        yield _link("data set ← generator beside it", lambda: _dataset_from(directory, beside))
    else:
        yield Link(name="data set ← generator", holds=None, detail="the generator does not lie beside the data set")


def verify_report(run_directory: Path, config: StudyConfig) -> Iterator[Link]:
    """Yield the links from a run's cells to its report, and to what the run says beside it."""
    files = {path.name: path for path in report_files(run_directory)}
    if not any(path.exists() for path in files.values()):
        yield Link(name="report.json = its cells", holds=None, detail="the run is not finished")
        return

    def is_of_its_cells() -> None:
        recorded, recomputed = read_json(files[REPORT_JSON]), compute_report(run_directory, config)
        expected = recomputed.model_dump(mode="json")
        for key in expected.keys() | recorded.keys():
            _same(recorded.get(key), expected.get(key), f"{key} of {REPORT_JSON}")

    def has_its_looks() -> None:
        _same(read_json(files[LOOKS_FILE]), read_json(files[REPORT_JSON])["looks"], LOOKS_FILE)

    def are_as_written() -> None:
        digests = read_record(files[DIGESTS_FILE])
        _same_files(
            run_directory, {name: digests[name] for name in (*digests, REPORT_HTML) if name != ENVIRONMENT_FILE}
        )

    yield _link("report.json = its cells", is_of_its_cells)
    yield _link("looks.json = report.json", has_its_looks)
    yield _link("report.html, and any judgement, as written", are_as_written)
    yield _link("environment.json as it was reported", lambda: _environment_as_reported(run_directory))


def _environment_as_reported(run_directory: Path) -> None:
    """Compare the environment with that of the report; a run may have gone on since, which adds to it."""
    digest = read_json(run_directory / DIGESTS_FILE)[ENVIRONMENT_FILE]
    now = read_json(run_directory / ENVIRONMENT_FILE)
    began = {name: value for name, value in now.items() if name != "resumed"}
    resumed = list(now.get("resumed", {}).items())
    before = [began, *(began | {"resumed": dict(resumed[: count + 1])} for count in range(len(resumed)))]
    if digest not in map(digest_json, before):
        _same(digest, digest_json(now), ENVIRONMENT_FILE)


def digest_of(path: Path) -> str:
    """Return a file's SHA-256, or "missing"."""
    return digest_file(path) if path.is_file() else "missing"


def _link(name: str, check: Callable[[], object]) -> Link:
    try:
        check()
    except (BrokenLinkError, AugmentError) as error:
        return Link(name=name, holds=False, detail=str(error))
    except OSError as error:
        return Link(name=name, holds=False, detail=f"{error.filename} cannot be read: {error.strerror}")
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        return Link(name=name, holds=False, detail=f"a file does not have the form it should have ({error!r})")
    return Link(name=name, holds=True, detail="")


def _same(found: object, expected: object, what: str) -> None:
    if found != expected:
        raise BrokenLinkError(f"{what} differs: recorded {_short(found)}, found {_short(expected)}")


def _same_files(directory: Path, files: Mapping[str, str]) -> None:
    for name, digest in files.items():
        if not is_below(directory, name):
            raise BrokenLinkError(f"{name!r} leads out of {directory}")
        _same(digest, digest_of(directory / name), name)


def _short(value: object) -> str:
    text = str(value)
    return text[:12] + "…" if len(text) > 40 else text


def _began_with(run_directory: Path, source: Source) -> None:
    read_model(dataset_facts_file(run_directory), DatasetFacts)
    other = other_data_of(run_directory, source)
    if other:
        raise BrokenLinkError(f"the run began with other data ({other})")


def _subset_equals_rows(cell: Cell, train: LabelledImages) -> None:
    subset = read_subset(cell.subset_file)
    if len(np.unique(subset.rows)) != len(subset.rows):
        raise BrokenLinkError("a source row occurs twice")
    if len(subset) and (subset.rows.min() < 0 or subset.rows.max() > train.rows.max()):
        raise BrokenLinkError("it names rows that the train split does not have")
    order = np.searchsorted(train.rows, subset.rows)
    if not np.array_equal(train.rows[order], subset.rows):
        raise BrokenLinkError("it names rows that the train split does not have")
    same_pixels = (train.images[order] == subset.images).reshape(len(subset), -1).all(1)
    wrong = np.flatnonzero(~same_pixels | (train.labels[order] != subset.labels))
    if len(wrong):
        raise BrokenLinkError(
            f"{len(wrong)} images or labels differ from the source, first row {subset.rows[wrong[0]]}"
        )
    found, wanted = subset.class_counts().tolist(), cell.regime.wanted(train).tolist()
    _same(found, wanted, "number of images of each class")


def _record(cell: Cell, stage: str) -> dict[str, Any]:
    record: dict[str, Any] = read_json(record_file(cell, stage))
    depends_on = {name: record[name] for name in ("inputs", "settings", "seed", "compute", "code", "libraries")}
    depends_on |= {name: record[name] for name in MADE_BY if name in record}  # code of the user's own, where it ran
    _same(record["digest"], record_digest(stage, depends_on), f"digest of stage {stage!r}")
    return record


def _depends_on(
    cell: Cell,
    config: StudyConfig,
    source: Source | None,
    designs: Designs | None,
    *,
    stage: tuple[StageKind[Any], str],
    readable: Sequence[str],
) -> None:
    kind, variant = stage
    name = kind.name_of(variant)
    record = _record(cell, name)
    compute = Compute(**record["compute"])
    context = CellContext(cell=cell, config=config, compute=compute, given_source=source, given_designs=designs)
    for part in readable:
        _same(record["inputs"][part], INPUTS[part].digest(context), f"{part} of stage {name!r}")
    _same(sorted(record["inputs"]), sorted(kind.reads(variant)), f"list of inputs of stage {name!r}")
    _same(record["seed"], stage_of(context, kind, variant).seed, f"seed of stage {name!r}")
    settings = kind.settings(config, cell, variant).model_dump(mode="json")
    _same(record["settings"], settings, f"settings of stage {name!r}")
    _same(_but_auto(record["resolved"], settings), _but_auto(settings, settings), f"decided settings of stage {name!r}")


def _but_auto(values: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings without those that say "auto", which a stage decides for itself."""
    return {
        name: _but_auto(value, settings[name]) if isinstance(settings.get(name), Mapping) else value
        for name, value in values.items()
        if settings.get(name) != "auto"
    }


def _one_code(kind: StageKind[Any], cells: Sequence[Cell], config: StudyConfig) -> None:
    made: dict[str, tuple[str, dict[str, Any]]] = {}
    for cell in cells:
        for name, _ in kind.names(config, cell.regime.name):
            record = _record(cell, name)
            by = {part: record[part] for part in MADE_BY if part in record}
            made.setdefault(digest_json(by), (f"{name} of {cell.name}", by))
    if len(made) > 1:
        (first, before), (other, by), *_ = made.values()
        told = " or ".join(words for part, words in MADE_BY.items() if before.get(part) != by.get(part))
        raise BrokenLinkError(f"{other} was made by {told} than {first}")


def _generator_provenance(cell: Cell) -> None:
    provenance = read_json(cell.generator_directory / PROVENANCE_FILE)
    _same(provenance["subset"], digest_file(cell.subset_file), "subset")
    _same(provenance["generator"], digest_file(generator_file(cell.generator_directory)), "generator")
    _same(provenance["cell"], cell.name, "cell")
    origin = digest_json({name: provenance[name] for name in ("source", "source_train", "subset")})
    _same(origin, _record(cell, "generator")["inputs"]["origin"], "origin")


def _dataset_files(directory: Path) -> None:
    files: dict[str, str] = read_json(directory / PROVENANCE_FILE)["files"]
    present = {str(path.relative_to(directory)) for path in published_shards(directory)}
    extra = sorted(present - set(files))
    if extra:
        raise BrokenLinkError(f"{extra[0]} is not in provenance.json")
    _same_files(directory, files)


def _dataset_generator(directory: Path) -> None:
    provenance = read_json(directory / PROVENANCE_FILE)
    count = 0
    for shard in published_shards(directory):
        table = read_table(shard)
        count += len(table)
        for value in table["generator"].unique().to_pylist():
            _same(provenance["generator"], value, f"generator in {shard.name}")
    _same(provenance["num_images"], count, "number of images")


def _dataset_from(directory: Path, generator: Path) -> None:
    provenance = read_json(directory / PROVENANCE_FILE)
    _same(provenance["generator"], digest_file(generator), "generator")
    beside = generator.with_name(PROVENANCE_FILE)
    if beside.is_file():
        _same(provenance["trained_on"], read_json(beside), "provenance of the generator")


def _predicts_test(file: Path, test: LabelledImages) -> None:
    predictions = read_predictions(file)
    if not (np.array_equal(predictions.rows, test.rows) and np.array_equal(predictions.labels, test.labels)):
        raise BrokenLinkError("rows or labels are not those of the test split")


def _summary(cell: Cell, config: StudyConfig) -> None:
    summary = read_json(cell.summary_file)
    _same(summary["subset"], digest_file(cell.subset_file), "subset")
    _same(summary["generator"], digest_file(generator_file(cell.generator_directory)), "generator")
    seeds = config.evaluation.seeds_of_arms(cell.regime.name)
    _same(sorted(summary["metrics"]), sorted(seeds), "list of arms")
    tail = tail_classes(read_subset(cell.subset_file).class_counts())
    _same(summary["tail"], tail.tolist(), "list of rare classes")
    for arm, count in seeds.items():
        files = [cell.predictions_file(arm, seed) for seed in range(count)]
        for seed, file in enumerate(files):
            variant = arm_variant(arm, seed)
            _same(summary["predictions"][variant], digest_file(file), f"predictions of {variant}")
        for name, value in mean_metrics([read_predictions(file) for file in files], tail).items():
            if not abs(summary["metrics"][arm][name] - value) <= METRIC_TOLERANCE:
                raise BrokenLinkError(
                    f"{name} of {arm} is {summary['metrics'][arm][name]}, its predictions give {value}"
                )
    stages = [name for kind in STAGES for name, _ in kind.names(config, cell.regime.name)]
    _same(summary["resolved"], resolved_settings(cell, names=stages), "what was decided")
    _same(summary["named_code"], named_code_of(cell, names=stages), "code of the user's own")
    _same(summary["policy"], read_json(cell.policy_file), "policy of classical augmentation")
    _same(summary["samples"], read_json(cell.samples_directory / EVALUATION_FILE), "evaluation of the samples")
