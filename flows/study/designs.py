"""Which design each regime of a study has, and what is "auto" until the data are known."""

from functools import lru_cache

from data.base.errors import UsageError
from data.config import DataConfig
from data.design import Design, GivenTest, OneDataSet, design_of, resolve_images_per_class
from data.sources.registry import load_source
from data.sources.source import Source
from evaluation.arms import ARMS, MORE_LABELS, ArmName, unlabelled_arms
from flows.study.config import FRESH_REPLICATES, StudyConfig
from flows.study.generators.naming import kind_of

REPEATS = 2  # of the folds, by default: with one, nothing tells the errors of folds and of test images apart

Designs = dict[str, Design]
"""Name of a regime to its design."""


def study_source(config: DataConfig) -> Source:
    """Return the study's images, read once per process, whichever its regimes are and whether they are decided."""
    return _source(config.model_copy(update={"images_per_class": "auto"}))


@lru_cache(maxsize=4)
def _source(config: DataConfig) -> Source:
    return load_source(config)


def designs_of(config: StudyConfig, source: Source) -> Designs:
    """Return the design of each regime of a study whose regimes are decided.

    Raises:
        UsageError: the data cannot fill a regime, or cannot be divided into folds.
    """
    return {regime.name: design_of(source, regime, config.data, seed=config.seed) for regime in config.regimes}


@lru_cache(maxsize=4)
def study_designs(config: StudyConfig) -> Designs:
    """Return the designs of a study of `study_source`, worked out once per process."""
    return designs_of(config, study_source(config.data))


def study_warning(source: Source, designs: Designs, *, generator: str) -> str:
    """Return what the reader must know about the data; nothing of a held-out split where all images go into folds."""
    folded = source.held_out and all(isinstance(design, OneDataSet) for design in designs.values())
    warning = source.warning_without_split if folded else source.warning
    return "; ".join(part for part in (seen_by_generator(generator, designs), warning) if part)


def seen_by_generator(generator: str, designs: Designs) -> str:
    """Return what cannot be known of images that were there already, by what it would do to the gain; "" of others."""
    if kind_of(generator) != "images" or not designs:
        return ""
    clean = "what the generator of these images saw cannot be known from them: "
    if all(isinstance(design, GivenTest) for design in designs.values()):
        return f"{clean}the gain is right only if it never saw the test images"
    if all(isinstance(design, OneDataSet) for design in designs.values()):
        return (
            f"{clean}if they were made from all of the real images, every fold is tested on images that they were made "
            "from, and the gain is too high; only a test split that it never saw is clean (augment judge: --test)"
        )
    return (
        f"{clean}each replicate has its own subset, but the same synthetic images, which may come from more than that"
    )


def resolve_study(config: StudyConfig, source: Source) -> StudyConfig:
    """Return the configuration with the regimes and the number of replicates decided; what was set stays as it is.

    With folds, the number of replicates is rounded up until every image is tested as often as any other.

    Raises:
        UsageError: the data cannot make the study.
    """
    regimes = resolve_images_per_class(config.data, source)
    config = config.model_copy(update={"data": config.data.model_copy(update={"images_per_class": regimes})})
    designs = designs_of(config, source)
    folds = [design.folds for design in designs.values() if isinstance(design, OneDataSet)]
    if config.replicates == "auto":
        fresh = len(folds) < len(regimes)
        wanted = FRESH_REPLICATES if fresh else REPEATS * max(folds)
    else:
        wanted = config.replicates
    most = max(folds, default=1)
    if config.first_replicate % most:
        raise UsageError(f"first_replicate = {config.first_replicate} is not the first of {most} folds")
    short = tuple(name for name, design in designs.items() if not _has_more_labels(design))
    return config.model_copy(
        update={
            "replicates": -(-wanted // most) * most,
            "evaluation": config.evaluation.model_copy(update={"without_more_labels": short, "arms": arms_of(config)}),
        }
    )


def arms_of(config: StudyConfig) -> tuple[ArmName, ...]:
    """Return the arms of a study: those that it asks for and, where it has images without labels, those that use them,
    which the GAN's arms must be held against."""
    asked = set(config.evaluation.arms)
    if config.data.unlabelled:
        asked |= set(unlabelled_arms(with_networks=config.evaluation.classifier.is_network))
    return tuple(arm for arm in ARMS if arm in asked)


def _has_more_labels(design: Design) -> bool:
    """Tell whether replicates can draw as many labelled images as the arms with more of them ask for."""
    pool = design.split(0).pool
    return bool((max(MORE_LABELS.values()) * design.regime.wanted(pool) <= pool.class_counts()).all())
