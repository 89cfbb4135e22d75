# 健康检查
curl http://localhost:8000/

# 测试重排
curl -X POST "http://localhost:8000/v1/rerank" \
  -H "Content-Type: application/json" \
  -d '{
    "query": "什么是机器学习？",
    "documents": ["机器学习是AI的分支", "Python是编程语言"],
    "top_n": 1
  }'
