# 查看已加载的模型
curl http://localhost:8000/
