"""The class names of a published data set whose files cannot hold them: folders of images, IDX files."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from data.base.errors import AugmentError
from data.base.files import read_record
from data.base.limits import MAX_CLASSES
from data.base.names import check_class_name, folder_names, natural_key

PROVENANCE_FILE = "provenance.json"
_MAX_BYTES = 64 * 2**20


@dataclass(frozen=True, kw_only=True)
class PublishedClasses:
    """Classes in the order of their labels, and the folder that each has in a folder of images."""

    names: tuple[str, ...]
    folders: tuple[str, ...]

    def name_of(self, folder: str) -> str:
        """Return the class that a folder stands for: its own name where none is published for it."""
        return self.names[self.folders.index(folder)] if folder in self.folders else folder

    def with_others(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the names, then those of `names` that are not among them, in natural order."""
        return self.names + tuple(sorted(set(names) - set(self.names), key=natural_key))


def class_record(names: tuple[str, ...]) -> dict[str, list[str]]:
    """Return what provenance.json says of the classes."""
    return {"class_names": list(names), "class_folders": list(folder_names(names))}


def published_classes(directory: Path) -> PublishedClasses | None:
    """Read what `class_record` wrote; None where there is nothing of this form, as other programs' records are."""
    file = directory / PROVENANCE_FILE
    try:
        if not file.is_file() or file.stat().st_size > _MAX_BYTES:
            return None
        record = read_record(file)
        names, folders = record["class_names"], record["class_folders"]
        for texts in (names, folders):
            if not (isinstance(texts, list) and 0 < len(texts) == len(set(texts)) <= MAX_CLASSES):
                return None
        checked = tuple(check_class_name(name, where=str(file)) for name in names)
    except (AugmentError, OSError, KeyError, TypeError, AttributeError):
        return None
    return PublishedClasses(names=checked, folders=tuple(folders)) if len(folders) == len(checked) else None
