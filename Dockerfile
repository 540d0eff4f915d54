# imagemill in an image: the Prefect server and the worker of compose.yaml, or one run of a Docker or Kubernetes work
# pool (docs/operations/containers.md). It has no secrets: tokens come with a container's environment.
#   docker build --tag imagemill .
# torch's wheel brings CUDA's libraries along; the host needs NVIDIA's driver and its container toolkit.
ARG BASE=python:3.11-slim

FROM ${BASE} AS wheel
RUN python3 -m venv /venv
WORKDIR /source
COPY pyproject.toml README.md LICENSE prefect.yaml prefect.toml ./
COPY imagemill imagemill
COPY flows flows
COPY tasks tasks
COPY models models
COPY data data
RUN /venv/bin/pip wheel --quiet --no-deps --wheel-dir /dist .

FROM ${BASE}
ENV PATH=/opt/imagemill/bin:$PATH
RUN python3 -m venv /opt/imagemill
WORKDIR /build
# The dependencies are a separate layer, which a change of the source leaves as it is.
COPY pyproject.toml requirements.lock ./
RUN python3 -c 'import tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
        extras = project["optional-dependencies"]; \
        print(*project["dependencies"], *extras["s3"], *extras["gcs"], *extras["nvidia"], sep="\n")' > requirements.txt \
    && pip install --no-cache-dir --constraint requirements.lock --requirement requirements.txt
COPY --from=wheel /dist /dist
RUN pip install --no-cache-dir --no-deps /dist/*.whl

# What is mounted here belongs to this user: a new volume by itself, a folder of the host after `chown 1000`.
RUN useradd --uid 1000 --create-home imagemill \
    && install -d -o imagemill -g imagemill /work /models /home/imagemill/.prefect
# A server started in this folder has the settings that crash recovery depends on.
COPY prefect.toml /server/
ENV HF_HOME=/models/huggingface XDG_CACHE_HOME=/models/cache
USER 1000
WORKDIR /work
CMD ["imagemill", "--help"]
