curl http://localhost:6006/health
