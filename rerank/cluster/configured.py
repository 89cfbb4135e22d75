"""Models and keys of an ingress, as its files configure them; they can be read again while it runs."""

from __future__ import annotations

from rerank.access.keyring import Keyring, Keys
from rerank.access.keys_file import keys_of
from rerank.catalog.catalog import Catalog
from rerank.cluster.models import Models
from rerank.server.reload import reload_catalog
from rerank.settings import Settings


class Configured:
    """Models file and keys file, read. Belongs to the event loop's thread."""

    def __init__(self, settings: Settings) -> None:
        """Raises SettingsError."""
        self._settings = settings
        self._catalog = Catalog.open(settings.models_dir, settings.models_file)
        self.models = Models(self._catalog, settings)
        self.keyring = Keyring(self._keys(self._catalog))

    def reload(self) -> bool:
        """Read both files again; False if one of them is wrong, and then nothing changes."""
        fresh = self.keyring.keys

        def check(catalog: Catalog) -> None:
            nonlocal fresh
            fresh = self._keys(catalog)
            catalog.choose_default(self._settings.default_model)
            self.keyring.check(fresh, self._settings.keys_file)

        if reload_catalog(self._catalog, check) is None:
            return False
        self.keyring.keys = fresh
        self.models.reload()
        return True

    def _keys(self, catalog: Catalog) -> Keys:
        return keys_of(self._settings).allowing(lambda name: catalog.operator_choice(name).id)
