# CPU:  docker build -t rerank-gateway .
# CUDA: docker build -t rerank-gateway:cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 .
# If gcr.io is unreachable: --build-arg RUNTIME=<a mirror of gcr.io>/distroless/python3-debian13:latest
# By digest, so that two builds are the same: `make image` (a tag may name another image later)

# Python and the libraries it needs; no shell, no package manager
ARG RUNTIME=gcr.io/distroless/python3-debian13:latest
# the same Python on the same Debian
ARG BUILD=python:3.13-slim-trixie

FROM ${BUILD} AS build

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
COPY requirements.txt requirements.lock ./
# everything but torch by hash; torch, which has another index for each kind of device, by what that index says of it.
# a virtual environment remembers the path of its Python: in the final image, under /usr/bin
RUN ln -s /usr/local/bin/python3.13 /usr/bin/python3.13 \
 && /usr/bin/python3.13 -m venv --without-pip /opt/venv \
 && pip --python /opt/venv/bin/python install --require-hashes --no-deps --only-binary :all: -r requirements.lock \
 && grep -E '^torch==' requirements.txt > torch.txt \
 && pip --python /opt/venv/bin/python install --only-binary :all: --index-url "$TORCH_INDEX" -r torch.txt \
 && pip --python /opt/venv/bin/python check \
 && useradd --uid 10001 --home-dir /tmp rerank \
 && mkdir /build/models

FROM ${RUNTIME}

WORKDIR /app
COPY --from=build /etc/passwd /etc/group /etc/
COPY --from=build --chown=10001:10001 /build/models ./models
COPY --from=build /opt/venv /opt/venv
COPY rerank_server.py rerank_client.py download_model.py LICENSE ./
COPY rerank ./rerank

# from outside a container only 0.0.0.0 is reachable; the published port decides for whom
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    HOST=0.0.0.0 PORT=8000 HOME=/tmp HF_HOME=/app/models/.huggingface
USER 10001
VOLUME /app/models
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-m", "rerank.cli.health"]
ENTRYPOINT []
CMD ["python", "rerank_server.py"]
