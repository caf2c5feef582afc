"""Names from outside, made harmless for the places where they appear."""

import html
import re
import unicodedata
from collections.abc import Sequence

from data.base.errors import AugmentError
from data.base.limits import MAX_NAME_LENGTH

_FORBIDDEN_IN_FOLDERS = frozenset('/\\:*?"<>|')  # by Linux or Windows
_RESERVED_ON_WINDOWS = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
_MAX_FOLDER_BYTES = 200  # file systems take 255


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


def unified_name(name: str) -> str:
    """Return `name` as it is compared: composed (Unicode NFC), without spaces around it and with single ones inside."""
    return " ".join(unicodedata.normalize("NFC", name).split())


def name_like(wanted: str, names: Sequence[str]) -> str | None:
    """Return that one of `names`, or else the only one that differs in case and in spaces about it alone."""
    if wanted in names:
        return wanted
    alike = [name for name in names if name.strip().casefold() == wanted.strip().casefold()]
    return alike[0] if len(alike) == 1 else None


def natural_key(name: str) -> tuple[str | int, ...]:
    """Return the key that sorts names as people do: `2` before `10`, `image2.png` before `image10.png`."""
    return tuple(int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name))


def public_dataset_name(name: str) -> str:
    """Return a data set's name as it may be published: of `kind:path`, or of a path, only its last part."""
    kind, separator, path = name.partition(":")
    parts = [part for part in re.split(r"[/\\]", path or name) if part not in ("", ".", "..", "~")]
    return f"{kind}{separator}{parts[-1] if parts else 'data'}" if separator else (parts or ["data"])[-1]


def safe_file_name(text: str) -> str:
    """Return `text` as one harmless part of a path: letters, digits, `.`, `_` and `-`, at most 64 of them."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")[:64] or "unnamed"


def folder_names(class_names: tuple[str, ...]) -> tuple[str, ...]:
    """Return a folder name for each class: its own where a folder can have it, else a numbered one.

    A name is not a folder's where it holds a separator, could be hidden or reserved, or differs from an earlier
    one's in case or composition only, which some file systems take for the same.
    """
    taken: set[str] = set()
    folders = []
    for label, name in enumerate(class_names):
        folder = name
        if not _can_be_a_folder(name) or _folded(name) in taken:
            folder = f"{label:03d}-{safe_file_name(name)}"
            while _folded(folder) in taken or folder in class_names:
                folder += "_"
        taken.add(_folded(folder))
        folders.append(folder)
    return tuple(folders)


def _can_be_a_folder(name: str) -> bool:
    return (
        name == unified_name(name)
        and name.isprintable()
        and not _FORBIDDEN_IN_FOLDERS & set(name)
        and not name.startswith((".", "-", "~", "__"))
        and not name.endswith(".")
        and len(name.encode()) <= _MAX_FOLDER_BYTES
        and _RESERVED_ON_WINDOWS.fullmatch(name) is None
    )


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def markdown_text(text: str) -> str:
    """Return `text` as one line of Markdown that shows it literally and holds no HTML."""
    line = " ".join(text.split())
    return re.sub(r"([\\`*_{}\[\]()#+!|~-])", r"\\\1", html.escape(line, quote=False))
