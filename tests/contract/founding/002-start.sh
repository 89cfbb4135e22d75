# 基础启动
python rerank_server.py

# 带 API Key 认证（生产环境推荐）
export RERANK_API_KEY="your-secret-key"
python rerank_server.py

# 自定义端口
uvicorn rerank_server:app --port 8001
