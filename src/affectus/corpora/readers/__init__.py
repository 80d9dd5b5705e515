"""One module per corpus, named like it: `INFO`, `read(files, notes)` and, where of use, `check`."""
