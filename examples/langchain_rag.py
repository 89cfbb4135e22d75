"""LangChain: a vector store finds passages, the server reranks them, and a prompt is made of the best.

    pip install langchain-classic langchain-openai langchain-cohere numpy
    python examples/langchain_rag.py ["your question"]

Vectors come from the server's OpenAI address, ranks from its Cohere address. No language model is called: what one
would be sent is printed.
"""

from __future__ import annotations

import sys

from common import EMBEDDING_MODEL, api_key, handbook, server_url
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_cohere import CohereRerank
from langchain_core.documents import Document
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_openai import OpenAIEmbeddings

PROMPT = ChatPromptTemplate.from_messages(
    [
        ("system", "Answer from these passages of the handbook alone, and name them.\n\n{context}"),
        ("human", "{question}"),
    ]
)


def retriever_of(url: str) -> ContextualCompressionRetriever:
    """The three best of the twelve nearest passages."""
    embeddings = OpenAIEmbeddings(
        model=EMBEDDING_MODEL, base_url=f"{url}/v1", api_key=api_key(), check_embedding_ctx_length=False
    )
    store = InMemoryVectorStore.from_documents(
        [Document(passage.text, metadata={"source": passage.id}) for passage in handbook()], embeddings
    )
    reranker = CohereRerank(model=EMBEDDING_MODEL, base_url=url, cohere_api_key=api_key(), top_n=3)
    return ContextualCompressionRetriever(
        base_compressor=reranker, base_retriever=store.as_retriever(search_kwargs={"k": 12})
    )


def main(question: str = "What may I put into the dishwasher?") -> None:
    """Show what a language model would be sent."""
    found = retriever_of(server_url()).invoke(question)
    for document in found:
        print(f"{document.metadata['relevance_score']:.3f}  {document.metadata['source']}")
    context = "\n".join(f"[{document.metadata['source']}] {document.page_content}" for document in found)
    print("\nThe prompt:")
    print(PROMPT.invoke({"context": context, "question": question}).to_string())


if __name__ == "__main__":
    main(*sys.argv[1:2])
