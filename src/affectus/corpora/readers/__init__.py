"""One module per corpus, named like it.

A reader is `INFO` (a `CorpusInfo`), `read(files, notes)` and `write_tiny(tiny)`:

- `read` yields one dictionary per item (or returns a dictionary of columns), named after the grammar in
  `affectus.corpora.base`. Files are found by their published names through `files.match`, `files.named`,
  `files.beside`; labels and numbers go through `notes.lookup`, `notes.decode`, `notes.number`, so that a malformed row
  is an error with file and line. The first `group:` column is the one that the official split keeps apart.
- no annotation file at all is a `CorpusError` whose remedy is `INFO.obtain`;
- `write_tiny` writes a few synthetic items in exactly the published layout; the shared tests run on it.
- `check(files, table, notes)` is optional, for what is special to the corpus.

Modules whose name begins with `_` hold what several readers share.
"""
