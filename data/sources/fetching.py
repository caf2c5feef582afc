"""Files from the network: the mirror that answers first, a time limit, and a published digest."""

import hashlib
import threading
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from data.base.errors import SourceUnavailableError
from data.base.files import write_atomically

GIVE_UP_SECONDS = 10.0  # to find a mirror that answers, and between two pieces of a file
_PIECE_BYTES = 2**20


def fetch(addresses: Sequence[str], path: Path, *, md5: str, advice: str) -> None:
    """Fetch one file to `path` from the first of `addresses` that answers; `path` appears when its digest is right.

    Args:
        addresses: of the same file at different mirrors.
        advice: what a person without a network can do instead, for the messages.

    Raises:
        SourceUnavailableError: nothing answers within the time limit, or the file comes damaged.
    """
    address = answering(addresses)
    if address is None:
        raise SourceUnavailableError(f"{path} is not there and no mirror answered in {GIVE_UP_SECONDS:.0f} s; {advice}")

    def write(temporary: Path) -> None:
        sha = hashlib.md5(usedforsecurity=False)
        try:
            with (
                urllib.request.urlopen(address, timeout=GIVE_UP_SECONDS) as answer,
                open(temporary, "wb") as stream,
            ):
                while piece := answer.read(_PIECE_BYTES):
                    sha.update(piece)
                    stream.write(piece)
        except OSError as error:
            raise SourceUnavailableError(f"fetching {path.name} failed ({error}); {advice}") from error
        if sha.hexdigest() != md5:
            raise SourceUnavailableError(f"{path.name} came damaged from its mirror; try again, or {advice}")

    write_atomically(path, write)


def answering(addresses: Sequence[str]) -> str | None:
    """Return the first address that answers within the time limit, whatever hangs (name look-up, server)."""
    found: list[str] = []
    done = threading.Event()
    pending = threading.Semaphore(0)

    def probe(address: str) -> None:
        try:
            request = urllib.request.Request(address, method="HEAD")
            with urllib.request.urlopen(request, timeout=GIVE_UP_SECONDS):
                found.append(address)
                done.set()
        except (OSError, ValueError):
            pass
        pending.release()

    def all_failed() -> None:
        for _ in addresses:
            pending.acquire()
        done.set()

    for address in addresses:
        threading.Thread(target=probe, args=(address,), daemon=True).start()
    threading.Thread(target=all_failed, daemon=True).start()
    done.wait(GIVE_UP_SECONDS)
    return found[0] if found else None
