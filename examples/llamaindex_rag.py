"""LlamaIndex: a vector index finds passages, the server reranks them, and a prompt is made of the best.

    pip install llama-index-core llama-index-embeddings-openai-like llama-index-postprocessor-cohere-rerank
    python examples/llamaindex_rag.py ["your question"]

Vectors come from the server's OpenAI address, ranks from its Cohere address. No language model is called: what one
would be sent is printed.
"""

from __future__ import annotations

import sys

from common import EMBEDDING_MODEL, api_key, handbook, server_url
from llama_index.core import VectorStoreIndex
from llama_index.core.prompts.default_prompts import DEFAULT_TEXT_QA_PROMPT
from llama_index.core.schema import MetadataMode, TextNode
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.postprocessor.cohere_rerank import CohereRerank


def main(question: str = "My espresso comes out much too quickly") -> None:
    """Show what a language model would be sent."""
    url = server_url()
    embeddings = OpenAILikeEmbedding(model_name=EMBEDDING_MODEL, api_base=f"{url}/v1", api_key=api_key())
    nodes = [TextNode(id_=passage.id, text=passage.text) for passage in handbook()]
    retriever = VectorStoreIndex(nodes, embed_model=embeddings).as_retriever(similarity_top_k=12)
    reranker = CohereRerank(model=EMBEDDING_MODEL, base_url=url, api_key=api_key(), top_n=3)

    found = reranker.postprocess_nodes(retriever.retrieve(question), query_str=question)
    for node in found:
        print(f"{node.score:.3f}  {node.node_id}")
    context = "\n\n".join(node.get_content(MetadataMode.LLM) for node in found)
    print("\nThe prompt:")
    print(DEFAULT_TEXT_QA_PROMPT.format(context_str=context, query_str=question))


if __name__ == "__main__":
    main(*sys.argv[1:2])
