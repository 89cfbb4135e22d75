# 基础调用
curl -X POST "http://localhost:8000/v1/rerank" \
  -H "Content-Type: application/json" \
  -d '{
    "query": "什么是深度学习？",
    "documents": [
      "深度学习使用多层神经网络",
      "Python是编程语言",
      "机器学习是AI的分支"
    ],
    "top_n": 2
  }'
