"""scikit-learn's bundled digits: always there, so that everything can be tried without a download."""

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from data.images import LabelledImages
from data.sources.source import Source


def load_sklearn_digits() -> Source:
    """Load scikit-learn's bundled 8x8 digits: 1,797 images, three tenths held out for testing, always the same ones."""
    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None]  # (1797, 1, 8, 8)
    labels = bunch.target.astype(np.int64)
    train_rows, test_rows = train_test_split(np.arange(len(labels)), test_size=0.3, stratify=labels, random_state=0)

    def split(rows: npt.NDArray[np.int64]) -> LabelledImages:
        rows = np.sort(rows).astype(np.int64)
        names = tuple(str(name) for name in bunch.target_names)
        return LabelledImages(images=images[rows], labels=labels[rows], rows=rows, class_names=names)

    return Source(name="digits", train=split(train_rows), test=split(test_rows), held_out=True)
