"""Which code a stage runs: the modules that its function imports, directly or through others, and their libraries.

A stage is made again when one of these changes, and not when another one does: a chart's colour retrains nothing.
"""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PARSINGS = 10
ROOMS = ("data", "gan", "evaluation", "flows")
LIBRARIES = {  # those that compute: import name to distribution
    "numpy": "numpy",
    "PIL": "pillow",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "torch": "torch",
    "torchvision": "torchvision",
}


@cache
def imported_modules(module: str) -> tuple[str, ...]:
    """Return `module` and every module of this project that it imports, directly or through others, sorted.

    The imports are read from the source: those inside functions count, those for type checkers alone do not.
    """
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [other for other in _imports(name) if other.split(".")[0] in ROOMS and _file_of(other)]
    return tuple(sorted(found))


@cache
def code_digest(module: str) -> str:
    """Return the SHA-256 of the sources of `module` and of all that it imports from this project."""
    sha = hashlib.sha256()
    for name in imported_modules(module):
        file = _file_of(name)
        if file is not None:
            sha.update(f"{name}\0".encode() + file.read_bytes() + b"\0")
    return sha.hexdigest()


@cache
def library_versions(module: str) -> dict[str, str]:
    """Return the versions of the computing libraries that `module` imports, directly or through others."""
    used = {other.split(".")[0] for name in imported_modules(module) for other in _imports(name)}
    return {LIBRARIES[name]: metadata.version(LIBRARIES[name]) for name in sorted(used & LIBRARIES.keys())}


@cache
def _imports(module: str) -> tuple[str, ...]:
    file = _file_of(module)
    if file is None:
        return ()
    names: list[str] = [".".join(module.split(".")[:depth]) for depth in range(1, module.count(".") + 1)]  # packages
    for node in _run_time_nodes(_parsed(file)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.append(node.module)
            names += [f"{node.module}.{alias.name}" for alias in node.names]  # where it is a module
    return tuple(dict.fromkeys(names))


def _parsed(file: Path) -> ast.AST:
    """Parse a file, once more where another thread of the process was parsing too.

    Python 3.11 counts the depth of a tree once for all threads, and gives up where the count does not come out
    (github.com/python/cpython/issues/106905).
    """
    source = file.read_text(encoding="utf-8")
    for _ in range(PARSINGS - 1):
        try:
            return ast.parse(source)
        except SystemError:
            continue
    return ast.parse(source)


def _run_time_nodes(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        for_type_checkers = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
        if not for_type_checkers:
            yield from _run_time_nodes(child)


def _file_of(module: str) -> Path | None:
    path = ROOT.joinpath(*module.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)
