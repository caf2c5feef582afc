"""What of the generator brings a gain: parts of the GAN left out, cheap generators in its place, and both.

    python -m benchmarks.ablations --draws 20 --workers 8                     # minutes on a GPU, hours on a processor
    python -m benchmarks.ablations --dataset folder:my-images --policy natural --only PCA "the GAN"
    python -m benchmarks.ablations --classifier classifier.steps=3600         # against a reference at its plateau

The same classifier and the same schedule of mixing for each. A draw is a subset, and other train images that it is
judged on: choices are made here, never on the test split, and on draws (9700 and above) that no study reports. A line
for each training as it ends; at last a table of gains over the reference, paired by draw.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from benchmarks.protocol import Asked, Draw, by_draw, overridden, parser_of_draws, samples_of, trained_generator
from data.base.device import resolve_compute
from data.base.randomness import numpy_stream
from data.images import LabelledImages, joined
from evaluation.arms import CONTROL_ARM, HEADLINE_ARM, HEADLINE_REFERENCE
from evaluation.baselines import Labels, Pixels, pca_mixture
from evaluation.config import TrainingConfig
from gan.codes import ImageCodes, SamplePlaces
from gan.config import GanConfig
from gan.networks import ConditionalGenerator, GeneratorEnsemble

FIRST_DRAW = 9700
JUDGED_ON, SYNTHETIC_PER_CLASS = 10_000, 500
SHARED = 0.5  # of a class's covariance, that of all classes together
REFERENCE = "none (the reference)"
WITHOUT_GAN: Mapping[str, str] = {  # name: arm
    REFERENCE: HEADLINE_REFERENCE,
    "deformed copies": CONTROL_ARM,
    "interpolation": "real+classical+interpolation",
    "PCA": "real+classical+pca-mixture",
}
SHARED_PCA = "one Gaussian, covariance half shared"


@dataclass(frozen=True, kw_only=True)
class GanRecipe:
    """A GAN, and how images are made with it.

    Attributes:
        changes: to `GanConfig`.
        from_gaussians: latent vectors are drawn from each class's Gaussian (`GaussianCodes`), not between two codes.
        pca: "half": PCA + mixture makes every second image, from the subset as ever; "of samples": it makes them all,
            from the GAN's samples and the subset together.
    """

    changes: tuple[str, ...] = ()
    from_gaussians: bool = False
    pca: Literal["none", "half", "of samples"] = "none"


GANS: Mapping[str, GanRecipe] = {
    "codes without adversary": GanRecipe(
        changes=("adversarial_weight=0", "diversity_weight=0", "reconstruction_weight=3")
    ),
    "adversary without codes": GanRecipe(changes=("reconstruction_weight=0",)),
    "the GAN": GanRecipe(),
    "the GAN, latents from Gaussians": GanRecipe(from_gaussians=True),
    "the GAN and PCA, half each": GanRecipe(pca="half"),
    "the GAN, latents from Gaussians, and PCA": GanRecipe(from_gaussians=True, pca="half"),
    "PCA of the GAN's samples": GanRecipe(pca="of samples"),
}
RECIPES = (*WITHOUT_GAN, SHARED_PCA, *GANS)


def shared_covariance(images: Pixels, labels: Labels, num_images: int, seed: int) -> tuple[Pixels, Labels]:
    """Draw from one Gaussian for each class, whose covariance is half its own and half that of all classes together.

    With few images of a class, what varies in it is better known from others (Yang et al. 2021, arXiv 2101.06395,
    section 3.2; Friedman 1989, "Regularized discriminant analysis", for the shrunk covariance). In pixels, where a
    Gaussian is drawn as images with random weights: no covariance matrix is needed. A `evaluation.baselines.Make`.
    """
    present, rng = np.unique(labels), numpy_stream(seed, "shared covariance")
    flat = images.reshape(len(images), -1) / 255.0
    means = {label: flat[labels == label].mean(0) for label in present}
    deviations = flat - np.stack([means[label] for label in labels])
    drawn = []
    for label in present:
        own = deviations[labels == label]
        parts = [
            weight**0.5 * rng.standard_normal((num_images, len(part))) @ part / len(part) ** 0.5
            for weight, part in ((1 - SHARED, own), (SHARED, deviations))
        ]
        drawn.append(means[label] + sum(parts))
    made = np.clip(np.rint(255 * np.concatenate(drawn)), 0, 255).astype(np.uint8).reshape(-1, *images.shape[1:])
    return made, np.repeat(present, num_images).astype(np.int64)


class GaussianCodes(ImageCodes):
    """Codes in whose place a sample has a latent vector from its class's Gaussian.

    About the mean of the class's codes, with a covariance that is half theirs and half that of all classes together, as
    in `shared_covariance`: what varies in one class is carried over to the others.
    """

    @classmethod
    def of(cls, codes: ImageCodes) -> "GaussianCodes":
        """Return the same codes, to be sampled so; classes without images are not provided for."""
        made = cls(codes.labels, latent_dim=codes.vectors.shape[1])
        made.load_state_dict(codes.state_dict())
        return made

    def between(self, noise: Tensor, labels: Tensor, *, places: SamplePlaces) -> Tensor:  # noqa: ARG002
        """Map noise (B, latent_dim) from N(0, I) and labels (B,) int64 to latent vectors (B, latent_dim)."""
        chosen = torch.nn.functional.one_hot(self.labels).to(self.vectors.dtype)  # (N, K)
        counts = chosen.sum(0)
        means = chosen.T @ self.vectors / counts[:, None]  # (K, D)
        deviations = self.vectors - means[self.labels]
        own = torch.einsum("nk,nd,ne->kde", chosen, deviations, deviations) / counts[:, None, None]
        covariances = (1 - SHARED) * own + SHARED * deviations.T @ deviations / len(deviations)  # (K, D, D)
        variances, axes = torch.linalg.eigh(covariances.double())
        roots = (axes * variances.clamp(min=0).sqrt()[:, None, :]).to(noise.dtype)
        return means[labels] + torch.einsum("bde,be->bd", roots[labels], noise)


def from_gaussians(generator: GeneratorEnsemble) -> GeneratorEnsemble:
    """Return a copy of the ensemble whose members' latent vectors are drawn from Gaussians."""
    generator = copy.deepcopy(generator)
    for member in generator.members:
        assert isinstance(member, ConditionalGenerator)
        if member.codes is not None:
            member.codes = GaussianCodes.of(member.codes)
    return generator


