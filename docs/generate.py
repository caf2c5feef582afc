"""What the site of docs/ takes from the code: the reference, the structure and the results.

A hook of MkDocs (mkdocs.yml): `on_files` adds whole pages, `on_page_markdown` fills in `<!-- generated: NAME -->`.
Nothing generated is committed, so that nothing can be out of date.
"""

import ast
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import grimp
import typer
import typer.cli
from pydantic import BaseModel

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # MkDocs loads this file by its path

from docs.notebook import notebook_page  # noqa: E402
from evaluation.reporting.report import flatten_config  # noqa: E402
from flows import cli  # noqa: E402
from flows.study.config import RunnerConfig, StudyConfig, preset  # noqa: E402

PACKAGES = ("data", "gan", "evaluation", "flows")
ROOMS = {
    "data.base": "device, randomness, files, errors, CUDA graphs: what every room uses",
    "data": "labelled images, sources, designs and regimes, classical augmentation, Parquet, publishing",
    "gan": "networks, losses, training, checkpoint, sampling, export",
    "evaluation.reporting": "presenting: report, comparison, history, pages, charts",
    "evaluation": "measuring: arms, classifiers, intervals, verdicts, fidelity, memorisation, checks, audit",
    "flows.study": "a study without Prefect: configuration, run directory, store, stages and their engine",
    "flows": "Prefect's flows and tasks, schedule, server, runners, and the command line",
}
BOX_WIDTH, BOX_HEIGHT, COLUMN, ROW = 220, 58, 290, 104


# --- reference ---


def commands_page() -> str:
    """Return the reference of the command line, as Typer writes it from the code."""
    group = typer.main.get_command(cli.app)
    lines = ["# Commands", "", cli.QUESTION, ""]
    lines += [
        "A failure is one line on standard error. Exit codes: 0 done, 1 failed, 2 asked wrongly, 3 worse than the"
    ]
    lines += ["base of a comparison (`augment compare --fail-on-regression`), 130 interrupted.", ""]
    lines += ["| command | does |", "|---|---|"]
    lines += [f"| [`augment {name}`](#augment-{name}) | {command.line} |" for name, command in cli.COMMANDS.items()]
    with group.make_context("augment", [], resilient_parsing=True) as context:
        for command in cli.COMMANDS.values():
            text = typer.cli.get_docs_for_click(
                obj=command.load(), ctx=context, indent=1, name=command.name, call_prefix="augment"
            )
            kept = [line for line in text.splitlines() if not line.startswith(("* `--install-", "* `--show-"))]
            lines += ["", *kept]
    return "\n".join(lines)


def configuration_page() -> str:
    """Return the reference of the configuration: every key with its values, its default and what it is for."""
    lines = [
        "# Configuration",
        "",
        "Every key below goes into a TOML file (`augment run study.toml`) or after `--set`",
        "(`--set gan.learning_rate=2e-4`). Precedence: preset, then file, then options, then `--set`. The whole is",
        "checked before anything starts, and saved in the run as `config.toml`. What is `auto` is decided where the",
        "data are known; the run keeps what was decided.",
        "",
    ]
    for prefix, model in _tables(StudyConfig):
        lines += _table_of(prefix, model)
    lines += _table_of("runner", RunnerConfig, note="Where the cells run. It changes no result, so no run saves it.")
    lines += ["## Presets", "", "What differs between them; `quick` has the default of every key.", ""]
    quick, standard, full = (
        flatten_config(preset(name).model_dump(mode="json")) for name in ("quick", "standard", "full")
    )
    lines += ["| key | `quick` | `standard` | `full` |", "|---|---|---|---|"]
    lines += [
        f"| `{key}` | {quick[key]} | {standard[key]} | {full[key]} |"
        for key in quick
        if not quick[key] == standard[key] == full[key]
    ]
    return "\n".join(lines) + "\n"


