"""What of the generator brings a gain: parts of the GAN left out, and cheap generators in its place.

    python -m benchmarks.ablations --draws 20 --workers 8                     # minutes on a GPU, hours on a processor
    python -m benchmarks.ablations --dataset folder:my-images --policy natural --only PCA "the GAN"
    python -m benchmarks.ablations --classifier classifier.steps=3600         # against a reference at its plateau

The same classifier and the same schedule of mixing for each. A draw is a subset, and other train images that it is
judged on: choices are made here, never on the test split, and on draws (9700 and above) that no study reports. A line
for each training as it ends; at last a table of gains over the reference, paired by draw.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np

from benchmarks.protocol import Draw, by_draw, overridden, parser_of_draws, trained_samples
from data.base.device import resolve_compute
from evaluation.arms import CONTROL_ARM, HEADLINE_ARM, HEADLINE_REFERENCE
from evaluation.config import TrainingConfig
from gan.config import GanConfig

FIRST_DRAW = 9700
JUDGED_ON, SYNTHETIC_PER_CLASS = 10_000, 500
REFERENCE = "none (the reference)"
WITHOUT_GAN: Mapping[str, str] = {  # name: arm
    REFERENCE: HEADLINE_REFERENCE,
    "deformed copies": CONTROL_ARM,
    "interpolation": "real+classical+interpolation",
    "PCA": "real+classical+pca-mixture",
}
GANS: Mapping[str, tuple[str, ...]] = {  # name: changes to `GanConfig`
    "codes without adversary": ("adversarial_weight=0", "diversity_weight=0", "reconstruction_weight=3"),
    "adversary without codes": ("reconstruction_weight=0",),
    "the GAN": (),
}


def figures_of(
    number: int,
    *,
    dataset: str,
    per_class: int,
    policy: str,
    classifier: Sequence[str],
    gan: Sequence[str],
    only: Sequence[str],
) -> Iterator[tuple[str, float]]:
    """Yield the accuracy in % that each recipe gives on one draw, and the seconds of each GAN's training."""
    draw = Draw.of(number, dataset=dataset, per_class=per_class, policy=policy, judged_on=JUDGED_ON)
    subset, config = draw.subset, overridden(TrainingConfig(), classifier)
    for name, arm in WITHOUT_GAN.items():
        if name == REFERENCE or not only or name in only:
            made = SYNTHETIC_PER_CLASS * subset.num_classes
            yield name, draw.accuracy(draw.fitted(arm, config, num_synthetic=made))
    for name, changes in GANS.items():
        if only and name not in only:
            continue
        synthetic, seconds = trained_samples(
            subset,
            config=overridden(GanConfig(), [*gan, *changes]).for_subset(
                len(subset), imbalance=subset.imbalance, policy=policy, image_shape=subset.shape
            ),
            images_per_class=SYNTHETIC_PER_CLASS,
            seed=number,
            compute=resolve_compute(device="auto", precision="auto"),
        )
        yield f"{name}: seconds", seconds
        yield name, draw.accuracy(draw.fitted(HEADLINE_ARM, config, synthetic=synthetic))


def table_of(found: Mapping[str, Sequence[float]]) -> str:
    """Return a Markdown table: each recipe's mean accuracy, and its gain over the reference with its standard error."""
    lines = [
        "| mixed in | accuracy, % | gain in points | standard error | draws with a gain |",
        "|---|---|---|---|---|",
    ]
    reference = np.array(found[REFERENCE])
    for name in [*WITHOUT_GAN, *GANS]:
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
    parser = parser_of_draws(__doc__, draws=20, first_draw=FIRST_DRAW, recipes=[*WITHOUT_GAN, *GANS])
    parser.add_argument("--classifier", nargs="*", default=[], metavar="KEY=VALUE", help="of `TrainingConfig`")
    parser.add_argument("--gan", nargs="*", default=[], metavar="KEY=VALUE", help="of `GanConfig`, for every GAN")
    arguments = parser.parse_args()
    figures = partial(
        figures_of,
        dataset=arguments.dataset,
        per_class=arguments.images_per_class,
        policy=arguments.policy,
        classifier=arguments.classifier,
        gan=arguments.gan,
        only=arguments.only,
    )
    draws = range(arguments.first_draw, arguments.first_draw + arguments.draws)
    print(table_of(by_draw(figures, draws=draws, workers=arguments.workers)))


if __name__ == "__main__":
    main()
