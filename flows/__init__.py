"""The Prefect layer: flows, run directory, configuration and command line.

Importing this package settles how Prefect behaves here, before Prefect itself is imported: no telemetry, a home
of the project's own, and an embedded server where no other one is configured. Variables already set win.
"""

import os
from contextlib import suppress
from pathlib import Path

import platformdirs

_PREFECT_DEFAULTS = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # On disk, a run keeps its place among those allowed at a time when the server starts anew; in memory it would be
    # taken for ever.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    "PREFECT_HOME": str(Path(platformdirs.user_data_dir("augmentation-gain")) / "prefect"),
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
    "PREFECT_CLI_COLORS": "false",
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
}
for _name, _value in _PREFECT_DEFAULTS.items():
    os.environ.setdefault(_name, _value)
with suppress(OSError):  # Prefect makes only the last folder of this path
    Path(os.environ["PREFECT_HOME"]).mkdir(parents=True, exist_ok=True)
for _name in ("no_proxy", "NO_PROXY"):  # a proxy for the outside must not stand before the server on this machine
    _exempt = [host for host in os.environ.get(_name, "").split(",") if host]
    os.environ[_name] = ",".join([*_exempt, *(host for host in ("127.0.0.1", "localhost") if host not in _exempt)])
