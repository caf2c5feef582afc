"""The errors that a person is meant to read: one line saying what is wrong and what to do."""

import unicodedata

_UNSHOWN = frozenset({"Cc", "Cs", "Zl", "Zp"})  # Unicode's control characters, halves of pairs, ends of lines


def one_line(text: str) -> str:
    """Return a text in which what would break or change a terminal's line is escaped, such as a file name's newline."""
    if text.isprintable():
        return text
    return "".join(
        character.encode("unicode_escape").decode() if unicodedata.category(character) in _UNSHOWN else character
        for character in text
    )


class AugmentError(Exception):
    """A failure with a message for the user; the command line prints it without a traceback and exits with 1."""

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        super().__init__(one_line(message))


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


def message_of(error: BaseException) -> str:
    """Return all that an error says, in one line; the name of its type where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__
