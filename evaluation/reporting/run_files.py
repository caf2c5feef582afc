"""The files of a run that reports are read from and pages link to; all others are `flows.study.run_directory`'s."""

REPORT_JSON, REPORT_HTML = "report.json", "report.html"
CONFIG_FILE, ENVIRONMENT_FILE = "config.toml", "environment.json"
