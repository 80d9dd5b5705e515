"""`python -m affectus`: the command, where its script is not on the path."""

from affectus.app.cli import main

if __name__ == "__main__":
    main()
