"""Download rerank models: `python download_model.py --help`. The same as `rerank pull`."""

from __future__ import annotations


def main() -> int:
    """Run the download command; the exit status."""
    try:
        from rerank.cli.main import download_main

        return download_main()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
