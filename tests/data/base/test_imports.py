import subprocess
import sys

LOOK = """
import gc
from data.base.imports import imported_for_good
with imported_for_good():
    during = gc.isenabled()
    import json
print(during, gc.isenabled(), gc.get_freeze_count() > 0)
"""
NO_COLLECTOR = """
import gc
from data.base.imports import imported_for_good
gc.disable()
with imported_for_good():
    pass
print(gc.isenabled())
"""
AT_THE_EXIT = """
import atexit, gc
atexit.register(lambda: print(gc.get_freeze_count()))
from data.base.imports import imported_for_good
with imported_for_good():
    pass
"""


def printed(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_no_garbage_is_looked_for_while_importing_nor_in_what_was_imported() -> None:
    assert printed(LOOK) == "False True True"


def test_collector_that_was_off_stays_off() -> None:
    assert printed(NO_COLLECTOR) == "False"


def test_everything_is_cleared_away_at_the_exit() -> None:
    assert printed(AT_THE_EXIT) == "0"