def half_each(samples: LabelledImages, others: LabelledImages) -> LabelledImages:
    """Return every second image of each class of both."""
    return joined(_halved(samples), _halved(others))


def _halved(images: LabelledImages) -> LabelledImages:
    return images.take(np.sort(images.labels.argsort(kind="stable")[::2]))


def figures_of(
    number: int, asked: Asked, *, classifier: Sequence[str], gan: Sequence[str]
) -> Iterator[tuple[str, float]]:
    """Yield the accuracy in % that each recipe gives on one draw, and the seconds of each GAN's training.

    Args:
        classifier, gan: KEY=VALUE changes to `TrainingConfig` and to every GAN's `GanConfig`.
    """
    draw = Draw.of(number, asked, judged_on=JUDGED_ON)
    subset, config = draw.subset, overridden(TrainingConfig(), classifier)
    compute = resolve_compute(device="auto", precision="auto")
    for name, arm in WITHOUT_GAN.items():
        if name == REFERENCE or asked.wants(name):
            count = SYNTHETIC_PER_CLASS * subset.num_classes
            yield name, draw.accuracy(draw.fitted(arm, config, num_synthetic=count))
    if asked.wants(SHARED_PCA):
        images, labels = shared_covariance(subset.images, subset.labels, SYNTHETIC_PER_CLASS, number)
        yield SHARED_PCA, draw.accuracy(draw.fitted(HEADLINE_ARM, config, synthetic=_labelled(images, labels, subset)))

    @cache
    def trained(changes: tuple[str, ...]) -> tuple[GeneratorEnsemble, float]:
        decided = overridden(GanConfig(), [*gan, *changes]).for_subset(
            len(subset), imbalance=subset.imbalance, policy=asked.policy, image_shape=subset.shape
        )
        return trained_generator(subset, config=decided, seed=number, compute=compute)

    for name, recipe in GANS.items():
        if not asked.wants(name):
            continue
        generator, seconds = trained(recipe.changes)
        yield f"{name}: seconds", seconds
        synthetic = samples_of(
            from_gaussians(generator) if recipe.from_gaussians else generator,
            images_per_class=SYNTHETIC_PER_CLASS,
            class_names=subset.class_names,
            seed=number,
            compute=compute,
        )
        if recipe.pca != "none":
            seen = subset if recipe.pca == "half" else joined(subset, synthetic)
            made = _labelled(*pca_mixture(seen.images, seen.labels, SYNTHETIC_PER_CLASS, number), subset)
            synthetic = half_each(synthetic, made) if recipe.pca == "half" else made
        yield name, draw.accuracy(draw.fitted(HEADLINE_ARM, config, synthetic=synthetic))


def _labelled(images: Pixels, labels: Labels, like: LabelledImages) -> LabelledImages:
    return LabelledImages(
        images=images, labels=labels, rows=np.arange(len(labels), dtype=np.int64), class_names=like.class_names
    )


def table_of(found: Mapping[str, Sequence[float]]) -> str:
    """Return a Markdown table: each recipe's mean accuracy, and its gain over the reference with its standard error."""
    lines = [
        "| mixed in | accuracy, % | gain in points | standard error | draws with a gain |",
        "|---|---|---|---|---|",
    ]
    reference = np.array(found[REFERENCE])
    for name in RECIPES:
        if name not in found:
            continue
        accuracies = np.array(found[name])
        gains = accuracies - reference
        if name == REFERENCE:
            lines.append(f"| {name} | {accuracies.mean():.2f} | | | |")
            continue
        error = f"{gains.std(ddof=1) / len(gains) ** 0.5:.2f}" if len(gains) > 1 else ""
        ahead = f"{(gains > 0).sum()} of {len(gains)}"
        lines.append(f"| {name} | {accuracies.mean():.2f} | {gains.mean():+.2f} | {error} | {ahead} |")
    return "\n".join(lines)


def main() -> None:
    parser = parser_of_draws(__doc__, draws=20, first_draw=FIRST_DRAW, recipes=RECIPES)
    parser.add_argument("--classifier", nargs="*", default=[], metavar="KEY=VALUE", help="of `TrainingConfig`")
    parser.add_argument("--gan", nargs="*", default=[], metavar="KEY=VALUE", help="of `GanConfig`, for every GAN")
    arguments = parser.parse_args()
    figures = partial(figures_of, asked=Asked.of(arguments), classifier=arguments.classifier, gan=arguments.gan)
    draws = range(arguments.first_draw, arguments.first_draw + arguments.draws)
    print(table_of(by_draw(figures, draws=draws, workers=arguments.workers)))


if __name__ == "__main__":
    main()
