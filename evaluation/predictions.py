"""Predictions on disk: whatever is reported can be computed again from them without training."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data.base.errors import CorruptFileError
from data.images import LabelledImages
from data.parquet import read_table, write_table


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """A classifier's answers on the test set.

    Attributes:
        rows: (N,) int64, row numbers in the test split.
        labels: (N,) int64, true classes.
        probabilities: (N, num_classes) float32.
        groups: (N,) int64, equal where images belong together; None where each stands by itself.
    """

    rows: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float32]
    groups: npt.NDArray[np.int64] | None = None

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """(N,) int64, the most probable class."""
        predicted: npt.NDArray[np.int64] = self.probabilities.argmax(1).astype(np.int64)
        return predicted


def predictions_on(test: LabelledImages, probabilities: npt.NDArray[np.float32]) -> Predictions:
    """Pair probabilities (N, num_classes) with the test images they belong to."""
    return Predictions(rows=test.rows, labels=test.labels, probabilities=probabilities, groups=test.groups)


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write columns row, label, predicted and probabilities, and group where images belong together."""
    flat = pa.array(predictions.probabilities.ravel(), pa.float32())
    columns = {
        "row": predictions.rows,
        "label": predictions.labels,
        "predicted": predictions.predicted,
        "probabilities": pa.FixedSizeListArray.from_arrays(flat, predictions.probabilities.shape[1]),
    }
    if predictions.groups is not None:
        columns["group"] = predictions.groups
    write_table(path, pa.table(columns))


def read_predictions(path: Path) -> Predictions:
    """Read what `write_predictions` wrote.

    Raises:
        CorruptFileError: missing, truncated, or not predictions.
    """
    table = read_table(path)
    try:
        probabilities = np.stack(table["probabilities"].to_numpy())
        return Predictions(
            rows=table["row"].to_numpy(),
            labels=table["label"].to_numpy(),
            probabilities=probabilities,
            groups=table["group"].to_numpy() if "group" in table.column_names else None,
        )
    except (KeyError, ValueError) as error:
        raise CorruptFileError(f"{path} does not hold predictions ({error}); delete it to make it again") from error
