"""`python -m lr_search` is `lr-search`."""

from lr_search.cli import main

if __name__ == "__main__":
    main()
