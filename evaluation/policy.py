"""The policy of classical augmentation that a cell chose, and the words for it."""

from collections import Counter
from collections.abc import Sequence

from pydantic import BaseModel


class CandidateScore(BaseModel, frozen=True, extra="forbid"):
    """How a candidate did in the inner validation.

    Attributes:
        accuracy: share of the judged images that its classifiers recognised in its last round.
        rounds: of folds that it was trained on; a candidate that went out early has fewer.
    """

    policy: str
    accuracy: float
    rounds: int


class PolicyChoice(BaseModel, frozen=True, extra="forbid"):
    """The policy of classical augmentation that a cell uses, and why.

    Attributes:
        reason: why, in words that follow "policy X: ".
        judged: images that the candidates were judged on.
        candidates: all that were tried, best first.
        source: SHA-256 of the policy's source where it is the user's own (`data.base.plugins`); else "".
    """

    policy: str
    reason: str
    judged: int = 0
    candidates: tuple[CandidateScore, ...] = ()
    source: str = ""


class PolicyUse(BaseModel, frozen=True, extra="forbid"):
    """The policies that the replicates of a regime chose.

    Attributes:
        chosen: policy to in how many replicates, most frequent first.
        reasons: of each replicate, in order, as `PolicyChoice.reason`.
        accuracies: candidate to its accuracy in the inner validation, the mean over the replicates that tried it.
    """

    chosen: dict[str, int]
    reasons: tuple[str, ...]
    accuracies: dict[str, float]

    @property
    def sentence(self) -> str:
        """Say which policy the classical augmentation was, and how it came about."""
        (first, *others), total = self.chosen, sum(self.chosen.values())
        if not others and len(set(self.reasons)) == 1:
            return f"the policy of classical augmentation is {first}, {self.reasons[0]}"
        names = (
            f"{first} in all" if not others else ", ".join(f"{name} in {count}" for name, count in self.chosen.items())
        )
        found = ", ".join(f"{name} {accuracy:.1%}" for name, accuracy in self.accuracies.items())
        return (
            f"the policy of classical augmentation is {names} of {total} replicates, chosen in each by inner "
            "validation on its subset alone" + (f" (mean accuracy there: {found})" if found else "")
        )


def policy_use(choices: Sequence[PolicyChoice]) -> PolicyUse | None:
    """Sum up the choices of a regime's replicates; None where there are none."""
    if not choices:
        return None
    tried: dict[str, list[float]] = {}
    for choice in choices:
        for score in choice.candidates:
            tried.setdefault(score.policy, []).append(score.accuracy)
    means = {name: sum(values) / len(values) for name, values in tried.items()}
    return PolicyUse(
        chosen=dict(Counter(choice.policy for choice in choices).most_common()),
        reasons=tuple(choice.reason for choice in choices),
        accuracies=dict(sorted(means.items(), key=lambda item: -item[1])),
    )
