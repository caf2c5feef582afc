"""The table of stages, in the order in which a cell runs them, and the table of what they may read.

A new stage is one entry of `STAGES` and its function; what it reads is an entry of `INPUTS`.
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from data.base.files import digest_file, digest_json, read_json, read_model
from data.base.plugins import source_digest
from data.images import LabelledImages
from data.parquet import read_published, read_subset
from data.unlabelled import with_pseudo_labelled
from evaluation.arms import ARMS
from evaluation.named_classifiers import named_code_digests
from evaluation.policy import PolicyChoice
from evaluation.policy_choice import LEAST_STEPS
from flows.study.config import StudyConfig
from flows.study.engine import CellContext, Input, Stage, StageKind
from flows.study.generators.naming import GAN, generator_digest, generator_name
from flows.study.job import OPERATIONS_FILE
from flows.study.run_directory import Cell
from flows.study.stages.arm import ArmSettings, arm_of, arm_variant, beside_file, train_arm
from flows.study.stages.generator import train_generator
from flows.study.stages.labelling import LabellingSettings, label_images
from flows.study.stages.outside import OutsideSettings, run_generator
from flows.study.stages.policy import PolicySettings, choose_cell_policy
from flows.study.stages.samples import judge_samples
from flows.study.stages.subset import SubsetSettings, draw_cell_subset
from flows.study.stages.synthetic import draw_synthetic_set
from gan.config import GanConfig
from gan.export import PROVENANCE_FILE, generator_file


def read_synthetic(cell: Cell) -> LabelledImages:
    """Read the cell's synthetic data set; its PNG images are decoded once a cell, not once for each arm.

    Raises:
        CorruptFileError: no shards, a damaged shard, or an image that cannot be decoded.
    """
    return _read_synthetic(cell.synthetic_directory, digest_file(cell.synthetic_directory / PROVENANCE_FILE))


@lru_cache(maxsize=1)  # of the cell at work: cells follow each other in a process
def _read_synthetic(directory: Path, provenance: str) -> LabelledImages:  # noqa: ARG001 (the key: a set made again)
    return read_published(directory)


def _origin(context: CellContext) -> dict[str, str]:
    return {
        "source": context.source.name,
        "source_train": context.source.train.digest(),
        "subset": digest_file(context.cell.subset_file),
    }


def _unlabelled_digest(context: CellContext) -> str:
    return "" if context.unlabelled is None else context.unlabelled.digest()


def _pseudo_labelled(context: CellContext) -> LabelledImages | None:
    return read_subset(context.cell.labelled_images_file) if context.config.data.unlabelled else None


def _chosen_policy(context: CellContext) -> PolicyChoice:
    """Return the choice without the figures behind it: when these alone change, nothing is made again."""
    choice = read_model(context.cell.policy_file, PolicyChoice)
    return PolicyChoice(policy=choice.policy, reason="", source=choice.source)


def _operations(context: CellContext) -> int:
    """Return what the generator took, and the labels that it learnt from."""
    files = [context.cell.generator_directory / OPERATIONS_FILE]
    if context.config.data.unlabelled:
        files.append(context.cell.labelling_directory / OPERATIONS_FILE)
    return sum(int(read_json(file)["training"]) for file in files)


INPUTS: Mapping[str, Input] = {
    "pool": Input(
        digest=lambda at: at.split.pool.digest(),
        read=lambda at: at.split.pool,
        of_source=True,
    ),
    "test": Input(
        digest=lambda at: at.split.test.digest(),
        read=lambda at: at.split.test,
        of_source=True,
    ),
    "beside": Input(  # the test split that the user gave, where the test images are a fold
        digest=lambda at: "" if at.split.beside is None else at.split.beside.digest(),
        read=lambda at: at.split.beside,
        of_source=True,
    ),
    "train": Input(  # for the measuring instrument, which is one for all cells
        digest=lambda at: at.source.train.digest(),
        read=lambda at: at.source.train,
        of_source=True,
    ),
    "origin": Input(
        digest=lambda at: digest_json(_origin(at)),
        read=_origin,
        of_source=True,
    ),
    "subset": Input(
        digest=lambda at: digest_file(at.cell.subset_file),
        read=lambda at: read_subset(at.cell.subset_file),
    ),
    "policy": Input(
        digest=lambda at: digest_json(_chosen_policy(at).model_dump(mode="json")),
        read=_chosen_policy,
    ),
    "unlabelled": Input(
        digest=_unlabelled_digest,
        read=lambda at: at.unlabelled,
        of_source=True,
    ),
    "pseudo_labelled": Input(
        digest=lambda at: digest_file(at.cell.labelled_images_file) if at.config.data.unlabelled else "",
        read=_pseudo_labelled,
    ),
    "generator": Input(
        digest=lambda at: digest_file(generator_file(at.cell.generator_directory)),
        read=lambda at: at.cell.generator_directory,
    ),
    "operations": Input(
        digest=lambda at: digest_json(_operations(at)),
        read=_operations,
    ),
    "synthetic": Input(
        digest=lambda at: digest_file(at.cell.synthetic_directory / PROVENANCE_FILE),
        read=lambda at: read_synthetic(at.cell),
    ),
}


IMAGES_PER_SECOND = {"convnet": 6000, "resnet18": 110}  # a step of ResNet-18 takes 53 times as long


def _classifier_weight(config: StudyConfig) -> float:
    """Return the weight of a training; code of the user's own is taken for as quick as the ConvNet."""
    classifier = config.evaluation.classifier
    rate = IMAGES_PER_SECOND.get("convnet" if classifier.factory else classifier.kind)
    return 2.0 if rate is None else 1 + classifier.steps * classifier.batch_size / rate


