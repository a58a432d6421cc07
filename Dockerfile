# One file, three images: controller (no TensorFlow), worker-cpu, worker-gpu.
#   docker build --target controller -t stylefleet-controller .
# The base is an argument, so that the same file builds on any Debian with Python 3.11+ (tests build it on debootstrap's).
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS builder
# Bytecode is made here, once, and never checked against its source: an image's files do not change.
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_COMPILE_BYTECODE=1 \
    UV_COMPILE_BYTECODE_TIMEOUT=900 \
    PYC_INVALIDATION_MODE=UNCHECKED_HASH
COPY locks/bootstrap.txt /build/locks/
RUN python3 -m venv /opt/uv \
    && /opt/uv/bin/python -m pip install --quiet --require-hashes --only-binary :all: -r /build/locks/bootstrap.txt
# What is installed, without an installer of its own.
RUN python3 -m venv --without-pip /opt/stylefleet
# Hash-locked, wheels only; --no-deps because a lock is complete (see locks/README.md).
# What uv locks while it installs would be the only file that anybody may write.
ENV INSTALL="/opt/uv/bin/uv pip install --quiet --no-cache --no-deps --require-hashes --only-binary :all: --python /opt/stylefleet/bin/python -r"

FROM builder AS controller-environment
COPY locks/controller.txt /build/locks/
RUN $INSTALL /build/locks/controller.txt && rm /opt/stylefleet/.lock

FROM builder AS worker-cpu-environment
COPY locks/worker-cpu.txt /build/locks/
RUN $INSTALL /build/locks/worker-cpu.txt && rm /opt/stylefleet/.lock

# The CUDA wheels (3 GB packed) become a layer of their own, made anew only where one of them changed in the lock.
FROM builder AS worker-gpu-locks
COPY locks/worker-gpu.txt /build/locks/
RUN awk '/^[a-z0-9]/ {cuda = /^nvidia-/} {print > (cuda ? "/build/cuda.txt" : "/build/other.txt")}' /build/locks/worker-gpu.txt

FROM builder AS worker-gpu-cuda
COPY --from=worker-gpu-locks /build/cuda.txt /build/
RUN $INSTALL /build/cuda.txt && rm /opt/stylefleet/.lock

FROM builder AS worker-gpu-environment
COPY --from=worker-gpu-locks /build/other.txt /build/
RUN $INSTALL /build/other.txt && rm /opt/stylefleet/.lock

FROM ${BASE_IMAGE} AS source
COPY service /opt/stylefleet-source
RUN python3 -m compileall -q --invalidation-mode unchecked-hash /opt/stylefleet-source

# weights/vgg19.h5, where VGG19_SHA256 asks for it, and nothing else than that very file.
FROM ${BASE_IMAGE} AS weights
ARG VGG19_SHA256=""
COPY weights /build/weights
RUN mkdir /opt/weights \
    && if [ -n "$VGG19_SHA256" ]; then \
        echo "$VGG19_SHA256  /build/weights/vgg19.h5" | sha256sum --check --strict - \
        && install -m 0444 /build/weights/vgg19.h5 /opt/weights/; \
    fi

# What all images share: no root, no writable files, nothing that installs, Python that logs at once.
FROM ${BASE_IMAGE} AS runtime
RUN groupadd --gid 10001 stylefleet \
    && useradd --uid 10001 --gid 10001 --no-log-init --no-create-home --home-dir /tmp --shell /usr/sbin/nologin stylefleet \
    && rm -rf /usr/local/bin/pip* /usr/local/lib/python3*/site-packages/* /usr/local/lib/python3*/ensurepip \
        /usr/lib/python3*/ensurepip /usr/share/python-wheels \
    && find / -xdev -type f -perm /6000 -exec chmod ug-s {} +
ENV PATH=/opt/stylefleet/bin:$PATH \
    PYTHONPATH=/opt/stylefleet-source \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp
LABEL org.opencontainers.image.licenses="Apache-2.0"
USER 10001:10001
# exec form: Python is process 1 and gets SIGTERM itself.
ENTRYPOINT ["python3", "-m", "stylefleet.cli.main"]

FROM runtime AS controller
COPY --from=controller-environment /opt/stylefleet /opt/stylefleet
COPY --from=source /opt/stylefleet-source /opt/stylefleet-source
CMD ["controller"]
ARG VERSION=0.1.0
ARG REVISION=""
ARG SOURCE=""
LABEL org.opencontainers.image.title="stylefleet-controller" \
      org.opencontainers.image.description="Stylefleet's controller and command line: watches the bucket, makes worker Jobs" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}"

FROM runtime AS worker-cpu
COPY --from=worker-cpu-environment /opt/stylefleet /opt/stylefleet
COPY --from=weights /opt/weights /opt/weights
COPY --from=source /opt/stylefleet-source /opt/stylefleet-source
CMD ["worker"]
ARG VGG19_SHA256=""
# The worker verifies the file once more before it opens it. Empty means unset.
ENV STYLEFLEET_VGG19_WEIGHTS=${VGG19_SHA256:+/opt/weights/vgg19.h5} \
    STYLEFLEET_VGG19_SHA256=${VGG19_SHA256}
ARG VERSION=0.1.0
ARG REVISION=""
ARG SOURCE=""
LABEL org.opencontainers.image.title="stylefleet-worker-cpu" \
      org.opencontainers.image.description="Stylefleet's worker with TensorFlow for CPUs" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}"

FROM runtime AS worker-gpu
# Left unset on purpose: NVIDIA_VISIBLE_DEVICES=all would show every GPU to a pod that asked for none.
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=worker-gpu-cuda /opt/stylefleet /opt/stylefleet
COPY --from=worker-gpu-environment /opt/stylefleet /opt/stylefleet
COPY --from=weights /opt/weights /opt/weights
COPY --from=source /opt/stylefleet-source /opt/stylefleet-source
CMD ["worker"]
ARG VGG19_SHA256=""
ENV STYLEFLEET_VGG19_WEIGHTS=${VGG19_SHA256:+/opt/weights/vgg19.h5} \
    STYLEFLEET_VGG19_SHA256=${VGG19_SHA256}
ARG VERSION=0.1.0
ARG REVISION=""
ARG SOURCE=""
LABEL org.opencontainers.image.title="stylefleet-worker-gpu" \
      org.opencontainers.image.description="Stylefleet's worker with TensorFlow and CUDA for NVIDIA GPUs" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}"
