"""Measurements for the claims: each command prints its figure and adds it to RESULTS.md."""
