"""``python -m rgan``: the command line."""

from rgan.cli.main import main

if __name__ == "__main__":
    main()
