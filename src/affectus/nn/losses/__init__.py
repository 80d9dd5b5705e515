"""Losses that more than one system uses: pure functions from tensors to scalars."""
