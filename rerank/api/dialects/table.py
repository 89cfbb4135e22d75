"""Every dialect that is spoken at addresses of its own.

| dialect      | documents                | answer                            | errors                      |
|--------------|--------------------------|-----------------------------------|-----------------------------|
| vllm         | documents                | results[].relevance_score, object | error{}, message, detail    |
| vllm.strict  | documents                | vLLM's own, exactly               | error{}                     |
| vllm.tokens  | prompt, or token ids     | tokens, or prompt                 | as vllm                     |
| tei          | texts                    | array of score                    | error, error_type; 422, 424 |
| tei.tokens   | inputs, or ids           | array of tokens, or of texts      | as tei                      |
| dashscope    | input.documents, or flat | output.results, or results        | code, message, request_id   |
| infinity     | documents                | results, documents as strings     | as vllm                     |
| voyage       | documents, top_k         | data, documents as strings        | as vllm                     |
| ollama       | documents                | results without documents         | as vllm                     |
| nvidia       | passages                 | rankings[].logit                  | as vllm                     |
| weaviate     | documents, property      | scores in request order           | error                       |
| reranker_api | documents, top_k         | results with text at the top      | as vllm                     |
| sglang       | documents                | array of score                    | as vllm                     |
| xinference   | (as vllm)                | what its client asks first        | as vllm                     |

vLLM's own addresses (``main``), the shared ones (``shared``) and SageMaker's (``invocations``) build on this table.
"""

from __future__ import annotations

from rerank.api.dialects import (
    dashscope,
    infinity,
    nvidia,
    ollama,
    reranker_api,
    tei,
    voyage,
    weaviate,
    xinference,
)

# a body at a shared address is in the first dialect that recognises it
DIALECTS = (
    weaviate.DIALECT,
    tei.DIALECT,
    nvidia.DIALECT,
    dashscope.DIALECT,
    infinity.DIALECT,
    voyage.DIALECT,
    ollama.DIALECT,
    xinference.DIALECT,
    reranker_api.DIALECT,
)
