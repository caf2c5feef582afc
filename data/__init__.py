"""Labelled images: sources, regimes, augmentation, files that they live in. Knows no other room."""
