from __future__ import annotations

from tests.service.conftest import access_log, open_house, serve

__all__ = ["access_log", "open_house", "serve"]
