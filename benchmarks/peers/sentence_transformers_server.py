"""CrossEncoder.predict behind FastAPI, as one writes it at home: `sentence_transformers_server.py FOLDER fp32 PORT`."""

import sys

import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from sentence_transformers import CrossEncoder

folder, precision, port = sys.argv[1:4]
dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
model = CrossEncoder(folder, device="cpu", model_kwargs={"dtype": dtype})
app = FastAPI()


class Body(BaseModel):
    """What a caller sends."""

    query: str
    documents: list[str]


@app.get("/health")
def health() -> None:
    """Answered once the model is loaded."""


@app.post("/v1/rerank")
def rerank(body: Body) -> dict[str, list[dict[str, object]]]:
    """Scores, the best first."""
    scores = model.predict([(body.query, document) for document in body.documents]).tolist()
    order = sorted(range(len(scores)), key=lambda index: -scores[index])
    return {"results": [{"index": index, "relevance_score": scores[index]} for index in order]}


uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning")
