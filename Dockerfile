# CPU:  docker build -t rerank-gateway .
# CUDA: docker build -t rerank-gateway:cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 .
FROM python:3.12-slim AS build

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
COPY requirements.txt .
RUN python -m venv /opt/venv \
 && grep -E '^torch==' requirements.txt > torch.txt \
 && /opt/venv/bin/pip install --index-url "$TORCH_INDEX" -r torch.txt \
 && /opt/venv/bin/pip install -r requirements.txt

FROM python:3.12-slim

RUN useradd --create-home --uid 10001 rerank \
 && mkdir -p /app/models \
 && chown rerank:rerank /app/models
WORKDIR /app
COPY --from=build /opt/venv /opt/venv
COPY rerank_server.py rerank_client.py download_model.py LICENSE ./
COPY rerank ./rerank

# inside a container only 0.0.0.0 can be reached from outside it; who gets there is decided by the published port
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 HOST=0.0.0.0 PORT=8000 HF_HOME=/app/models/.huggingface
USER 10001
VOLUME /app/models
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/health', timeout=4)"]
CMD ["python", "rerank_server.py"]
