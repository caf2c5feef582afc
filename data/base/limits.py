"""What is accepted from outside: sizes are checked against these before anything is decoded or allocated."""

from data.base.errors import AugmentError, UsageError

MIN_SIDE, MAX_SIDE = 8, 64  # pixels of an image as the networks see it; sides are multiples of SIDE_STEP
SIDE_STEP = 4
MIN_CLASSES, MAX_CLASSES = 2, 1000
MAX_IMAGES = 2_000_000
MAX_IMAGE_PIXELS = 4096 * 4096  # of one image before it is resized
MAX_ENCODED_BYTES = 64 * 2**20  # of one image file or Parquet value
MAX_DECODED_BYTES = 4 * 2**30  # of all images together, after resizing
MAX_NAME_LENGTH = 200
GREATEST_SEED = 2**63 - 1  # what tables, JSON and databases hold


class LimitError(AugmentError):
    """More data than is accepted; the message names the limit."""


def check_limit(value: int, limit: int, *, what: str, advice: str = "give a smaller data set") -> None:
    """Refuse `value` above `limit`.

    Args:
        what: the file and the quantity, such as "x.parquet: number of rows".
        advice: what a person can do about it.

    Raises:
        LimitError: value exceeds the limit.
    """
    if value > limit:
        raise LimitError(f"{what} is {value:,}, the limit is {limit:,}; {advice}")


def check_seed(seed: int) -> None:
    """Refuse a root seed that cannot be recorded.

    Raises:
        UsageError: it is negative, or above `GREATEST_SEED`.
    """
    if not 0 <= seed <= GREATEST_SEED:
        raise UsageError(f"seed is {seed}; give one from 0 to {GREATEST_SEED}")
