"""Every setting of the server: read once, frozen, checked."""

from rerank.settings.fields import ENV_FILE, Settings, setting_names
from rerank.settings.reading import WORKERS_NAMES, read_env_file, read_settings

__all__ = ["ENV_FILE", "WORKERS_NAMES", "Settings", "read_env_file", "read_settings", "setting_names"]
