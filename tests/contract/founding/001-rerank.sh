curl -X 'POST' \
  'http://localhost:6006/v1/rerank' \
  -H 'Content-Type: application/json' \
  -d '{
    "query": "什么是人工智能？",
    "documents": [
      "人工智能是计算机科学的一个分支。",
      "机器学习是人工智能的一个子领域。",
      "深度学习是机器学习的一种方法。"
    ],
    "top_k": 2
  }'
