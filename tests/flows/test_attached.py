"""A child process looks for garbage where nobody waits for it."""

import subprocess
import sys

GARBAGE = """
import threading, time
from flows.attached import collect_apart

class Cursor:
    def __del__(self):
        seen.append(threading.current_thread().name)

seen = []
collect_apart()
for _ in range(20_000):
    cursor = Cursor()
    cursor.itself = cursor
del cursor
while len(seen) < 20_000:
    time.sleep(0.1)
print(*set(seen))
"""


def test_garbage_is_cleared_away_by_a_thread_of_its_own() -> None:
    """So that an event loop never waits for a cursor of SQLite whose statement waits for this loop."""
    found = subprocess.run([sys.executable, "-c", GARBAGE], capture_output=True, text=True, timeout=300, check=True)
    assert found.stdout.split() == ["collect-apart"]
