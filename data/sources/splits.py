"""Which part of a data set is for training and which for testing: by words in names, and as configured."""

import glob
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Generic, Literal, TypeVar
from urllib.parse import unquote

from data.base.errors import CorruptFileError, UsageError, first_line
from data.base.files import given_path
from data.base.names import natural_key
from data.config import DataConfig
from data.sources.advice import suggestion

Split = Literal["train", "validation", "test"]
Part = TypeVar("Part")

_WORDS: Mapping[str, Split] = {
    "train": "train", "training": "train", "trn": "train", "trainval": "train",
    "test": "test", "testing": "test", "tst": "test", "holdout": "test",
    "val": "validation", "valid": "validation", "validation": "validation", "validate": "validation",
    "dev": "validation", "eval": "validation", "evaluation": "validation",
}  # fmt: skip
_WHAT_OF = re.compile(r"(?:set|data|images?|imgs?|split|files|labels)$")  # at the end of a word: trainset, testimages
_MNIST_TEST = re.compile(r"(?<![a-z0-9])t10k(?![a-z0-9])")
_SHOWN = 3


def words_of(name: str) -> list[str]:
    """Return the words in a name, in small letters: `trainImages_01` holds train and images."""
    return re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())


def split_named(name: str) -> Split | None:
    """Return the split that a file or folder is named for: by the words in it, in any case; None where they differ."""
    words = (word if word in _WORDS else _WHAT_OF.sub("", word) for word in words_of(name))
    found = {_WORDS[word] for word in words if word in _WORDS}
    if _MNIST_TEST.search(name.lower()):
        found.add("test")
    if found == {"train", "validation"}:  # such as train_val: all that there is to learn from
        return "train"
    return found.pop() if len(found) == 1 else None


def nearest_split(parts: Sequence[str]) -> Split | None:
    """Return the split of a file by its path's parts: its own name counts first, then the nearest folder's."""
    return next((split for part in reversed(parts) if (split := split_named(part)) is not None), None)


@dataclass(frozen=True, kw_only=True)
class Roles(Generic[Part]):
    """What is trained on and what is tested on.

    Attributes:
        test: None where a share of `train` is to be held out.
        layout: which part went where.
        facts: what the reader of a report must know of the choice.
    """

    train: tuple[Part, ...]
    test: tuple[Part, ...] | None
    layout: tuple[str, ...]
    facts: tuple[str, ...]


def assign_roles(
    parts: Mapping[Split, Sequence[Part]],
    config: DataConfig,
    *,
    where: str,
    describe: Callable[[Sequence[Part]], str],
    named_test: Sequence[Part] | None = None,
) -> Roles[Part]:
    """Give each split its role, as `data.test`, `data.test_split` and `data.validation` say.

    Args:
        describe: returns a short text for parts.
        named_test: what `data.test` names.

    Raises:
        UsageError: there is nothing to train on.
    """
    facts: list[str] = []
    train = list(parts.get("train", ()))
    test = list(parts.get("test", ())) or None
    validation = list(parts.get("validation", ()))
    if test is not None and config.test_split == "ignore":
        facts.append(f"the test split ({describe(test)}) is left out, as data.test_split=ignore asks")
        test = None
    if named_test is not None:
        if test is not None:
            facts.append(f"the test split ({describe(test)}) is left out: data.test names other test images")
        test = list(named_test)
    layout = [f"train: {describe(train)}"] if train else []
    if validation and config.validation == "train":
        facts.append(f"the validation split ({describe(validation)}) is trained on, as data.validation=train asks")
        train += validation
    elif validation and config.validation == "test-if-missing" and test is None:
        facts.append(f"there is no test split, so the validation split ({describe(validation)}) is tested on")
        test = validation
    elif validation:
        facts.append(f"the validation split ({describe(validation)}) is left out (data.validation=train trains on it)")
    if not train:
        found = ", ".join(f"{split}: {describe(of_split)}" for split, of_split in parts.items() if of_split)
        trained = ", or train on it with --set data.validation=train" if validation else ""
        raise UsageError(
            f"{where} has nothing to train on ({found}); give one part of it a name with the word train{trained}"
        )
    if test is not None:
        layout.append(f"test: {describe(test)}")
    tested = None if test is None else tuple(test)
    return Roles(train=tuple(train), test=tested, layout=tuple(layout), facts=tuple(facts))


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The files of a data set by split, all below `root`."""

    root: Path
    splits: Mapping[Split, tuple[Path, ...]]
    facts: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class FileKind:
    """What files a kind of data set has.

    Attributes:
        kind: as it is written before the colon.
        suffixes: of file names, in small letters.
        takes: what the kind takes, for the messages.
        ignored_prefixes: of files that are something else.
    """

    kind: str
    suffixes: tuple[str, ...]
    takes: str
    ignored_prefixes: tuple[str, ...] = ()


def assign_files(path: Path, config: DataConfig, *, of: FileKind) -> Roles[Path]:
    """Find the files of a data set and give them their roles.

    Raises:
        UsageError: there are none, or they are of several data sets.
    """
    listing = list_files(path, of=of)
    named_test: tuple[Path, ...] | None = None
    splits = dict(listing.splits)
    if config.test:
        other = list_files(given_path(config.test), of=of).splits
        named_test = other.get("test") or tuple(file for files in other.values() for file in files)
        taken = {file.resolve() for file in named_test}
        splits = {split: tuple(one for one in files if one.resolve() not in taken) for split, files in splits.items()}
    roles = assign_roles(
        splits, config, where=str(path), describe=partial(described, root=listing.root), named_test=named_test
    )
    return replace(roles, facts=(*listing.facts, *roles.facts))


def list_files(path: Path, *, of: FileKind) -> Listing:
    """List the files at `path`, a file, a folder (with folders below for splits or columns=values) or a pattern.

    Raises:
        UsageError: there are none, or they are of several data sets.
        CorruptFileError: a folder cannot be listed.
    """
    if path.is_file():
        if not path.name.lower().endswith(of.suffixes) and suggestion(path, kind=of.kind):
            raise UsageError(f"{path} is not what {of.kind}:PATH takes; {suggestion(path, kind=of.kind)}")
        return Listing(root=path.parent, splits={"train": (path,)})
    if path.is_dir():
        root = path
        files = [file for file in _below(path, of.suffixes) if not file.name.startswith(of.ignored_prefixes)]
        if not files:
            kinds = " or ".join(f"*{suffix}" for suffix in of.suffixes)
            raise UsageError(f"{path} holds no {kinds} file; {suggestion(path, kind=of.kind) or of.takes}")
    else:
        root = _fixed_part(path)
        try:
            found = sorted(root.glob(str(path.relative_to(root))), key=_natural) if root != path else []
            files = [file for file in found if file.is_file()]
        except (OSError, ValueError, NotImplementedError) as error:
            raise UsageError(f"cannot look for {path}: {first_line(error)}; {of.takes}") from error
        if not files:
            raise UsageError(f"{path} does not exist; {of.takes}")
    return _by_split(root, files)


def described(files: Sequence[Path], *, root: Path) -> str:
    """Return a few files' paths below `root`, and how many there are."""
    names = [file.relative_to(root).as_posix() if file.is_relative_to(root) else file.name for file in files]
    more = f", … ({len(names):,} files)" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def partition_values(file: Path) -> dict[str, str]:
    """Return the columns that the folders above a file stand for, as Hive names them: `label=cat/part-0.parquet`."""
    pairs = (folder.partition("=") for folder in file.parts[:-1] if "=" in folder)
    return {name: unquote(value) for name, _, value in pairs}


