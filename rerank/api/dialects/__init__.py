"""One module per dialect: request bodies, answers, errors. No dialect knows another."""
