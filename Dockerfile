# One file, three images: controller (no TensorFlow), worker-cpu, worker-gpu.
#   docker build --target controller -t stylefleet-controller .
# The base is an argument, so that the same file builds on any Debian with Python 3.11+ (tests build it on debootstrap's).
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1 UV_LINK_MODE=copy
COPY locks/bootstrap.txt /build/locks/
RUN python3 -m venv /opt/uv \
    && /opt/uv/bin/python -m pip install --quiet --require-hashes --only-binary :all: -r /build/locks/bootstrap.txt
# Hash-locked, wheels only; --no-deps because a lock is complete (see locks/README.md).
ENV INSTALL="/opt/uv/bin/uv pip install --quiet --no-cache --no-deps --require-hashes --only-binary :all: --python /opt/stylefleet/bin/python -r"

FROM builder AS controller-environment
COPY locks/controller.txt /build/locks/
RUN python3 -m venv /opt/stylefleet && $INSTALL /build/locks/controller.txt

FROM builder AS worker-cpu-environment
COPY locks/worker-cpu.txt /build/locks/
RUN python3 -m venv /opt/stylefleet && $INSTALL /build/locks/worker-cpu.txt

FROM builder AS worker-gpu-environment
COPY locks/worker-gpu.txt /build/locks/
# The CUDA wheels (3 GB) in a layer of their own: they change less often than anything else.
RUN python3 -m venv /opt/stylefleet \
    && awk '/^[a-z]/ {keep = /^nvidia-/} keep' /build/locks/worker-gpu.txt > /build/cuda.txt \
    && $INSTALL /build/cuda.txt
RUN $INSTALL /build/locks/worker-gpu.txt

# What all images share: no root, no writable files, Python that logs at once.
FROM ${BASE_IMAGE} AS runtime
RUN groupadd --gid 10001 stylefleet && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp stylefleet
ENV PATH=/opt/stylefleet/bin:$PATH \
    PYTHONPATH=/opt/stylefleet-source \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp
LABEL org.opencontainers.image.title="stylefleet" \
      org.opencontainers.image.licenses="Apache-2.0"
USER 10001:10001
# exec form: Python is process 1 and gets SIGTERM itself.
ENTRYPOINT ["python3", "-m", "stylefleet.cli.main"]

FROM runtime AS controller
COPY --from=controller-environment /opt/stylefleet /opt/stylefleet
COPY service /opt/stylefleet-source
CMD ["controller"]

FROM runtime AS worker-cpu
COPY --from=worker-cpu-environment /opt/stylefleet /opt/stylefleet
COPY service /opt/stylefleet-source
CMD ["worker"]

FROM runtime AS worker-gpu
# Left unset on purpose: NVIDIA_VISIBLE_DEVICES=all would show every GPU to a pod that asked for none.
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=worker-gpu-environment /opt/stylefleet /opt/stylefleet
COPY service /opt/stylefleet-source
CMD ["worker"]
