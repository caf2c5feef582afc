"""Judging one synthetic set: the one function that a study calls per cell, and the pictures for its report."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import BaseModel

from data.base.errors import UsageError
from data.base.files import write_atomically
from data.base.randomness import numpy_stream
from data.images import LabelledImages
from evaluation.checks import Check, make_checks
from evaluation.class_checks import ClassChecks, missing_class, varied_classes, wrong_labels
from evaluation.config import SamplesConfig
from evaluation.features import FeatureNetwork, Outputs
from evaluation.fidelity import Fidelity, LabelledFeatures, measure_fidelity
from evaluation.label_fidelity import LabelFidelity, measure_label_fidelity
from evaluation.leaks import LeakParts, Leaks, Part, leak_test, search_copies
from evaluation.membership import Membership, NearestMade, measure_membership
from evaluation.memorisation import (
    CopyingTest,
    Memorisation,
    copying_test,
    duplicate_shares,
    nearest,
    pixel_vectors,
    suspicious_pairs,
    usual_distances,
)

ENOUGH_UNSEEN = 10  # images outside the subset below which the test images stand in for unseen real ones
PICTURE_ZOOM = 3
PAIRS_PICTURE, LABELS_PICTURE = "suspicious_pairs.png", "worst_labels.png"


class SampleEvaluation(BaseModel, frozen=True, extra="forbid"):
    """Everything measured on one synthetic set.

    Attributes:
        num_synthetic: images in the whole set; `num_images` of them were looked at.
        features: digest of the instrument.
    """

    num_synthetic: int
    num_images: int
    features: str
    fidelity: Fidelity
    memorisation: Memorisation
    leaks: Leaks
    membership: Membership
    labels: LabelFidelity
    checks: tuple[Check, ...]


@dataclass(frozen=True, kw_only=True)
class RealData:
    """The real images around a cell: what its generator saw (`subset`), and the whole splits.

    Attributes:
        nearest_made: how near the generator can be brought to images; None where there is no generator to ask.
        leak_parts: what leaks are looked for in, where it is made ready for several synthetic sets.
    """

    subset: LabelledImages
    train: LabelledImages
    test: LabelledImages
    nearest_made: NearestMade | None = None
    leak_parts: LeakParts | None = None

    @cached_property
    def unseen_train(self) -> LabelledImages:
        """The train images outside the subset; none where they are too few to tell anything."""
        outside = self.train.take(np.flatnonzero(~np.isin(self.train.rows, self.subset.rows)))
        return outside if len(outside) >= ENOUGH_UNSEEN else outside.take(np.zeros(0, np.int64))

    @property
    def unseen(self) -> LabelledImages:
        """Images that the generator cannot have seen: train images outside the subset, else the test images."""
        return self.unseen_train if len(self.unseen_train) else self.test


def evaluate_samples(
    synthetic: LabelledImages, *, real: RealData, network: FeatureNetwork, config: SamplesConfig, seed: int
) -> SampleEvaluation:
    """Measure fidelity, memorisation and label fidelity of `synthetic`, and make the checks.

    Sets larger than `config.max_images` are subsampled class by class, the training images and the test images of
    the leak test excepted: a copy may be of any of them. The same seed gives the same figures.

    Raises:
        UsageError: no synthetic images, or images of another shape or other classes than the real ones.
    """
    _check_input(synthetic, real)
    synthetic = LabelledImages(
        images=synthetic.images,
        labels=synthetic.labels,
        rows=np.arange(len(synthetic), dtype=np.int64),  # indices in the whole set, kept through subsampling
        class_names=synthetic.class_names,
    )
    samples = subsample(synthetic, config.max_images, rng=numpy_stream(seed, "samples"))
    train = subsample(network.unseen(real.train), config.max_images, rng=numpy_stream(seed, "train"))
    test = subsample(network.unseen(real.test), config.max_images, rng=numpy_stream(seed, "test"))
    measured, measured_train = network.measure(samples.images), network.measure(train.images)
    sampled = LabelledFeatures(features=measured.features, labels=samples.labels)
    trained = LabelledFeatures(features=measured_train.features, labels=train.labels)
    overall, *classes = measure_fidelity(
        sampled,
        train=trained,
        test=LabelledFeatures(features=network.features(test.images), labels=test.labels),
        class_names=real.train.class_names,
        config=config,
        rng=numpy_stream(seed, "fidelity"),
    )
    memorisation = measure_memorisation(
        samples, measured=measured, real=real, network=network, config=config, seed=seed
    )
    leaks = measure_leaks(samples, real=real, config=config, seed=seed)
    labels = measure_label_fidelity(
        measured.probabilities,
        samples.labels,
        samples.rows,
        real=(measured_train.probabilities, train.labels),
        class_names=real.train.class_names,
        pictured=config.pictured,
    )
    class_checks = ClassChecks(
        missing=missing_class(
            synthetic.labels,
            real.subset.class_counts(),
            class_names=real.train.class_names,
            config=config.audit,
        ),
        varied=varied_classes(sampled, trained, class_names=real.train.class_names, config=config.audit),
        labels=wrong_labels(
            measured.probabilities,
            samples.labels,
            real=(measured_train.probabilities, train.labels),
            class_names=real.train.class_names,
            config=config.audit,
        ),
    )
    return SampleEvaluation(
        num_synthetic=len(synthetic),
        num_images=len(samples),
        features=network.digest,
        fidelity=Fidelity(features=network.digest, overall=overall, classes=tuple(classes)),
        memorisation=memorisation,
        leaks=leaks,
        membership=measure_membership(
            synthetic,
            members=subsample(real.subset, config.max_images, rng=numpy_stream(seed, "members")),
            others=real.unseen,
            known=test,
            rng=numpy_stream(seed, "membership"),
            nearest_made=real.nearest_made,
        ),
        labels=labels,
        checks=make_checks(
            constant_share=constant_share(samples.images),
            fidelity=overall,
            memorisation=memorisation,
            leaks=leaks,
            labels=labels,
            classes=class_checks,
            config=config.audit,
        ),
    )


def leak_parts(real: RealData, *, config: SamplesConfig, seed: int) -> LeakParts:
    """Divide the real images into what copies are looked for in, and what is usual among real images.

    This is told by train images outside the subset (test images where there are none), and of copies of these
    themselves by test images.
    """
    pool = real.unseen_train
    unseen = subsample(real.unseen, config.unseen_images, rng=numpy_stream(seed, "unseen"))
    tests = subsample(real.test, config.unseen_images, rng=numpy_stream(seed, "unseen test"))
    usual = subsample(pool, min(config.max_images, len(pool) // 2), rng=numpy_stream(seed, "usual"))
    return LeakParts(
        training=Part(among="training images", references=real.subset, unseen=unseen),
        pool=Part(among="train images outside the subset", references=pool, unseen=tests, split=real.train),
        test=Part(
            among="test images",
            references=real.test,
            unseen=unseen if len(pool) else real.subset,
            split=real.test,
        ),
        usual=usual,
        others=_without(pool, usual),
    )


def _without(images: LabelledImages, left_out: LabelledImages) -> LabelledImages:
    return images.take(np.flatnonzero(~np.isin(images.rows, left_out.rows)))


def measure_leaks(samples: LabelledImages, *, real: RealData, config: SamplesConfig, seed: int) -> Leaks:
    """Look for copies of the training images, of the train images outside the subset, and of the test images."""
    parts = leak_parts(real, config=config, seed=seed) if real.leak_parts is None else real.leak_parts
    return Leaks(
        training=search_copies(parts.training, samples),
        pool=search_copies(parts.pool, samples),
        test=search_copies(parts.test, samples),
        preference=leak_test(
            samples, test=real.test, unseen=parts.others, usual=parts.usual, rng=numpy_stream(seed, "leak")
        ),
    )


def measure_memorisation(
    samples: LabelledImages,
    *,
    measured: Outputs,
    real: RealData,
    network: FeatureNetwork,
    config: SamplesConfig,
    seed: int,
) -> Memorisation:
    """Compare samples with the images that their generator saw, and with ones that it cannot have seen.

    Unseen real images are the train images outside the subset; where the subset is (nearly) all of train, the test
    images stand in.

    Args:
        samples: their `rows` are indices in the synthetic set.
        measured: the instrument's view of `samples`.
    """
    ratio = config.audit.copy_ratio
    unseen = subsample(real.unseen, config.max_images, rng=numpy_stream(seed, "unseen"))

    vectors, subset_vectors = pixel_vectors(samples.images), pixel_vectors(real.subset.images)
    neighbours, distances = nearest(vectors, subset_vectors)
    _, unseen_distances = nearest(pixel_vectors(unseen.images), subset_vectors)
    usual = usual_distances(unseen_distances, unseen.labels, num_classes=real.train.num_classes)
    duplicated, duplicated_real = duplicate_shares(samples, unseen, ratio=ratio, rng=numpy_stream(seed, "duplicates"))
    return Memorisation(
        num_images=len(samples),
        num_training=len(real.subset),
        num_unseen=len(unseen),
        unseen_from="train images outside the subset" if len(real.unseen_train) else "test images",
        pixels=copying_test(distances, samples.labels, unseen_distances, unseen.labels),
        features=_feature_copying(samples, measured, unseen=unseen, real=real, network=network, config=config),
        duplicated=duplicated,
        duplicated_real=duplicated_real,
        pairs=suspicious_pairs(distances, neighbours, samples, subset=real.subset, usual=usual, count=config.pictured),
    )


def _feature_copying(
    samples: LabelledImages,
    measured: Outputs,
    *,
    unseen: LabelledImages,
    real: RealData,
    network: FeatureNetwork,
    config: SamplesConfig,
) -> CopyingTest:
    """Make the data-copying test on features. Large subsets are cut: the test compares distributions."""
    unseen = network.unseen(unseen)
    some = real.subset.take(np.arange(len(real.subset))[:: max(1, len(real.subset) // config.max_images)])
    base = network.features(some.images)
    _, sample_distances = nearest(measured.features, base)
    _, unseen_distances = nearest(network.features(unseen.images), base)
    return copying_test(sample_distances, samples.labels, unseen_distances, unseen.labels)


def subsample(images: LabelledImages, limit: int, *, rng: np.random.Generator) -> LabelledImages:
    """Draw at most `limit` images, every class in its share, ordered as they were."""
    if len(images) <= limit:
        return images
    order = rng.permutation(len(images))
    position = np.empty(len(images))  # of each image within its shuffled class, in [0, 1)
    for label in range(images.num_classes):
        members = order[images.labels[order] == label]
        position[members] = np.arange(len(members)) / max(len(members), 1)
    return images.take(np.sort(np.argsort(position, kind="stable")[:limit]).astype(np.int64))


def constant_share(images: npt.NDArray[np.uint8]) -> float:
    """Return the share of images (N, C, H, W) whose pixels are all alike within each channel."""
    flat = images.reshape(*images.shape[:2], -1)
    return float((flat.max(2) == flat.min(2)).all(1).mean())


def write_pictures(
    directory: Path, evaluation: SampleEvaluation, *, synthetic: LabelledImages, subset: LabelledImages
) -> None:
    """Write the most suspicious pairs, each sample above its training image, and the worst labels into `directory`."""
    pairs = evaluation.memorisation.pairs
    above = [synthetic.images[pair.sample] for pair in pairs]
    below = [subset.images[pair.subset_index] for pair in pairs]
    _write_rows(directory / PAIRS_PICTURE, [above, below])
    _write_rows(directory / LABELS_PICTURE, [[synthetic.images[item.sample] for item in evaluation.labels.worst]])


def _write_rows(path: Path, rows: Sequence[Sequence[npt.NDArray[np.uint8]]]) -> None:
    framed = [[np.pad(image, ((0, 0), (1, 1), (1, 1)), constant_values=128) for image in row] for row in rows]
    picture = np.concatenate([np.concatenate(row, axis=2) for row in framed], axis=1).transpose(1, 2, 0)
    picture = picture.repeat(PICTURE_ZOOM, 0).repeat(PICTURE_ZOOM, 1)
    image = Image.fromarray(picture.squeeze(2) if picture.shape[2] == 1 else picture)
    write_atomically(path, lambda temporary: image.save(temporary, format="PNG", optimize=True))


def _check_input(synthetic: LabelledImages, real: RealData) -> None:
    if len(synthetic) == 0:
        raise UsageError("there are no synthetic images to evaluate; draw some first")
    if synthetic.shape != real.train.shape:
        raise UsageError(
            f"the synthetic images are {_text(synthetic.shape)}, the real ones {_text(real.train.shape)}; "
            "evaluate them against the data set they were made from"
        )
    if synthetic.class_names != real.train.class_names:
        raise UsageError(
            f"the synthetic images have the classes {', '.join(synthetic.class_names)}, the real ones "
            f"{', '.join(real.train.class_names)}; evaluate them against the data set they were made from"
        )
    for name, part in (("subset", real.subset), ("train split", real.train), ("test split", real.test)):
        if len(part) == 0:
            raise UsageError(f"the {name} is empty; there is nothing to compare the synthetic images with")


def _text(shape: tuple[int, int, int]) -> str:
    return "x".join(str(side) for side in shape)
