"""The one training loop, its phases, recipes and the export of embedded models (needs the `train` extra)."""