def _below(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """List the files below a folder, in natural order; a folder that links lead to twice is entered once."""
    files: list[Path] = []
    pending, entered = [folder], set[Path]()
    while pending:
        one = pending.pop()
        try:
            if (resolved := one.resolve()) in entered:
                continue
            entered.add(resolved)
            for entry in one.iterdir():
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    pending.append(entry)
                elif entry.name.lower().endswith(suffixes):
                    if entry.is_symlink() and not entry.exists():
                        raise CorruptFileError(f"{entry} is a link that leads nowhere; restore its file or remove it")
                    files.append(entry)
        except OSError as error:
            raise CorruptFileError(f"cannot list {one}: {error.strerror or error}") from error
    return sorted(files, key=_natural)


def _by_split(root: Path, files: Sequence[Path]) -> Listing:
    """Sort files of one data set into splits. Of several configurations in folders, only one may be there."""
    facts: list[str] = []
    of_configuration: dict[str, list[Path]] = {}
    for file in files:
        folders = file.relative_to(root).parts[:-1]
        others = [one for one in folders if one != "data" and "=" not in one and split_named(one) is None]
        of_configuration.setdefault("/".join(others), []).append(file)
    chosen = of_configuration.pop("", None)
    if chosen is None:
        if len(of_configuration) > 1:
            names = ", ".join(sorted(of_configuration, key=natural_key)[:5])
            raise UsageError(f"{root} holds several data sets ({names}); name one of these folders")
        chosen = of_configuration.popitem()[1]
    in_data = [file for file in chosen if "data" in file.relative_to(root).parts[:-1]]
    if 0 < len(in_data) < len(chosen):
        facts.append(f"{len(chosen) - len(in_data):,} files beside data/ were left out")
        chosen = in_data
    for name, left in of_configuration.items():
        facts.append(f"{len(left):,} files in {name}/ were left out: they lie beside the data set")
    splits: dict[Split | None, list[Path]] = {}
    for file in chosen:
        splits.setdefault(nearest_split(file.relative_to(root).parts), []).append(file)
    unnamed = splits.pop(None, [])
    if unnamed and "train" in splits:
        facts.append(f"left out, as the names say no split: {described(unnamed, root=root)}")
    elif unnamed:
        splits["train"] = unnamed
    named: dict[Split, tuple[Path, ...]] = {split: tuple(of) for split, of in splits.items() if split is not None}
    return Listing(root=root, splits=named, facts=tuple(facts))


def _fixed_part(pattern: Path) -> Path:
    """Return the folder above the first part of a path that is a pattern; the path itself where none is.

    A folder that is there, such as `scans [2024]`, is no pattern.
    """
    fixed = Path(*takewhile(lambda part: not glob.has_magic(part), pattern.parts))
    for part in pattern.relative_to(fixed).parts:
        if not (fixed / part).is_dir():
            break
        fixed /= part
    return fixed


def _natural(path: Path) -> tuple[tuple[str | int, ...], ...]:
    return tuple(natural_key(part) for part in path.parts)
