"""The command line: `affectus.app.cli.main`."""
