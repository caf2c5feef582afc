"""The choice of a policy: by inner validation on the subset alone, and by rule where that cannot tell."""

from dataclasses import replace

import numpy as np
import pytest

from data.base.device import Compute
from data.images import LabelledImages
from data.policy_candidates import GREY_CANDIDATES, policy_candidates, usual_policy
from evaluation.config import ClassifierConfig, PolicyChoiceConfig, TrainingConfig
from evaluation.policy import PolicyChoice, policy_use
from evaluation.policy_choice import Trial, choose_policy

CPU = Compute(device="cpu", precision="float32")
STEPS = 60


def config(*candidates, policy="auto", **changes):
    return TrainingConfig(
        classifier=ClassifierConfig(steps=STEPS, batch_size=16, width=4),
        policy=policy,
        policy_choice=PolicyChoiceConfig(candidates=candidates, **changes),
    )


def choose(images, training):
    return choose_policy(images, config=training, seed=0, compute=CPU, on_update=lambda share, detail: None)


def sided(count=48, grey=60):
    """Images whose class is the side on which a bright bar stands: mirror images bear the wrong label.

    `grey` tells how dark the ground is; an even one, as of glyphs, is at most 8.
    """
    labels = np.arange(count, dtype=np.int64) % 2
    images = np.random.default_rng(0).integers(grey, grey + (40 if grey else 8), (count, 1, 12, 12), dtype=np.uint8)
    images[labels == 0, :, :, 1:4] = 220
    images[labels == 1, :, :, 8:11] = 220
    return LabelledImages(images=images, labels=labels, rows=np.arange(count), class_names=("left", "right"))


def fake(monkeypatch, right):
    """Let candidates recognise images as `right` says: policy and round to (N,) floats."""
    monkeypatch.setattr(Trial, "recognised", lambda self, policy, number: np.asarray(right(policy, number), float))


def coloured(images):
    colours = np.array([1.0, 0.8, 0.6]).reshape(3, 1, 1)
    return replace(images, images=(images.images * colours).astype(np.uint8))


@pytest.mark.slow
@pytest.mark.parametrize(("images", "candidates"), [(sided(), ("natural", "none")), (coloured(sided()), ())])
def test_a_policy_that_changes_what_a_label_means_is_not_chosen(images, candidates):
    choice = choose(images, config(*candidates))
    scores = {score.policy: score.accuracy for score in choice.candidates}
    assert choice.policy == "none"
    assert scores["none"] > 0.9 > 0.75 > scores["natural"]


def test_a_policy_that_the_configuration_names_is_tried_on_nothing(monkeypatch):
    fake(monkeypatch, lambda policy, number: 1 / 0)
    choice = choose(sided(), config(policy="medical"))
    assert choice == PolicyChoice(policy="medical", reason="set in the configuration")


def on_a_ground(ground, *, channels=1, grey=False):
    """Ten images of 12x12, the upper half of which has this value."""
    images = np.random.default_rng(0).integers(60, 140, (10, channels, 12, 12), dtype=np.uint8)
    images[:, :, :6] = ground
    if grey:
        images[:] = images[:, :1]
    return LabelledImages(images=images, labels=np.zeros(10, np.int64), rows=np.arange(10), class_names=("a",))


@pytest.mark.parametrize(
    ("channels", "ground", "usual"),
    [(1, 0, "digits"), (1, 255, "digits"), (1, 90, "none"), (3, 0, "none"), (3, 255, "none"), (3, 90, "natural")],
)
def test_the_usual_policy_is_that_of_glyphs_on_an_even_ground_and_of_photographs(channels, ground, usual):
    assert usual_policy(on_a_ground(ground, channels=channels)) == usual


def test_a_dark_channel_is_no_even_ground():
    images = on_a_ground(90, channels=3)
    images.images[:, 0] = 0
    assert usual_policy(images) == "natural"


def test_grey_images_that_one_of_colour_made_rgb_are_grey():
    images = on_a_ground(90, channels=3, grey=True)
    images.images[0, 0] = 255 - images.images[0, 0]
    assert usual_policy(images) == "none"
    assert policy_candidates(images) == GREY_CANDIDATES


@pytest.mark.parametrize(("better_in", "chosen"), [(1, "none"), (30, "medical")])
def test_the_usual_policy_stays_unless_another_one_is_better_by_more_than_the_error(monkeypatch, better_in, chosen):
    base = np.arange(48) % 4 == 0
    better = base.copy()
    better[np.flatnonzero(~base)[:better_in]] = True
    fake(monkeypatch, lambda policy, number: better if policy == "medical" else base)
    choice = choose(sided(), config("none", "medical"))
    assert choice.policy == chosen
    assert ("is not better beyond chance" in choice.reason) == (chosen == "none")
    assert choice.judged == 48


def test_the_worse_half_goes_out_after_the_first_round_and_the_usual_one_never(monkeypatch):
    shares = {"none": 0.1, "digits": 0.2, "medical": 0.9, "natural": 0.8}
    fake(monkeypatch, lambda policy, number: np.arange(48) < 48 * shares[policy])
    choice = choose(sided(), config())
    assert {score.policy: score.rounds for score in choice.candidates} == {
        "medical": 2, "none": 2, "natural": 1, "digits": 1
    }  # fmt: skip
    assert choice.policy == "medical"


