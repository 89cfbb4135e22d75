"""Settings of the server: read once, checked, frozen."""

from rerank.settings.fields import GROUPS, Settings, setting_names
from rerank.settings.reading import WORKERS_NAMES, prepare_libraries, read_env_file, read_settings, remarks_on_names
from rerank.settings.sources import ENV_FILE

__all__ = [
    "ENV_FILE",
    "GROUPS",
    "WORKERS_NAMES",
    "Settings",
    "prepare_libraries",
    "read_env_file",
    "read_settings",
    "remarks_on_names",
    "setting_names",
]
