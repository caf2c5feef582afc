"""Generators that are not this project's GAN: named, run, and what they made checked."""
