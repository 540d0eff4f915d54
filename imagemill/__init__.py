"""imagemill: reproducible, resumable image datasets from diffusion models, as a Prefect project.

Its code lies in `flows`, `tasks`, `models` and `data`, imported as `imagemill.flows`, `imagemill.tasks` and so on.
"""

__version__ = "0.1.0"
