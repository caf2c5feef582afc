"""Presenting what `evaluation` measured: report, comparison, history, and their pages."""
