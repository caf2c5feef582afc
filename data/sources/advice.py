"""What a person may have meant: the kind of data set that lies at a path."""

from itertools import islice
from pathlib import Path

from data.base.errors import first_line
from data.decoding import is_git_lfs_pointer

_SUFFIXES = {
    ".parquet": "parquet", ".pq": "parquet", ".arrow": "arrow", ".npz": "npz", ".csv": "csv", ".tsv": "csv",
    ".csv.gz": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".jsonl.gz": "jsonl",
    ".ndjson.gz": "jsonl", "-ubyte": "idx", "-ubyte.gz": "idx",
}  # fmt: skip
_PACKED = (".zip", ".tar", ".tar.gz", ".tgz", ".rar", ".7z")
_LOOKED_AT = 1000  # entries of a folder


def kind_of_file(path: Path) -> str:
    """Return the kind that a file's name stands for, or ""."""
    name = path.name.lower()
    return next((kind for suffix, kind in _SUFFIXES.items() if name.endswith(suffix)), "")


def likely_dataset(path: Path, *, kind: str = "") -> str:
    """Return the `KIND:PATH` of another kind than `kind` that a path looks like, or ""."""
    if path.is_file():
        other = kind_of_file(path)
        return f"{other}:{path}" if other not in ("", kind) else ""
    if not path.is_dir():
        return ""
    try:
        entries = list(islice(path.iterdir(), _LOOKED_AT))
        below = [entry for one in entries if one.is_dir() for entry in islice(one.iterdir(), _LOOKED_AT)]
    except OSError:
        return ""
    if any(entry.name in ("dataset_dict.json", "state.json") for entry in entries) and kind != "arrow":
        return f"arrow:{path}"
    for entry in (*entries, *below):
        other = kind_of_file(entry)
        if other == "jsonl" and not _is_metadata(entry):
            continue  # such as a log
        if other not in ("", kind):
            only = entry if entry.parent == path and other == "npz" else path
            return f"{other}:{only}"
    has_folders = any(entry.is_dir() for entry in entries)
    return f"folder:{path}" if has_folders and kind != "folder" and _packed_in(path) is None else ""


def _is_metadata(file: Path) -> bool:
    """Tell whether a file is what Hugging Face's image folders have beside the images, and no folder of each class."""
    folders = (entry for entry in islice(file.parent.iterdir(), _LOOKED_AT) if entry.is_dir())
    return file.name == "metadata.jsonl" and len(list(islice(folders, 2))) < 2


def suggestion(path: Path, *, kind: str) -> str:
    """Return what to do where `path` is not of `kind`: "" where nothing better is seen."""
    if path.is_file() and path.name.lower().endswith(_PACKED):
        return f"unpack {path.name} first"
    likely = likely_dataset(path, kind=kind)
    if likely:
        return f"write {likely}" + (" if each class has a folder of its own" if likely.startswith("folder:") else "")
    packed = _packed_in(path) if path.is_dir() else None
    return f"unpack {packed.name} first" if packed is not None else ""


def _packed_in(folder: Path) -> Path | None:
    try:
        entries = list(islice(folder.iterdir(), _LOOKED_AT))
    except OSError:
        return None
    return next((entry for entry in entries if entry.name.lower().endswith(_PACKED)), None)


def damage(path: Path) -> str:
    """Return why a file may not be what it should be, for the message: Git LFS, emptiness, or an unknown cause."""
    try:
        with open(path, "rb") as stream:
            start = stream.read(64)
    except OSError as error:
        return f"it cannot be read: {error.strerror or error}"
    if is_git_lfs_pointer(start):
        return "a Git LFS pointer lies in its place; fetch it with `git lfs pull`"
    return "it is empty (0 bytes); restore it from a copy" if not start else ""


def why_unreadable(path: Path, error: BaseException) -> str:
    """Return why a library could not read a file: the visible damage of the file, else what `error` says."""
    return damage(path) or f"{first_line(error)}; restore it from a copy"
