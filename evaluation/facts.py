"""What a cell leaves behind for the report: which data, what was measured, what it cost."""

from pydantic import BaseModel

from evaluation.arms import ArmName
from evaluation.samples import SampleEvaluation
from evaluation.statistics import McNemar


class DatasetFacts(BaseModel, frozen=True, extra="forbid"):
    """Which images the study is about; `warning` says what a reader must know about how they were chosen."""

    name: str
    warning: str
    num_train: int
    num_test: int
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    train_digest: str
    test_digest: str


class CellFacts(BaseModel, frozen=True, extra="forbid"):
    """What one cell was made of and what it measured (`metrics[arm][metric]`); digests are SHA-256 of its files.

    Attributes:
        samples: what was measured on the synthetic images themselves; None where it was not.
        headline: the reference arm (first) and the headline arm (second) image by image.
        tail: labels of the rarest third of the subset's classes; none where they have as many images.
    """

    regime: str
    replicate: int
    subset: str
    generator: str
    predictions: dict[ArmName, str]
    metrics: dict[ArmName, dict[str, float]]
    samples: SampleEvaluation | None = None
    headline: McNemar | None = None
    tail: tuple[int, ...] = ()


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
