"""The errors that a person is meant to read: one line saying what is wrong and what to do."""


class AugmentError(Exception):
    """A failure with a message for the user; the command line prints it without a traceback and exits with 1."""

    exit_code = 1


class UsageError(AugmentError):
    """A request that cannot be carried out as asked (wrong option, unknown name); exit code 2."""

    exit_code = 2


class CorruptFileError(AugmentError):
    """A file that is truncated, altered or not what its name says."""


class SourceUnavailableError(AugmentError):
    """A data source with neither a local copy nor a network to fetch one from."""


class RegressionError(AugmentError):
    """A later run is measurably worse than the first, and the user asked to fail on that; exit code 3."""

    exit_code = 3


def first_line(error: BaseException) -> str:
    """Return the first line of what a library's error says; `unknown` where it says nothing."""
    return (str(error).splitlines() or ["unknown"])[0]
