"""Prefect flows, the run directory (`flows.study`, without Prefect) and the command line."""
