"""`python -m imagemill`: the `imagemill` command."""

import sys

if __name__ == "__main__":
    # Python puts the working directory first, where a user's modules lie.
    if not sys.flags.safe_path:
        del sys.path[0]
    from imagemill.flows.cli.main import main

    main()