def _tables(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    yield prefix, model
    for name, field in model.model_fields.items():
        if _is_table(field.annotation):
            yield from _tables(field.annotation, f"{prefix}.{name}".strip("."))


def _is_table(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _table_of(prefix: str, model: type[BaseModel], note: str = "") -> list[str]:
    schema = model.model_json_schema()
    rows = []
    for name, field in model.model_fields.items():
        if _is_table(field.annotation):
            continue
        default = field.get_default(call_default_factory=True)
        shown = ", ".join(map(str, default)) if isinstance(default, tuple) else str(default)
        described = field.description or ""
        rows.append(
            f"| `{f'{prefix}.{name}'.strip('.')}` | {_values(schema['properties'][name])} | "
            f"{_cell(shown) or 'none'} | {_cell(described)} |"
        )
    about = (model.__doc__ or "").strip().splitlines()[0]
    title = f"`[{prefix}]`" if prefix else "The study"
    return [
        f"## {title}",
        "",
        note or about,
        "",
        "| key | values | default | what for |",
        "|---|---|---|---|",
        *rows,
        "",
    ]


def _values(schema: Mapping[str, Any]) -> str:
    """Say in words which values a field of a JSON schema takes."""
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_values(part) for part in schema["anyOf"]))
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    limits = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}
    kind = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false"}
    words = [kind.get(schema.get("type", ""), "list")]
    words += [f"{word} {schema[key]:g}" for key, word in limits.items() if key in schema]
    return " ".join(words)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


# --- structure ---


@dataclass(frozen=True, kw_only=True)
class Rooms:
    """The rooms of the project and which room's modules import which other room's.

    Attributes:
        modules: of each room, sorted.
        imports: room to the rooms that it imports.
    """

    modules: Mapping[str, tuple[str, ...]]
    imports: Mapping[str, frozenset[str]]


@cache
def module_imports() -> dict[str, frozenset[str]]:
    """Return the modules of the project with those that each imports; what type checkers alone read does not count."""
    graph = grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True, cache_dir=None)
    return {module: frozenset(graph.find_modules_directly_imported_by(module)) for module in sorted(graph.modules)}


def room_of(module: str) -> str:
    """Return the room that a module lies in: the innermost one."""
    return max((room for room in ROOMS if f"{module}.".startswith(f"{room}.")), key=len)


def rooms() -> Rooms:
    """Return the rooms with their modules and imports."""
    imports = module_imports()
    modules = {room: tuple(module for module in imports if room_of(module) == room) for room in ROOMS}
    return Rooms(
        modules=modules,
        imports={
            room: frozenset(room_of(other) for module in members for other in imports[module]) - {room}
            for room, members in modules.items()
        },
    )


def circles(imports: Mapping[str, frozenset[str]]) -> list[str]:
    """Return what takes part in a circle of imports, or imports something that does: none where there is no circle."""
    left = {name: set(others) & set(imports) for name, others in imports.items()}
    while ready := [name for name, others in left.items() if not others]:
        left = {name: others - set(ready) for name, others in left.items() if name not in ready}
    return sorted(left)


def heights(imports: Mapping[str, frozenset[str]]) -> dict[str, int]:
    """Return how high each room stands: one above the highest that it imports.

    Raises:
        ValueError: rooms import each other in a circle.
    """
    if circles(imports):
        raise ValueError(f"imports in a circle: {', '.join(circles(imports))}")
    found: dict[str, int] = {}
    while len(found) < len(imports):
        for room, others in imports.items():
            if room not in found and others <= found.keys():
                found[room] = 1 + max((found[other] for other in others), default=-1)
    return found


def without_shortcuts(imports: Mapping[str, frozenset[str]]) -> list[tuple[str, str]]:
    """Return the imports that no chain of others implies (the transitive reduction)."""

    def below(room: str) -> set[str]:
        return set(imports[room]).union(*(below(other) for other in imports[room]))

    return [
        (room, other)
        for room, others in imports.items()
        for other in sorted(others)
        if not any(other in below(third) for third in others - {other})
    ]


def rooms_picture() -> str:
    """Return the rooms as an SVG: each above those that it imports, and arrows that point down only."""
    found = rooms()
    height_of = heights(found.imports)
    layers = [[room for room in ROOMS if height_of[room] == layer] for layer in range(max(height_of.values()) + 1)]
    width = COLUMN * max(map(len, layers))
    height = ROW * len(layers)
    drawn = without_shortcuts(found.imports)
    place: dict[str, tuple[float, float]] = {}
    for layer in layers:
        for index, room in enumerate(layer):
            below = [place[other][0] for above, other in drawn if above == room]
            middle = sum(below) / len(below) if below else width / 2
            place[room] = (
                middle if len(layer) == 1 else width / 2 + COLUMN * (index - (len(layer) - 1) / 2),
                height - ROW * (height_of[room] + 0.5),
            )
    parts = [
        f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img" aria-label="the rooms and their imports" '
        'fill="none" stroke="currentColor" font-family="inherit">',
        '<marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0 8 4 0 8Z" fill="currentColor" stroke="none"/></marker>',
    ]
    for room, other in drawn:
        (x, y), (x_end, y_end) = place[room], place[other]
        parts.append(
            f'<line x1="{x:g}" y1="{y + BOX_HEIGHT / 2:g}" x2="{x_end:g}" y2="{y_end - BOX_HEIGHT / 2:g}" '
            'marker-end="url(#arrow)"/>'
        )
    for room, (x, y) in place.items():
        members = found.modules[room]
        parts.append(
            f'<rect x="{x - BOX_WIDTH / 2:g}" y="{y - BOX_HEIGHT / 2:g}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}"/>'
            f'<g fill="currentColor" stroke="none" text-anchor="middle"><text x="{x:g}" y="{y - 5:g}" '
            f'font-weight="bold">{room}</text><text x="{x:g}" y="{y + 16:g}" font-size="13">{len(members)} modules, '
            f"{sum(map(_lines, members)):,} lines</text></g>"
        )
    return "".join([*parts, "</svg>"])


