"""Where tensors run: OpenVINO on a CPU, plain torch everywhere else."""