@pytest.mark.parametrize(("put_wrong", "among_several"), [(4, "medical"), (6, "none")])  # 2.1 and 1.4 standard errors
def test_one_of_several_others_must_be_better_by_more(monkeypatch, put_wrong, among_several):
    base = np.arange(48) < 24
    right = base.copy()
    right[:put_wrong], right[24:36] = False, True
    fake(monkeypatch, lambda policy, number: right if policy == "medical" else base)
    assert choose(sided(), config("none", "medical")).policy == "medical"
    assert choose(sided(), config("none", "medical", "digits", "natural")).policy == among_several


@pytest.mark.parametrize(("ahead", "rounds"), [(-4, 1), (0, 1), (12, 2)])
def test_a_strong_usual_policy_that_none_leads_clearly_needs_no_second_round(monkeypatch, ahead, rounds):
    shares = {"none": 20, "digits": 30, "medical": 30 + ahead, "natural": 20}
    fake(monkeypatch, lambda policy, number: np.arange(48) < shares[policy])
    choice = choose(sided(grey=0), config())
    assert max(score.rounds for score in choice.candidates) == rounds
    assert choice.policy == ("digits" if rounds == 1 else "medical")


def test_a_weak_usual_policy_is_tried_again_though_it_leads_for_others_take_longer_to_learn(monkeypatch):
    fake(monkeypatch, lambda policy, number: np.arange(48) < {"none": (40, 30)}.get(policy, (30, 44))[number])
    assert choose(sided(), config("none", "medical")).policy == "medical"


def test_the_last_round_alone_decides(monkeypatch):
    shares = {"none": (0.9, 0.2), "medical": (0.1, 0.8)}
    fake(monkeypatch, lambda policy, number: np.arange(48) < 48 * shares[policy][number])
    assert choose(sided(), config("none", "medical")).policy == "medical"


@pytest.mark.parametrize(
    ("asked", "num_trained", "steps"),
    [
        ("auto", 50, (100, 200)),
        ("auto", 640, (200, 400)),
        ("auto", 2000, (625, 1250)),
        ("auto", 9000, (900, 1800)),
        (60, 2000, (30, 60)),
    ],
)
def test_the_last_round_trains_twice_as_long_and_the_longer_the_more_images(asked, num_trained, steps):
    training = TrainingConfig(policy_choice=PolicyChoiceConfig(steps=asked))
    trial = Trial(images=sided(), groups=None, config=training, seed=0, compute=CPU)
    assert tuple(trial.steps(number, num_trained=num_trained) for number in (0, 1)) == steps


def test_one_image_a_class_leaves_nothing_to_choose_by():
    images = sided(2)
    choice = choose(images, config())
    assert choice.policy == "none"
    assert "0 images that can be judged are too few" in choice.reason
    assert not choice.candidates


def test_an_image_is_judged_only_where_others_of_its_class_were_learnt():
    few = sided(25)  # the class of the last one is the only one of its class
    labels = few.labels.copy()
    labels[-1] = 2
    alone = LabelledImages(images=few.images, labels=labels, rows=few.rows, class_names=("left", "right", "odd"))
    trial = Trial(images=alone, groups=None, config=config(), seed=0, compute=CPU)
    assert trial.folds(0)[-1] == -1
    assert set(trial.folds(0)[:-1]) == {0, 1}


def test_a_group_is_never_divided_between_learning_and_judging():
    groups = np.arange(48) // 4
    trial = Trial(images=sided(), groups=groups, config=config(), seed=0, compute=CPU)
    for number in (0, 1):
        assert all(len(set(trial.folds(number)[groups == group])) == 1 for group in range(12))
    assert not np.array_equal(trial.folds(0), trial.folds(1))


def test_images_of_a_group_count_as_one_draw():
    differences = np.repeat([1.0, 0.0, 0.0, 1.0, 0.0, 0.0], 8)
    alone = Trial(images=sided(), groups=None, config=config(), seed=0, compute=CPU)
    grouped = Trial(images=sided(), groups=np.arange(48) // 8, config=config(), seed=0, compute=CPU)
    assert grouped.standard_error(differences) == pytest.approx(np.std([1, 0, 0, 1, 0, 0], ddof=1) / 6**0.5)
    assert alone.standard_error(differences) == pytest.approx(np.std(differences, ddof=1) / 48**0.5)


def test_large_subsets_are_tried_in_part(monkeypatch):
    seen = []
    fake(monkeypatch, lambda policy, number: np.ones(30))
    monkeypatch.setattr("evaluation.policy_choice.undivided", lambda images: seen.append(len(images)))
    choose(sided(), config("none", "digits", most_images=30))
    assert seen == [30]


@pytest.mark.slow
def test_the_same_seed_makes_the_same_choice():
    first, second = (choose(sided(), config("digits", "none")) for _ in range(2))
    assert first == second


def test_a_report_tells_how_often_each_policy_was_chosen():
    choices = [PolicyChoice(policy=name, reason=f"reason {name}") for name in ("digits", "none", "digits")]
    sentence = policy_use(choices).sentence
    assert "digits in 2, none in 1 of 3 replicates, chosen in each by inner validation" in sentence


def test_a_report_tells_of_a_policy_that_was_set():
    choices = [PolicyChoice(policy="natural", reason="set in the configuration")] * 3
    assert policy_use(choices).sentence == "the policy of classical augmentation is natural, set in the configuration"
