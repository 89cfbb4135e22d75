"""The model for a request, by the name in it and the caller's key. Pure but for a look at the models folder."""

from __future__ import annotations

from rerank.catalog.cards import ModelCard
from rerank.catalog.catalog import Catalog, DefaultModel
from rerank.catalog.names import shown
from rerank.core import Caller
from rerank.errors import Forbidden, ModelNotFound


def find_model(catalog: Catalog, name: str, caller: Caller) -> ModelCard:
    """The model of this name, if the caller's key allows it.

    Raises ModelNotFound or Forbidden. The errors name no model that the key does not allow.
    """
    try:
        card = catalog.resolve(name)
    except ModelNotFound:
        if caller.models is None:
            raise
        raise ModelNotFound(f"The model `{shown(name)}` does not exist. {_usable(caller)}") from None
    if not caller.may_use(card.id):
        raise Forbidden(
            f"The key {caller.name} may not use the model `{shown(name)}`. {_usable(caller)}", param="model"
        )
    return card


def default_model(catalog: Catalog, default: DefaultModel, caller: Caller) -> DefaultModel:
    """The model for requests that name none: the key's first one if it does not allow the default."""
    if caller.models is None or caller.may_use(default.card.id):
        return default
    return DefaultModel(find_model(catalog, caller.models[0], caller), f"the first model of the key {caller.name}")


def _usable(caller: Caller) -> str:
    return f"The key {caller.name} may use: {', '.join(caller.models or ())}."
