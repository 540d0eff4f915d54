"""`python -m imagemill`: the `imagemill` command."""

from imagemill.flows.cli.main import main

if __name__ == "__main__":
    main()