def _code_of_policies(config: StudyConfig) -> dict[str, str]:
    """Return the digests of the user's own policies, by name, and of the classifier's code where it chooses."""
    digests = {reference: source_digest(reference) for reference in config.evaluation.own_policies}
    return digests | (named_code_digests(config.evaluation.classifier) if config.evaluation.policy == "auto" else {})


def _policy_weight(config: StudyConfig) -> float:
    choice, classifier = config.evaluation.policy_choice, config.evaluation.classifier
    if config.evaluation.policy != "auto":
        return 0.1
    if classifier.factory is None and classifier.kind not in IMAGES_PER_SECOND:  # it takes no steps
        return 6 * choice.folds * _classifier_weight(config)
    steps = LEAST_STEPS if choice.steps == "auto" else choice.steps
    return 4 * choice.folds * min(1.0, steps / classifier.steps) * _classifier_weight(config)  # half as many at first


def _resolved_for_generator(settings: GanConfig, given: Mapping[str, Any]) -> GanConfig:
    images = with_pseudo_labelled(given["subset"], given["pseudo_labelled"])
    return settings.for_subset(
        len(images), imbalance=images.imbalance, policy=given["policy"].policy, image_shape=images.shape
    )


def _classifier_images(config: StudyConfig, num_classes: int) -> int | None:  # noqa: ARG001 (as of every stage)
    classifier = config.evaluation.classifier
    return classifier.steps * classifier.batch_size if classifier.kind in IMAGES_PER_SECOND else None


def _arm_reads(variant: str) -> tuple[str, ...]:
    arm = ARMS[arm_of(variant)[0]]
    return (
        "subset",
        "test",
        "beside",
        *(["policy"] if arm.augmented else []),
        *(["synthetic"] if arm.needs_generator else []),
        *(["unlabelled"] if arm.needs_unlabelled else []),
        *(["pool"] if arm.role == "more labels" else []),
        *(["operations"] if arm.equal_compute else []),
    )


def _classifier_stream(variant: str) -> tuple[str | int, ...]:
    """Return the stream of one training: one for each seed, the same in all arms of a cell.

    Arms begin with the same weights, and what their batches share is drawn alike: common random numbers, so that less
    of a difference between arms is chance (Law 2015, Simulation Modeling and Analysis, section 11.2). Seeds stay
    independent of each other, and `evaluation.intervals` works on differences seed by seed, so nothing else changes.
    """
    return ("classifier", arm_of(variant)[1])


