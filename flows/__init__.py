"""The Prefect layer: flows, run directory, configuration and command line.

Importing this package settles how Prefect behaves here, before Prefect itself is imported: no telemetry, a home
of the project's own, and an embedded server where no other one is configured. Variables already set win.
"""

import os

import platformdirs

_PREFECT_DEFAULTS = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_HOME": os.path.join(platformdirs.user_data_dir("augmentation-gain"), "prefect"),  # noqa: PTH118
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
    "PREFECT_CLI_COLORS": "false",
    "PREFECT_LOGGING_SERVER_LEVEL": "CRITICAL",
}
for _name, _value in _PREFECT_DEFAULTS.items():
    os.environ.setdefault(_name, _value)
