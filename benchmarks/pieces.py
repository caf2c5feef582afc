"""Long benchmarks in pieces: several processes, a line of JSON for each finished piece, and what is there is not done
again."""

import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import TypeVar

import torch
from pydantic import BaseModel

Piece = TypeVar("Piece")
Found = TypeVar("Found", bound=BaseModel)


def worked_through(
    pieces: Mapping[str, Piece],
    work: Callable[[Piece], Found],
    *,
    found: type[Found],
    lines: Path,
    workers: int,
) -> dict[str, Found]:
    """Do all pieces that `lines` does not hold yet, and return what was found in each, by its name.

    Every worker is a process with one thread. Stopped in between, the same call goes on after the last finished piece;
    lines of other pieces stay and are left out of the answer.

    Args:
        work: a function of a module, as processes need it.
    """
    there = read_lines(lines, found=found)
    left = {name: piece for name, piece in pieces.items() if name not in there}
    lines.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with (
        _processes(workers) as pool,
        lines.open("a", encoding="utf-8") as stream,
    ):
        waiting = {pool.submit(work, piece): name for name, piece in left.items()}
        for number, done in enumerate(as_completed(waiting), start=1):
            name = waiting[done]
            there[name] = done.result()
            stream.write(json.dumps({"piece": name, "found": there[name].model_dump(mode="json")}) + "\n")
            stream.flush()
            print(f"{number}/{len(left)} after {time.monotonic() - started:.0f} s: {name}", file=sys.stderr, flush=True)
    return {name: there[name] for name in pieces}


def prepared(work: Callable[[Piece], object], pieces: Iterable[Piece], *, workers: int) -> None:
    """Do what all pieces need first, each in a process."""
    with _processes(workers) as pool:
        for done in [pool.submit(work, piece) for piece in pieces]:
            done.result()


def read_lines(lines: Path, *, found: type[Found]) -> dict[str, Found]:
    """Return what is there, by the piece's name; a last line that was cut off is left out, and removed."""
    if not lines.exists():
        return {}
    text = lines.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        lines.write_text(whole, encoding="utf-8")
    read = [json.loads(line) for line in whole.splitlines()]
    return {line["piece"]: found.model_validate(line["found"]) for line in read}


def _processes(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_one_thread)


def _one_thread() -> None:
    torch.set_num_threads(1)
