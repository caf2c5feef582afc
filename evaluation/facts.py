"""What a study and its cells leave behind for the report: which data, which design, what was measured, what it cost."""

from typing import Any, Literal

from pydantic import BaseModel

from evaluation.arms import ArmName
from evaluation.policy import PolicyChoice
from evaluation.samples import SampleEvaluation
from evaluation.stopping import Look, look_at


class DesignFacts(BaseModel, frozen=True, extra="forbid"):
    """How the replicates of a regime come about.

    Attributes:
        sentence: what was repeated, and what the answer is about.
        folds: K; 1 where there are none.
        num_subset: images of one subset.
        num_pool: images that one subset is drawn from.
        drawn_share: the share of the pool that one draw takes, or of the data set that a fold's training takes.
        num_test: images that each replicate, or each repeat of folds, is tested on.
        num_beside: images of the test split that the user gave, where folds are tested; else 0.
    """

    name: Literal["fresh draws", "one data set", "given test"]
    sentence: str
    folds: int
    num_subset: int
    num_pool: int
    drawn_share: float
    num_test: int
    num_beside: int

    @property
    def shared(self) -> float:
        """The variance that more replicates do not take off a figure's mean, over the variance between them.

        Folds are of one data set, and have training images in common where there are more than two: 1 / (K - 1), test
        over training images where all other folds are trained on (Nadeau & Bengio 2003, Machine Learning 52, 239-281,
        section 3). Draws from a pool are independent, seen from this pool: 0.
        """
        return 1 / (self.folds - 1) if self.folds > 1 else 0.0


class DatasetFacts(BaseModel, frozen=True, extra="forbid"):
    """Which images the study is about; `warning` says what a reader must know about how they were chosen.

    Attributes:
        unlabelled_digest: of the images without labels that were given beside; "" where none were.
        designs: name of each regime to its design.
    """

    name: str
    warning: str
    num_train: int
    num_test: int
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    train_digest: str
    test_digest: str
    unlabelled_digest: str = ""
    designs: dict[str, DesignFacts]


class CellFacts(BaseModel, frozen=True, extra="forbid"):
    """What one cell was made of and what it measured; digests are SHA-256 of its files.

    Attributes:
        predictions: digest of each training's predictions, by arm and seed.
        metrics: of each arm, the mean over its seeds.
        samples: what was measured on the synthetic images themselves; None where it was not.
        policy: of classical augmentation; None in runs of versions that had one policy only.
        tail: labels of the rarest third of the subset's classes; none where they have as many images.
        class_counts: images of each class in the subset.
        resolved: what was decided where the configuration says "auto", by dotted key.
        named_code: digests of code of the user's own that its stages ran, by name.
    """

    regime: str
    replicate: int
    subset: str
    generator: str
    predictions: dict[str, str]
    metrics: dict[ArmName, dict[str, float]]
    samples: SampleEvaluation | None = None
    policy: PolicyChoice | None = None
    tail: tuple[int, ...] = ()
    class_counts: tuple[int, ...] = ()
    resolved: dict[str, Any] = {}
    named_code: dict[str, str] = {}


class StageTiming(BaseModel, frozen=True, extra="forbid"):
    """What a stage cost.

    Attributes:
        title: what people read.
        elapsed_seconds: wall-clock time.
        peak_memory_bytes: the most that its process held while it ran; None where not measured.
        images: how many images it trained on or drew; None where that says nothing.
    """

    title: str
    elapsed_seconds: float
    peak_memory_bytes: int | None = None
    images: int | None = None


class TakenLook(BaseModel, frozen=True, extra="forbid"):
    """A report that a study made of itself (see `evaluation.stopping`).

    Attributes:
        look: how many replicates it took in, and what it could spend.
        intervals: the headline's in each regime, for all looks up to this one.
        decided: the regimes that these intervals decided, which need no more replicates.
    """

    look: Look
    intervals: dict[str, tuple[float, float]]
    decided: tuple[str, ...]


class Looks(BaseModel, frozen=True, extra="forbid"):
    """All looks at a study so far, oldest first."""

    taken: tuple[TakenLook, ...] = ()

    @property
    def replicates(self) -> int:
        """How many replicates the last look took in; 0 where there was none."""
        return self.taken[-1].look.replicates if self.taken else 0

    def before(self, replicates: int) -> tuple[TakenLook, ...]:
        """Return the looks at fewer replicates."""
        return tuple(taken for taken in self.taken if taken.look.replicates < replicates)

    def at(self, replicates: int, *, final: bool) -> Look:
        """Return the look at so many replicates: the one that was taken, or a new one.

        Args:
            final: whether a new one ends what was asked for, whatever it shows.
        """
        known = next((taken.look for taken in self.taken if taken.look.replicates == replicates), None)
        return known or look_at(replicates, earlier=[taken.look for taken in self.before(replicates)], final=final)

    def replicates_of(self, regime: str, *, wanted: int) -> int:
        """Return how many replicates a regime gets: no more than decided it."""
        return next((taken.look.replicates for taken in self.taken if regime in taken.decided), wanted)
