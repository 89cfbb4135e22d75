# 列出所有模型详情
curl http://localhost:8000/v1/models
