# 使用 API Key
curl -X POST "http://localhost:8000/v1/rerank" \
  -H "Content-Type: application/json" \
  -H "Authorization: Bearer your-api-key" \
  -d '{"query": "...", "documents": [...]}'
