"""Code of the user's own, named `package.module:attribute`: loaded only where the user named it, on this machine.

A configuration is text that travels: in run directories, reports, stores, servers. So naming code in one is not enough
for it to run. Whoever sits at the command line, or calls from Python, allows each name (`allow`), and `load_named`
refuses every other one. The names allowed live in the environment, which child processes inherit; to workers on other
machines they travel with their job (`allowance`, `accept`).

Modules are looked for as Python does, and then in the directory where the name was allowed first: where `augment` was
started.
"""

import ast
import hashlib
import importlib
import os
import platform
import re
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, reduce
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from data.base.errors import UsageError, first_line

ALLOWED = "AUGMENT_ALLOWED_CODE"
"""Environment variable: the names that may be loaded, separated by commas."""

DIRECTORY = "AUGMENT_CODE_DIRECTORY"
"""Environment variable: where modules are looked for after Python's own path."""

_NAME = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
REFERENCE = re.compile(f"{_NAME}:{_NAME}")


@dataclass(frozen=True)
class Allowance:
    """What the user allowed to be loaded, as a worker on another machine is told it.

    Attributes:
        references: names, each `package.module:attribute`.
        directory: where modules are looked for after Python's own path; "" for nowhere else.
    """

    references: tuple[str, ...]
    directory: str


def is_reference(text: str) -> bool:
    """Tell whether `text` has the form `package.module:attribute`."""
    return REFERENCE.fullmatch(text) is not None


def allow(reference: str) -> None:
    """Let this process and those that it starts load `reference`: for what the user typed, or wrote in a file given.

    Raises:
        UsageError: it has not the form `package.module:attribute`.
    """
    if not is_reference(reference):
        raise UsageError(f"{reference!r} names no code; write package.module:attribute, such as my_network:make")
    os.environ.setdefault(DIRECTORY, str(Path.cwd()))
    os.environ[ALLOWED] = ",".join(dict.fromkeys([*allowance().references, reference]))


def allowance() -> Allowance:
    """Return what may be loaded here."""
    references = tuple(name for name in os.environ.get(ALLOWED, "").split(",") if name)
    return Allowance(references=references, directory=os.environ.get(DIRECTORY, ""))


def accept(given: Allowance) -> None:
    """Let this worker load what the process that sent its job may load."""
    if given.directory:
        os.environ.setdefault(DIRECTORY, given.directory)
    for reference in given.references:
        allow(reference)


def load_named(reference: str, *, what: str) -> object:
    """Import a module and return what its attribute holds.

    Args:
        reference: `package.module:attribute`; the attribute may be dotted too.
        what: what it is to be, for the message of an error: "classifier".

    Raises:
        UsageError: nobody allowed it here, there is no such module or attribute, or the module fails.
    """
    if reference not in allowance().references:
        raise UsageError(
            f"the {what} is code named {reference}, which a configuration alone does not make run here; "
            f"read that code, and if you trust it add --allow {reference}"
        )
    module, _, attribute = reference.partition(":")
    directory = allowance().directory
    if directory and directory not in sys.path:
        sys.path.append(directory)
    importlib.invalidate_caches()
    try:
        found: object = importlib.import_module(module)
    except (Exception, SystemExit) as error:
        absent = error.name if isinstance(error, ModuleNotFoundError) else None
        if absent is not None and f"{module}.".startswith(f"{absent}."):
            where = f" and in {directory}" if directory else ""
            raise UsageError(
                f"the {what} {reference}: there is no module {absent} on Python's path{where}; start augment in the "
                "directory that holds it, or install it"
            ) from error
        raise UsageError(
            f"the {what} {reference}: importing {module} fails with {type(error).__name__}: {first_line(error)}"
        ) from error
    try:
        return reduce(getattr, attribute.split("."), found)
    except AttributeError as error:
        raise UsageError(
            f"the {what} {reference}: the module {module} ({getattr(found, '__file__', None) or 'without a file'}) "
            f"has no {attribute}"
        ) from error


@cache  # Python, too, reads a module once per process
def source_digest(reference: str) -> str:
    """Return the SHA-256 of the source that `reference` names; nothing is imported.

    That is every Python file of its top-level package, or its single file, and of the modules that these import from
    the same directory, unless it is one of installed packages.

    Raises:
        UsageError: there is no such module.
    """
    sha = hashlib.sha256()
    top = reference.partition(":")[0].partition(".")[0]
    seen: set[str] = set()
    waiting = [top]
    while waiting:
        name = waiting.pop(0)
        if name in seen:
            continue
        seen.add(name)
        spec = _spec_of(name)
        if spec is None:
            raise UsageError(f"{reference}: there is no module {name}; start augment in the directory that holds it")
        for path, file in _files_of(spec):
            content = file.read_bytes()
            sha.update(f"{name}\0{path}\0".encode() + content + b"\0")
            waiting += [other for other in _neighbours(content, file_of=spec) if other not in seen]
        if not spec.has_location and spec.submodule_search_locations is None:  # built into Python
            sha.update(f"{name}\0{platform.python_version()}\0".encode())
    return sha.hexdigest()


def _spec_of(top: str) -> ModuleSpec | None:
    loaded = getattr(sys.modules.get(top), "__spec__", None)
    if isinstance(loaded, ModuleSpec):
        return loaded
    directory = os.environ.get(DIRECTORY, "")
    importlib.invalidate_caches()
    return importlib.machinery.BuiltinImporter.find_spec(top) or PathFinder.find_spec(
        top, [*sys.path, *([directory] if directory else [])]
    )


def _files_of(spec: ModuleSpec) -> Iterator[tuple[str, Path]]:
    """Yield the files of a top-level package, sorted, or the single one of a module, each with its relative path."""
    if spec.submodule_search_locations is None:
        if spec.has_location and spec.origin is not None:
            yield Path(spec.origin).name, Path(spec.origin)
        return
    for folder in sorted(spec.submodule_search_locations):
        for file in sorted(Path(folder).rglob("*.py")):
            yield file.relative_to(folder).as_posix(), file


def _neighbours(source: bytes, *, file_of: ModuleSpec) -> list[str]:
    """Return the top-level modules that `source` imports from the directory that holds its own."""
    home = _home_of(file_of)
    if home is None or home in _installed():
        return []
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # loading it will tell
        return []
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.append(node.module)
    tops = dict.fromkeys(name.partition(".")[0] for name in names)
    return [top for top in tops if (spec := _spec_of(top)) is not None and _home_of(spec) == home]


def _home_of(spec: ModuleSpec) -> Path | None:
    if spec.submodule_search_locations is not None:
        return next((Path(folder).resolve().parent for folder in spec.submodule_search_locations), None)
    return Path(spec.origin).resolve().parent if spec.has_location and spec.origin is not None else None


@cache
def _installed() -> frozenset[Path]:
    return frozenset(
        Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib", "stdlib", "platstdlib")
    )
