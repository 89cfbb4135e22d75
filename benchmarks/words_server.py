"""The whole application around a scorer without a model: `python -m benchmarks.words_server PORT`."""

from __future__ import annotations

import sys
from pathlib import Path

import uvicorn

from rerank.scheduling.batching import CPU_BATCH
from tests.support.app import AppUnderTest

if __name__ == "__main__":
    app = AppUnderTest(Path("models"), batch=CPU_BATCH)
    uvicorn.run(app.asgi, host="127.0.0.1", port=int(sys.argv[1]), log_config=None, access_log=False)
    app.release()
