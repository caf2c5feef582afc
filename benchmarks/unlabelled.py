"""Recipes for images without labels, side by side: partners without a GAN, and GANs that learn from the same images.

    python -m benchmarks.unlabelled --draws 6 --workers 6            # minutes on a GPU, hours on a processor
    python -m benchmarks.unlabelled --dataset folder:my-images --only fixmatch gan "gan, 4,000 steps"

Each draw has its own few labelled images, its own images without labels, and other train images that it is judged on:
recipes are chosen here, never on the test split, and on draws (7000 and above) that no study reports. One classifier
of each arm. Accuracies in %, per draw and on average, go to benchmarks/TRIALS.md with whatever is concluded from them.
"""

import statistics
from collections.abc import Iterator, Mapping
from functools import partial

from benchmarks.protocol import Asked, Draw, by_draw, overridden, parser_of_draws, trained_samples
from data.base.device import resolve_compute
from data.unlabelled import with_pseudo_labelled
from evaluation.arms import CONSISTENT_ARM, HEADLINE_ARM, HEADLINE_REFERENCE, SELF_TRAINED_ARM
from evaluation.config import TrainingConfig
from evaluation.pseudo_labels import labelled_by
from gan.config import GanConfig

FIRST_DRAW = 7000
JUDGED_ON, MOST_UNLABELLED, SYNTHETIC_PER_CLASS = 5000, 5000, 500
PARTNERS: Mapping[str, tuple[str, tuple[str, ...]]] = {  # name: arm, changes to `TrainingConfig`
    "real+classical": (HEADLINE_REFERENCE, ()),
    "real+classical, 4 times the steps": (HEADLINE_REFERENCE, ("classifier.steps=3600",)),
    "pseudo-labels": (SELF_TRAINED_ARM, ()),
    "pseudo-labels, 1 round": (SELF_TRAINED_ARM, ("pseudo_labels.rounds=1",)),
    "pseudo-labels, 3 rounds": (SELF_TRAINED_ARM, ("pseudo_labels.rounds=3",)),
    "pseudo-labels, a quarter to the end": (SELF_TRAINED_ARM, ("final_added_share=0.25",)),
    "fixmatch": (CONSISTENT_ARM, ()),
    "fixmatch, ratio 4": (CONSISTENT_ARM, ("consistency.ratio=4",)),
    "fixmatch, twice the steps": (CONSISTENT_ARM, ("consistency.longer=2",)),
    "fixmatch, threshold 0.95": (CONSISTENT_ARM, ("consistency.threshold=0.95",)),
    "fixmatch, threshold 0.8": (CONSISTENT_ARM, ("consistency.threshold=0.8",)),
    "fixmatch, stronger": (CONSISTENT_ARM, ("consistency.strong=1.5",)),
    "fixmatch, no square": (CONSISTENT_ARM, ("consistency.cutout=0",)),
}
GANS: Mapping[str, tuple[str, ...]] = {  # name: changes to `GanConfig`
    "gan": (),
    "gan, 4,000 steps": ("steps=4000",),
    "gan, 10,000 steps": ("steps=10000",),
    "gan, 4,000 steps, no codes": ("steps=4000", "reconstruction_weight=0"),
    "gan, 4,000 steps, width 32, batch 64": (
        "steps=4000", "generator_width=32", "discriminator_width=32", "batch_size=64"
    ),
}  # fmt: skip
COMBINED_ARM = "fixmatch+synthetic"


def figures_of(number: int, asked: Asked) -> Iterator[tuple[str, float]]:
    """Yield what each recipe gives on one draw: its name, and an accuracy in % or the like."""
    draw = Draw.of(number, asked, judged_on=JUDGED_ON, most_unlabelled=MOST_UNLABELLED)
    assert draw.unlabelled is not None
    for name, (arm, changes) in PARTNERS.items():
        if asked.wants(name):
            config = overridden(TrainingConfig(), changes)
            yield name, draw.accuracy(draw.fitted(arm, config))
    gans = {name: changes for name, changes in GANS.items() if asked.wants(name)}
    if not gans:
        return
    config = TrainingConfig()
    teacher = draw.fitted(CONSISTENT_ARM, config, stream="labelling")
    labelled = labelled_by(
        teacher,
        draw.unlabelled,
        class_names=draw.subset.class_names,
        threshold=config.consistency.threshold,
    )
    yield "images labelled, %", 100 * len(labelled) / len(draw.unlabelled)
    images = with_pseudo_labelled(draw.subset, labelled)
    compute = resolve_compute(device="auto", precision="auto")
    for name, changes in gans.items():
        synthetic, seconds = trained_samples(
            images,
            config=overridden(GanConfig(), changes).for_subset(
                len(images), imbalance=images.imbalance, policy=draw.policy, image_shape=images.shape
            ),
            images_per_class=SYNTHETIC_PER_CLASS,
            seed=draw.number,
            compute=compute,
        )
        yield f"{name}: seconds", seconds
        for arm in ("synthetic+classical", HEADLINE_ARM, COMBINED_ARM):
            yield f"{name}: {arm}", draw.accuracy(draw.fitted(arm, config, synthetic=synthetic))


def main() -> None:
    parser = parser_of_draws(__doc__, draws=6, first_draw=FIRST_DRAW, recipes=[*PARTNERS, *GANS])
    arguments = parser.parse_args()
    figures = partial(figures_of, asked=Asked.of(arguments))
    draws = range(arguments.first_draw, arguments.first_draw + arguments.draws)
    for name, each in by_draw(figures, draws=draws, workers=arguments.workers).items():
        print(f"{name}: {statistics.mean(each):.2f} ({' '.join(f'{figure:.2f}' for figure in each)})")


if __name__ == "__main__":
    main()
