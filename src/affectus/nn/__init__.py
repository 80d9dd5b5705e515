"""Torch parts that systems and embedded models are composed of."""
