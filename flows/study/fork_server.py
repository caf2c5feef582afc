"""For the process that workers are forked from, which imports it first: it only imports, and looks for no garbage.

What it imported is never looked through, so that its memory stays one for all workers; they look at their own. That is
what Python's documentation of `gc.freeze` advises.
"""

import atexit
import gc
import os

gc.disable()
os.register_at_fork(before=gc.freeze, after_in_child=gc.enable)
atexit.register(gc.unfreeze)  # libraries warn at the exit of what is not cleared away then