def modules_of_rooms() -> str:
    """Return every module of every room with the first sentence of its docstring."""
    lines = []
    for room, members in rooms().modules.items():
        lines += [
            f"### `{room}`",
            "",
            ROOMS[room][0].upper() + ROOMS[room][1:] + ".",
            "",
            "| module | holds |",
            "|---|---|",
        ]
        for module in members:
            said = ast.get_docstring(ast.parse(_file_of(module).read_text(encoding="utf-8"))) or ""
            first = " ".join(said.split("\n\n")[0].split())
            lines.append(f"| `{module}` | {_cell(first)} |")
        lines.append("")
    return "\n".join(lines)


def _file_of(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _lines(module: str) -> int:
    return len(_file_of(module).read_text(encoding="utf-8").splitlines())


# --- results ---


def latest_results() -> str:
    """Return the newest row of benchmarks/RESULTS.md for everything that was measured, by benchmark."""
    newest: dict[str, dict[str, list[str]]] = {}
    header, before = [""], {}
    for line in (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8").splitlines():
        if not line.startswith("|") or set(line) <= set("|- "):
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if cells[0].startswith("date"):
            header = cells
            continue
        row = dict(zip(header, cells, strict=True))
        for name, cell in row.items():
            if name in before and cell.strip("`").startswith("the same"):
                row[name] = before[name] + cell.strip("`").removeprefix("the same")
        before = row
        newest.setdefault(_program(row["command"]), {})[row["what"]] = [row[name] for name in header]
    lines = []
    for program in sorted(newest):
        lines += [f"### {program}", "", f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
        lines += [f"| {' | '.join(cells)} |" for cells in newest[program].values()]
        lines.append("")
    return "\n".join(lines)


def _program(command: str) -> str:
    match = re.search(r"-m (benchmarks\.\w+)|(augment \w+)|(make [a-z-]+)", command)
    return next((part for part in match.groups() if part), "other") if match else "other"


# --- operations ---


def operations_files() -> str:
    """Return links to the files that docs/operations/ holds, each with the first comment in it."""
    folder = Path(__file__).parent / "operations"
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if not files:
        return ""
    lines = ["## Files for a service", ""]
    for file in files:
        comments = (line.lstrip("# ") for line in file.read_text(encoding="utf-8").splitlines() if line.startswith("#"))
        lines.append(f"- [`{file.name}`](operations/{file.relative_to(folder).as_posix()}): {next(comments, '')}")
    return "\n".join(lines)


# --- MkDocs ---

PAGES: dict[str, Callable[[], str]] = {
    "reference/commands.md": commands_page,
    "reference/configuration.md": configuration_page,
    "notebook.md": notebook_page,
    "measurements.md": lambda: (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8"),
    "trials.md": lambda: (ROOT / "benchmarks" / "TRIALS.md").read_text(encoding="utf-8"),
    "changes.md": lambda: (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
}
PARTS: dict[str, Callable[[], str]] = {
    "rooms": rooms_picture,
    "modules": modules_of_rooms,
    "operations": operations_files,
    "results": latest_results,
}


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are generated whole (a hook of MkDocs)."""
    from mkdocs.structure.files import File  # the site's tool; the tests of this file do without it

    for name, content in PAGES.items():
        files.append(File.generated(config, name, content=content()))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Fill in what a page leaves to be generated (a hook of MkDocs)."""
    return re.sub(r"<!-- generated: (\w+) -->", lambda match: PARTS[match[1]](), markdown)
