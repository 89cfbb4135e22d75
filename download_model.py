"""Download rerank models: `python download_model.py --help`."""

if __name__ == "__main__":
    try:
        from rerank.cli.download import main
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    raise SystemExit(main())
