"""The libraries of models, imported when a model needs them: that takes seconds and hundreds of megabytes."""

from __future__ import annotations

import logging
from functools import cache
from types import ModuleType

from rerank.devices import use_cores


@cache
def import_transformers() -> ModuleType:
    """transformers, and torch, kept from drawing bars and from warning of what converting looks at.

    To convert a network, for a GPU, and for whatever OpenVINO does not run; a converted network needs neither.
    """
    import transformers
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    # converting looks at every attribute of a model, and both libraries warn of those that are old
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.getLogger("sentence_transformers").setLevel(logging.ERROR)
    use_cores()
    return transformers
