"""Planted generators: what cheats or fails, with the check that must name it, and honest ones, which none may.

A plant is made of the images that its generator may have stolen: those of the subset, of the rest of train, or of the
test split, as they are or altered. The kinds are a table, so that thresholds can be set on some and tested on others
(`benchmarks.audit`).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from data.augmentation import deform
from data.config import DeformationConfig
from data.images import LabelledImages
from data.tensors import to_pixels, to_unit_range
from evaluation.checks import CheckName
from evaluation.samples import RealData

LIGHT_DEFORMATION = DeformationConfig(rotation_degrees=3, translation=0.02, scale=0.03, shear=0.05, elastic=0.015)
HALF_DEFORMATION = DeformationConfig(rotation_degrees=6, translation=0.04, scale=0.06, shear=0.1, elastic=0.02)
NOISE_LEVELS = 4.0  # standard deviation, of 255 grey levels
STRONG_NOISE = 12.0
WRONG_SHARE = 0.2
COMPONENTS = 20  # of the honest PCA
FEWEST_COPIES = 30
COPY_CHECKS: tuple[CheckName, ...] = (
    "no copies of training images",
    "no copies of other train images",
    "no copies of test images",
)
Family = Literal["honest", "copies", "coverage", "labels", "quality"]


@dataclass(frozen=True, kw_only=True)
class Plant:
    """A planted generator's samples.

    Attributes:
        expected: the checks that must fail it; none for an honest one.
    """

    generator: str
    family: Family
    expected: tuple[CheckName, ...]
    samples: LabelledImages


Alteration = Callable[[npt.NDArray[np.uint8], np.random.Generator], npt.NDArray[np.uint8]]


def _as_they_are(images: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:  # noqa: ARG001
    return images


def _mirrored(images: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:  # noqa: ARG001
    return images[..., ::-1].copy()


def _brighter(images: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    gain = rng.uniform(0.6, 0.9, (len(images), 1, 1, 1))
    return _pixels(images * gain + rng.uniform(5, 40, (len(images), 1, 1, 1)))


def _noisy(level: float) -> Alteration:
    return lambda images, rng: _pixels(images + rng.normal(0, level, images.shape))


def _deformed(config: DeformationConfig) -> Alteration:
    def alter(images: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
        stream = torch.Generator().manual_seed(int(rng.integers(2**31)))
        return to_pixels(deform(to_unit_range(images), config=config, rng=stream))

    return alter


def _shifted(most: int) -> Alteration:
    def alter(images: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
        padded = np.pad(images, ((0, 0), (0, 0), (most, most), (most, most)), mode="edge")
        height, width = images.shape[2:]
        shifted = np.empty_like(images)
        for row, (down, right) in enumerate(rng.integers(0, 2 * most + 1, (len(images), 2))):
            shifted[row] = padded[row, :, down : down + height, right : right + width]
        return shifted

    return alter


def _turned(degrees: float) -> Alteration:
    still = DeformationConfig(rotation_degrees=degrees, translation=0, scale=0, shear=0, elastic=0)
    return _deformed(still)


ALTERATIONS: dict[str, Alteration] = {
    "as they are": _as_they_are,
    "shifted": _shifted(2),
    "turned": _turned(10),
    "mirrored": _mirrored,
    "brighter": _brighter,
    "with noise": _noisy(NOISE_LEVELS),
    "with strong noise": _noisy(STRONG_NOISE),
    "lightly deformed": _deformed(LIGHT_DEFORMATION),
}
MOVING = ("shifted", "turned", "lightly deformed")  # images of a few pixels hold too little to tell these by
SMALLEST_SIDE = 16  # of images whose pixels may be moved


def alterations_of(images: LabelledImages) -> dict[str, Alteration]:
    """Return the alterations after which images of this size can still be told from others."""
    small = min(images.shape[1:]) < SMALLEST_SIDE
    return {name: alter for name, alter in ALTERATIONS.items() if not (small and name in MOVING)}


def copying_plants(
    honest: LabelledImages,
    real: RealData,
    *,
    share: float,
    alterations: dict[str, Alteration],
    rng: np.random.Generator,
) -> list[Plant]:
    """Replace samples of an honest generator by copies of each part of the data, altered in each way.

    Args:
        share: of the samples that are copies of each part; never less than `FEWEST_COPIES`, since no test tells a few
            copies from chance.
    """
    pool = real.unseen_train
    parts = [part for part in (real.subset, pool, real.test) if len(part)]
    checks = [check for check, part in zip(COPY_CHECKS, (real.subset, pool, real.test), strict=True) if len(part)]
    count = max(FEWEST_COPIES, round(share * len(honest)))
    plants = []
    for name, alter in alterations.items():
        slots = rng.permutation(len(honest))
        images, labels = honest.images.copy(), honest.labels.copy()
        for number, part in enumerate(parts):
            chosen = slots[number * count : (number + 1) * count]
            stolen = part.take(rng.integers(0, len(part), len(chosen)))
            images[chosen], labels[chosen] = alter(stolen.images, rng), stolen.labels
        plants.append(
            Plant(
                generator=f"{count / len(honest):.0%} copies of each part, {name}",
                family="copies",
                expected=tuple(checks),
                samples=replace(honest, images=images, labels=labels),
            )
        )
    return plants


def wholesale_plants(honest: LabelledImages, real: RealData, *, rng: np.random.Generator) -> list[Plant]:
    """Make all samples of one part of the data, deformed half as strongly as classifiers' training images are.

    Single such copies may pass; none where images are smaller than `SMALLEST_SIDE`.
    """
    if min(honest.shape[1:]) < SMALLEST_SIDE:
        return []
    plants = []
    for check, part in zip(COPY_CHECKS, (real.subset, real.unseen_train, real.test), strict=True):
        if len(part):
            stolen = part.take(rng.integers(0, len(part), len(honest)))
            samples = replace(stolen, images=_deformed(HALF_DEFORMATION)(stolen.images, rng))
            name = f"nothing but {check.removeprefix('no copies of ')}, half deformed"
            plants.append(Plant(generator=name, family="copies", expected=(check,), samples=samples))
    return plants


def failing_plants(honest: LabelledImages, *, unjudged: LabelledImages, rng: np.random.Generator) -> list[Plant]:
    """Damage an honest generator's samples: classes that are missing, collapsed or wrong, noise, flat images.

    Args:
        unjudged: those of its samples that the instrument was not trained on: it believes the labels of others so much
            more that wrong ones among them would hide.
    """
    last = honest.num_classes - 1
    of_last = np.flatnonzero(honest.labels == last)
    without = honest.take(np.flatnonzero(honest.labels != last))
    other = rng.permutation(np.flatnonzero(honest.labels == 0))
    images = honest.images.copy()
    images[of_last] = honest.images[rng.choice(other, len(of_last))]
    made: list[tuple[str, Family, CheckName, LabelledImages]] = [
        ("one class missing", "coverage", "every class is there", without),
        ("one class wholly wrong", "labels", "labels are right in every class", replace(honest, images=images)),
        (
            "a fifth of labels wrong",
            "labels",
            "labels are right",
            replace(unjudged, labels=_mislabelled(unjudged, rng)),
        ),
        ("noise", "quality", "realistic", replace(honest, images=_noise(honest, rng))),
        ("one flat colour", "quality", "not constant", replace(honest, images=np.zeros_like(honest.images))),
    ]
    for kept in (1, 2):
        rows = np.arange(len(honest))
        rows[of_last] = rng.choice(of_last[:kept], len(of_last))
        collapsed = _altered(honest.take(rows), _noisy(NOISE_LEVELS), rng)
        made.append((f"one class collapsed to {kept} images", "coverage", "varied in every class", collapsed))
    for kept in (3, 10):
        rows = np.arange(len(honest))
        for label in range(honest.num_classes):
            members = np.flatnonzero(honest.labels == label)
            rows[members] = rng.choice(members[:kept], len(members))
        prototypes = _altered(honest.take(rows), _deformed(LIGHT_DEFORMATION), rng)
        made.append((f"{kept} prototypes a class", "coverage", "varied in every class", prototypes))
    return [
        Plant(generator=name, family=family, expected=(check,), samples=samples)
        for name, family, check, samples in made
    ]


def mixture_samples(
    subset: LabelledImages, labels: npt.NDArray[np.int64], *, rng: np.random.Generator
) -> LabelledImages:
    """Draw images of the given labels from a Gaussian in the principal components of each class of the subset.

    An honest generator that has seen the subset and nothing else, of the kind that Tipping & Bishop 1999,
    "Mixtures of probabilistic principal component analysers", describe.

    Args:
        labels: (N,) int64.

    Raises:
        ValueError: the subset has fewer than two images of a class.
    """
    from sklearn.decomposition import PCA  # here: it takes a second to import

    images = np.zeros((len(labels), *subset.shape), np.uint8)
    for label in np.unique(labels):
        members = subset.images[subset.labels == label]
        wanted = np.flatnonzero(labels == label)
        flat = members.reshape(len(members), -1).astype(np.float64)
        if len(members) < 2:
            raise ValueError(f"class {label} has {len(members)} images in the subset, 2 are needed")
        model = PCA(min(COMPONENTS, len(members) - 1), random_state=int(rng.integers(2**31))).fit(flat)
        scores = rng.normal(size=(len(wanted), model.n_components_)) * np.sqrt(model.explained_variance_)
        images[wanted] = _pixels(model.inverse_transform(scores)).reshape(len(wanted), *subset.shape)
    return LabelledImages(
        images=images, labels=labels, rows=np.arange(len(labels), dtype=np.int64), class_names=subset.class_names
    )


def _altered(images: LabelledImages, alter: Alteration, rng: np.random.Generator) -> LabelledImages:
    return replace(images, images=alter(images.images, rng))


def _pixels(values: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    return np.asarray(values.round().clip(0, 255), np.uint8)


def _noise(images: LabelledImages, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    return rng.integers(0, 256, images.images.shape, dtype=np.uint8)


def _mislabelled(images: LabelledImages, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    labels = images.labels.copy()
    wrong = rng.permutation(len(labels))[: round(WRONG_SHARE * len(labels))]
    labels[wrong] = (labels[wrong] + rng.integers(1, images.num_classes, len(wrong))) % images.num_classes
    return labels
