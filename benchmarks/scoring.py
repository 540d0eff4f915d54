"""Share of scoring in a build: python benchmarks/scoring.py [ROWS] [REPEATS]

Builds ROWS (400 by default) images with the bundled model, plain and with the bundled scorer at one candidate a row, in
turn, on one warm CPU worker and a running Prefect server. Prints the median seconds of both, and the share of the
scored one that scoring takes; writes scoring.json.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from beside_the_model import ROOT, build

SCORERS = {"fits": {"kind": "similarity", "model": "bundled-clip"}}


def main() -> None:
    """Measure both kinds of builds in turn."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    repeats = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    sys.path.insert(0, str(ROOT))
    os.environ["PREFECT_LOGGING_LEVEL"] = "CRITICAL"
    from benchmarks.shared_cluster import shared_cluster
    from benchmarks.startup import server

    taken: dict[str, list[float]] = {"plain": [], "scored": []}
    with tempfile.TemporaryDirectory() as name, server(Path(name)) as address, shared_cluster(1) as cluster:
        os.environ["PREFECT_API_URL"] = address
        prompts = Path(name) / "prompts.txt"
        shapes = (ROOT / "data/samples/shapes.jsonl").read_text().splitlines()
        texts = [json.loads(line)["prompt"] for line in shapes]
        prompts.write_text("".join(f"{texts[number % len(texts)]}\n" for number in range(rows)))
        # The first of each kind is not counted, since it loads the worker's imports and models.
        for number in range(repeats + 1):
            for kind, scorers in (("plain", {}), ("scored", SCORERS)):
                recipe: dict[str, Any] = {"prompts": str(prompts), "output": f"{name}/{kind}-{number}"}
                figures = build({**recipe, "generate": {}, "scorers": scorers}, cluster)
                if number:
                    taken[kind].append(figures["seconds"])
    plain, scored = (statistics.median(seconds) for seconds in taken.values())
    figures = {"rows": rows, "plain_s": plain, "scored_s": scored, "share": round((scored - plain) / scored, 3)}
    print(json.dumps(figures))
    Path("scoring.json").write_text(json.dumps({**figures, "runs": taken}, indent=2) + "\n")


if __name__ == "__main__":
    main()
