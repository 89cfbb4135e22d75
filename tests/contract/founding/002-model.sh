# 指定模型
curl -X POST "http://localhost:8000/v1/rerank" \
  -H "Content-Type: application/json" \
  -d '{
    "query": "你的查询",
    "documents": ["文档1", "文档2"],
    "model": "BAAI/bge-reranker-base"
  }'
