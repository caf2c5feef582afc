"""Stage `arm`: train one arm's classifier and let it answer on the test images."""

from pathlib import Path

from pydantic import BaseModel, PositiveInt

from data.images import LabelledImages
from data.unlabelled import UnlabelledImages
from evaluation.arms import ARMS, HEADLINE_REFERENCE, ArmName, Material, training_set
from evaluation.classifiers import classifier_operations, fit_classifier
from evaluation.config import LEAST_LONGER, TrainingConfig
from evaluation.consistency import operations_factor
from evaluation.metrics import accuracy
from evaluation.predictions import predictions_on, write_predictions
from flows.study.job import Job
from flows.study.stages.fitting import fit_options


class ArmSettings(BaseModel, frozen=True):
    """An arm, how classifiers are trained, how large the synthetic set is.

    Attributes:
        unlabelled: whether what the arm adds comes of images without labels.
    """

    arm: ArmName
    training: TrainingConfig
    synthetic_per_class: PositiveInt
    unlabelled: bool

    def for_subset(self, num_images: int, *, policy: str) -> "ArmSettings":
        """Return the settings with "auto" decided for a subset of `num_images` and the policy that the cell chose."""
        training = self.training.for_subset(num_images, policy=policy, unlabelled=self.unlabelled)
        return self.model_copy(update={"training": training})


def arm_variant(arm: ArmName, seed: int) -> str:
    """Return the name of the training of an arm's classifier of one seed; the first one has the arm's own."""
    return f"{arm} seed {seed}" if seed else arm


def arm_of(variant: str) -> tuple[ArmName, int]:
    """Return the arm and the seed of a training that `arm_variant` named."""
    arm, _, seed = variant.partition(" seed ")
    return arm, int(seed or 0)


def train_arm(
    job: Job[ArmSettings],
    *,
    subset: LabelledImages,
    test: LabelledImages,
    beside: LabelledImages | None,
    synthetic: LabelledImages | None = None,
    pool: LabelledImages | None = None,
    unlabelled: UnlabelledImages | None = None,
    operations: int = 0,
) -> str:
    """Write the predictions of one classifier of the arm.

    Args:
        beside: the test split that the user gave, where `test` is a fold; predicted into a file beside.
        synthetic: the cell's synthetic set; None for arms that need no generator.
        pool: what the subset was drawn from; None for arms that see the subset alone.
        unlabelled: images without labels; None for arms that see none.
        operations: of the generator's training, for the arm that is trained for as many.
    """
    config, arm = job.settings.training, ARMS[job.settings.arm]
    classifier_config, note = config.classifier, ""
    if arm.equal_compute:
        factor = longer(config, operations=operations, shape=subset.shape, num_classes=subset.num_classes)
        classifier_config = classifier_config.model_copy(update={"steps": round(factor * classifier_config.steps)})
        note = f" after {classifier_config.steps:,} steps" if factor > 1 else ""
    if arm.consistent:
        note = f" with {operations_factor(config.consistency):.1f} times the operations of {HEADLINE_REFERENCE}"
    options = fit_options(job, config, classifier=classifier_config)
    material = Material(
        subset=subset,
        given_synthetic=synthetic,
        given_pool=pool,
        given_unlabelled=unlabelled,
        num_synthetic=job.settings.synthetic_per_class * subset.num_classes,
        config=config,
        options=options,
    )
    classifier = fit_classifier(training_set(job.settings.arm, material), options)
    predictions = predictions_on(test, classifier.predict_probabilities(test.images))
    write_predictions(job.output, predictions)
    if beside is not None:
        write_predictions(
            beside_file(job.output), predictions_on(beside, classifier.predict_probabilities(beside.images))
        )
    return f"accuracy {accuracy(predictions):.2%}{note}"


def beside_file(predictions: Path) -> Path:
    """Return where the predictions on the test split that the user gave lie, beside those on the fold."""
    return predictions.with_name(predictions.name.replace("predictions", "given-test"))


def longer(config: TrainingConfig, *, operations: int, shape: tuple[int, int, int], num_classes: int) -> float:
    """Return how many times as many steps the arm of equal compute takes as the others.

    Args:
        operations: of the generator's training.
        shape: (C, H, W) of an image.
    """
    if config.equal_compute != "auto":
        return float(config.equal_compute)
    own = classifier_operations(config.classifier, shape=shape, num_classes=num_classes)
    if own is None:  # it has no steps to take more of
        return 1.0
    return max(LEAST_LONGER, 1 + operations / own) if own else LEAST_LONGER
