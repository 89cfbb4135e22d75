# API Key（可选，生产环境推荐）
export RERANK_API_KEY="your-secret-key"

# HuggingFace 镜像（中国大陆用户）
export HF_ENDPOINT=https://hf-mirror.com
