"""Download rerank models: `python download_model.py --help`."""

from rerank.cli.download import main

if __name__ == "__main__":
    raise SystemExit(main())
