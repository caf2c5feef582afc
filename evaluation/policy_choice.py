"""Which policy of classical augmentation a cell uses: chosen by inner validation on its subset alone.

Each candidate trains short classifiers on some folds of the subset and is judged on the other ones (stratified; what
belongs together stays together). After the first round the better half goes on to a second one, which trains twice as
long, from other folds and seeds, and alone decides (successive halving: Jamieson & Talwalkar 2016, arXiv 1502.07943).
All candidates of a round share folds and seeds. There is no second round where the usual policy is the strongest and
none leads it by a standard error in the first: short trainings show strong policies at their worst. Then the
one-standard-error rule (Breiman et al. 1984, section 3.4.3): the usual policy for such images stays unless another one
is better by more than the standard error of the difference, since few images tell little and a choice by chance would
add noise alone. Several others are several chances: the rule's level is divided among them (Bonferroni), which asks for
1.6 standard errors of one of three. No test image is seen, and all arms and the generator of the cell share the choice.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from data.base.device import Compute
from data.base.randomness import child_seed, numpy_stream, torch_stream
from data.design import stratified_folds, undivided
from data.images import LabelledImages
from data.policies import augmented, policy_of
from data.policy_candidates import policy_candidates, usual_policy
from evaluation.classifiers import fit_classifier
from evaluation.config import TrainingConfig
from evaluation.fitting import FitOptions
from evaluation.policy import CandidateScore, PolicyChoice
from evaluation.training_set import TrainingSet

ROUNDS = 2
LEAST_STEPS, EPOCHS = 200, 20  # of a network's training in the last round; benchmarks/TRIALS.md
STRONGEST = "digits"  # of the project's own policies; it takes the longest to learn under
CHECKED_IMAGES = 3  # of an own policy's first trial
LEAST_JUDGED = 20  # images; with fewer a single one would decide

OnUpdate = Callable[[float, str], None]  # finished share in [0, 1], a line of detail
Recognised = dict[str, list[npt.NDArray[np.float64]]]
"""Candidate to what `Trial.recognised` found in each of its rounds."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What all candidates are tried on.

    Attributes:
        images: of the subset, all or as many as the configuration allows.
        groups: images that must not be divided, (N,) int64; None where every image stands alone.
        config: how classifiers are trained.
    """

    images: LabelledImages
    groups: npt.NDArray[np.int64] | None
    config: TrainingConfig
    seed: int
    compute: Compute

    def folds(self, number: int) -> npt.NDArray[np.int64]:
        """Return the fold of each image in a round, (N,) int64; -1 where none of its class is left to train on."""
        labels = self.images.labels
        units = labels if self.groups is None else labels[np.unique(self.groups, return_index=True)[1]]
        most = int(np.bincount(units).max())
        if most < 2:
            return np.full(len(labels), -1)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The least populated class")
            folds = stratified_folds(
                labels,
                folds=min(self.config.policy_choice.folds, most),
                groups=self.groups,
                seed=child_seed(self.seed, "policy folds", number),
            )
        for fold in range(int(folds.max()) + 1):
            alone = (folds == fold) & ~np.isin(labels, labels[folds != fold])
            folds[alone] = -1
        return folds

    def steps(self, number: int, *, num_trained: int) -> int:
        """Return how many steps a network takes in a round: half as many in the first as in the last."""
        classifier, asked = self.config.classifier, self.config.policy_choice.steps
        last = max(LEAST_STEPS, EPOCHS * num_trained // classifier.batch_size) if asked == "auto" else asked
        return max(1, min(last, classifier.steps) >> (ROUNDS - 1 - number))

    def recognised(self, policy: str, number: int) -> npt.NDArray[np.float64]:
        """Return whether each image (N,) was recognised by a classifier of a round that had trained on other folds.

        1 or 0; NaN for images that are not judged.
        """
        folds, config = self.folds(number), self.config
        right = np.full(len(self.images), np.nan)
        for fold in range(int(folds.max()) + 1):
            training = TrainingSet(
                base=self.images.take(np.flatnonzero(folds != fold)),
                added=None,
                policy=policy_of(policy, digits=config.deformation),
            )
            options = FitOptions(
                config=config.classifier.model_copy(
                    update={"steps": self.steps(number, num_trained=len(training.base))}
                ),
                added_shares=(0.0, 0.0),
                seed=child_seed(self.seed, "policy classifier", number, fold),
                compute=self.compute,
                on_progress=lambda _: None,
            )
            judged = self.images.take(np.flatnonzero(folds == fold))
            answers = fit_classifier(training, options).predict_probabilities(judged.images)
            right[folds == fold] = answers.argmax(1) == judged.labels
        return right

    def standard_error(self, differences: npt.NDArray[np.float64]) -> float:
        """Return the standard error of the mean of differences between two policies, (N,) with NaN where not judged.

        Images of a group count as one draw.
        """
        judged = np.isfinite(differences)
        residuals = differences[judged] - differences[judged].mean()
        groups = np.arange(len(residuals)) if self.groups is None else self.groups[judged]
        sums = np.bincount(np.unique(groups, return_inverse=True)[1], weights=residuals)
        count = len(sums)
        return math.sqrt(float((sums**2).sum()) * count / max(count - 1, 1)) / len(residuals)


def choose_policy(
    subset: LabelledImages, *, config: TrainingConfig, seed: int, compute: Compute, on_update: OnUpdate
) -> PolicyChoice:
    """Choose the policy of classical augmentation for a subset, or take the one that the configuration names."""
    if config.policy != "auto":
        return PolicyChoice(policy=config.policy, reason="set in the configuration")
    candidates = config.policy_choice.candidates or policy_candidates(subset)
    usual = usual_policy(subset)
    if usual not in candidates:
        usual = candidates[0]
    trial = _trial(subset, config=config, seed=seed, compute=compute)
    judged = int((trial.folds(0) >= 0).sum())
    if judged < LEAST_JUDGED:
        return PolicyChoice(
            policy=usual,
            reason=f"the usual one for such images; {judged} images that can be judged are too few to choose by "
            f"({LEAST_JUDGED} are needed, of classes with two or more)",
            judged=judged,
        )
    return _decided(trial, _raced(trial, candidates, usual=usual, on_update=on_update), usual=usual)


def check_own_policies(config: TrainingConfig, images: LabelledImages) -> None:
    """Apply the user's own policies once, before anything is trained, so that what is wrong with them shows at once.

    Raises:
        UsageError: one is not allowed, missing, no policy, fails, or makes something else than images.
    """
    some = images.images[:CHECKED_IMAGES]
    for name in config.own_policies:
        policy = policy_of(name, digits=config.deformation)
        if policy is not None:
            augmented(some, policy=policy, rng=torch_stream(0, "policy check"))


def _trial(subset: LabelledImages, *, config: TrainingConfig, seed: int, compute: Compute) -> Trial:
    images = subset
    if len(subset) > config.policy_choice.most_images:
        rng = numpy_stream(seed, "policy images")
        images = subset.take(np.sort(rng.choice(len(subset), config.policy_choice.most_images, replace=False)))
    return Trial(images=images, groups=undivided(images), config=config, seed=seed, compute=compute)


def _raced(trial: Trial, candidates: Sequence[str], *, usual: str, on_update: OnUpdate) -> Recognised:
    """Train all candidates, then the better half of them again, the usual one included."""
    found: Recognised = {name: [] for name in candidates}
    num_finalists = max(len(candidates) // 2, min(2, len(candidates)))
    num_trained, num_all, left = 0, len(candidates) + (ROUNDS - 1) * num_finalists, list(candidates)
    for number in range(ROUNDS):
        for name in left:
            on_update(num_trained / num_all, f"{name}, round {number + 1} of {ROUNDS}")
            found[name].append(trial.recognised(name, number))
            num_trained += 1
        left = sorted(left, key=lambda name: -last_accuracy(found[name]))[:num_finalists]
        if usual == STRONGEST and not any(_is_ahead(trial, found, name, usual=usual) for name in left):
            return found
        if usual not in left:  # it is what the other ones are held against
            left[-1] = usual
    return found


def _is_ahead(trial: Trial, found: Recognised, name: str, *, usual: str) -> bool:
    """Tell whether a policy leads the usual one by more than the standard error of their difference."""
    gain, error = _lead(trial, found, name, usual=usual)
    return gain > error


def _lead(trial: Trial, found: Recognised, name: str, *, usual: str) -> tuple[float, float]:
    """Return by how much a policy did better than the usual one in its last round, and the standard error of that."""
    differences = found[name][-1] - found[usual][-1]
    return float(np.nanmean(differences)), trial.standard_error(differences)


def last_accuracy(rounds: Sequence[npt.NDArray[np.float64]]) -> float:
    """Return the share of judged images that a candidate recognised in its last round."""
    return float(np.nanmean(rounds[-1]))


def _told(scores: Sequence[CandidateScore]) -> str:
    return ", ".join(f"{score.policy} {score.accuracy:.1%}" for score in scores)


def _decided(trial: Trial, found: Recognised, *, usual: str) -> PolicyChoice:
    """Apply the one-standard-error rule to the policies that came farthest."""
    num_rounds = max(len(rounds) for rounds in found.values())
    finalists = [name for name, rounds in found.items() if len(rounds) == num_rounds]
    scores = [
        CandidateScore(policy=name, accuracy=last_accuracy(rounds), rounds=len(rounds))
        for name, rounds in found.items()
    ]
    scores.sort(key=lambda score: (-score.rounds, -score.accuracy))
    told = _told([score for score in scores if score.rounds == num_rounds])
    if len(finalists) < len(found):
        told += f"; after a first, shorter round {_told([score for score in scores if score.rounds < num_rounds])}"
    best = max(finalists, key=lambda name: (last_accuracy(found[name]), name == usual))
    choice = PolicyChoice(
        policy=usual,
        reason="",
        judged=int((trial.folds(0) >= 0).sum()),
        candidates=tuple(scores),
    )
    where = f"in inner validation on the subset alone (accuracy {told})"
    if best == usual:
        return choice.model_copy(update={"reason": f"the usual one for such images, and none did better {where}"})
    gain, error = _lead(trial, found, best, usual=usual)
    points = f"{100 * gain:.1f} points (standard error {100 * error:.1f})"
    if gain <= norm.isf(norm.sf(1) / (len(found) - 1)) * error:
        reason = f"the usual one for such images, since {best} is not better beyond chance: {points} {where}"
        return choice.model_copy(update={"reason": reason})
    reason = f"better by {points} than {usual}, the usual one for such images, {where}"
    return choice.model_copy(update={"policy": best, "reason": reason})
