"""Names from outside, made harmless for the places where they appear."""

import html
import re
import unicodedata

from data.base.errors import AugmentError
from data.base.limits import MAX_NAME_LENGTH

_PLAIN_FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}(?<![ .])")


def check_class_name(name: str, *, where: str) -> str:
    """Return `name` if it can stand in tables and reports; HTML and path characters are left to whoever prints it.

    Raises:
        AugmentError: empty, too long, or with control characters such as a newline.
    """
    if not name.strip():
        raise AugmentError(f"{where}: a class name is empty; give every class a name")
    if len(name) > MAX_NAME_LENGTH:
        raise AugmentError(
            f"{where}: class name {name[:20]!r}... is longer than {MAX_NAME_LENGTH} characters; shorten it"
        )
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in name):
        raise AugmentError(f"{where}: class name {name!r} holds a control character; rename the class")
    return name


def safe_file_name(text: str) -> str:
    """Return `text` as one harmless part of a path: letters, digits, `.`, `_` and `-`, at most 64 of them."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")[:64] or "unnamed"


def folder_names(class_names: tuple[str, ...]) -> tuple[str, ...]:
    """Return a folder name for each class: the class names where all are plain and distinct, else numbered ones."""
    distinct = len({name.casefold() for name in class_names}) == len(class_names)
    if distinct and all(_PLAIN_FOLDER.fullmatch(name) for name in class_names):
        return class_names
    return tuple(f"{label:03d}-{safe_file_name(name)}" for label, name in enumerate(class_names))


def markdown_text(text: str) -> str:
    """Return `text` as one line of Markdown that shows it literally and holds no HTML."""
    line = " ".join(text.split())
    return re.sub(r"([\\`*_{}\[\]()#+!|~-])", r"\\\1", html.escape(line, quote=False))