STAGES: tuple[StageKind[Any], ...] = (
    StageKind(
        name="subset",
        title="draw subset",
        work=draw_cell_subset,
        reads=lambda _: ("pool",),
        settings=lambda config, cell, _: SubsetSettings(
            images_per_class=cell.regime.images_per_class, long_tail_order=config.data.long_tail_order
        ),
        stream=lambda _: ("split",),
        output=lambda cell, _: cell.subset_file,
        weight=lambda _: 1.0,
    ),
    StageKind(
        name="policy",
        title="choose augmentation",
        work=choose_cell_policy,
        reads=lambda _: ("subset",),
        settings=lambda config, cell, _: PolicySettings.of(config.evaluation.training()),
        stream=lambda _: ("policy",),
        output=lambda cell, _: cell.policy_file,
        weight=_policy_weight,
        named_code=_code_of_policies,
    ),
    StageKind(
        name="labelling",
        title="label images",
        work=label_images,
        reads=lambda _: ("subset", "unlabelled", "policy"),
        settings=lambda config, cell, _: LabellingSettings(training=config.evaluation.training()),
        resolve=lambda settings, given: settings.for_subset(len(given["subset"]), policy=given["policy"].policy),
        settled_by=("policy",),
        stream=lambda _: ("labelling",),
        output=lambda cell, _: cell.labelling_directory,
        weight=_classifier_weight,
        variants=lambda config, _: ("",) if config.data.unlabelled else (),
        named_code=lambda config: named_code_digests(config.evaluation.classifier),
    ),
    StageKind(
        name="generator",
        title="train GAN",
        work=train_generator,
        reads=lambda _: ("subset", "pseudo_labelled", "policy", "origin"),
        settings=lambda config, cell, _: config.gan,
        resolve=_resolved_for_generator,
        settled_by=("policy",),
        stream=lambda _: ("gan",),
        output=lambda cell, _: cell.generator_directory,
        weight=lambda config: config.gan.steps * config.gan.batch_size / 3000,
        images=lambda config, _: config.gan.steps * config.gan.batch_size,
        variants=lambda config, _: ("",) if config.generator == GAN else (),
    ),
    StageKind(
        name="generator",  # the same stage, done by another one
        title="run generator",
        work=run_generator,
        reads=lambda _: ("subset", "origin"),
        settings=lambda config, cell, _: OutsideSettings(
            generator=config.generator,
            images_per_class=config.sampling.images_per_class,
            resize=config.data.resize,
            time_limit=config.generator_time_limit,
        ),
        stream=lambda _: ("generator",),
        output=lambda cell, _: cell.generator_directory,
        weight=lambda _: 3.0,
        variants=lambda config, _: () if config.generator == GAN else ("",),
        named_code=lambda config: {generator_name(config.generator): generator_digest(config.generator)},
    ),
    StageKind(
        name="synthetic",
        title="draw samples",
        work=draw_synthetic_set,
        reads=lambda _: ("generator",),
        settings=lambda config, cell, _: config.sampling,
        stream=lambda _: ("samples",),
        output=lambda cell, _: cell.synthetic_directory,
        weight=lambda _: 1.0,
        images=lambda config, num_classes: config.sampling.images_per_class * num_classes,
    ),
    StageKind(
        name="samples",
        title="judge samples",
        work=judge_samples,
        reads=lambda _: ("subset", "pseudo_labelled", "synthetic", "generator", "pool", "test", "train"),
        settings=lambda config, cell, _: config.evaluation.samples,
        stream=lambda _: ("sample evaluation",),
        output=lambda cell, _: cell.samples_directory,
        weight=lambda _: 3.0,
    ),
    StageKind(
        name="arm",
        title="train classifier",
        work=train_arm,
        reads=_arm_reads,
        settings=lambda config, cell, variant: ArmSettings(
            arm=arm_of(variant)[0],
            training=config.evaluation.training(),
            synthetic_per_class=config.sampling.images_per_class,
            unlabelled=bool(config.data.unlabelled) and ARMS[arm_of(variant)[0]].learns_of_unlabelled,
        ),
        resolve=lambda settings, given: settings.for_subset(
            len(given["subset"]), policy=given["policy"].policy if "policy" in given else "auto"
        ),
        settled_by=("policy",),
        stream=_classifier_stream,
        output=lambda cell, variant: cell.predictions_file(*arm_of(variant)),
        more_output=lambda output: [path for path in [beside_file(output)] if path.exists()],
        weight=_classifier_weight,
        images=_classifier_images,
        variants=lambda config, regime: tuple(
            arm_variant(arm, seed)
            for arm, seeds in config.evaluation.seeds_of_arms(regime).items()
            for seed in range(seeds)
        ),
        named_code=lambda config: named_code_digests(config.evaluation.classifier),
    ),
)


def stages_of(context: CellContext) -> list[Stage]:
    """Return all stages of a cell, in order."""
    regime = context.cell.regime.name
    return [stage_of(context, kind, variant) for kind in STAGES for variant in kind.variants(context.config, regime)]


def stage_of(context: CellContext, kind: StageKind[Any], variant: str) -> Stage:
    """Return one stage of a cell."""
    return Stage(kind=kind, variant=variant, context=context, inputs=INPUTS)


def stage_weights(config: StudyConfig, regime: str) -> dict[str, float]:
    """Return the name of every stage of a cell of a regime, in order, with its weight."""
    return {name: kind.weight(config) for kind in STAGES for name, _ in kind.names(config, regime)}


def study_weight(config: StudyConfig) -> float:
    """Return the sum of the weights of all stages of all cells."""
    return config.num_replicates * sum(sum(stage_weights(config, regime.name).values()) for regime in config.regimes)
