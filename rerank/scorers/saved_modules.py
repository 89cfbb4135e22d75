"""Files that sentence-transformers saved next to a checkpoint: modules, lengths and prompts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rerank.catalog.evidence import read_modules
from rerank.scorers.pretrained import read_json, tokenizer_length

_SETTINGS_FILES = tuple(
    f"sentence_{body}_config.json"
    for body in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
"""Of the first module, which older versions of sentence-transformers named after its body; the first one counts."""
_FORMER_POOLING_MODES = {
    "cls": "cls_token",
    "max": "max_tokens",
    "mean": "mean_tokens",
    "mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "weightedmean": "weightedmean_tokens",
    "lasttoken": "lasttoken",
}
"""In older versions each way was a setting of its own, true or false."""
_KNOWN_SETTINGS = {"max_seq_length", "do_lower_case", "transformer_task", "modality_config", "module_output_name"}


@dataclass(frozen=True, slots=True)
class SavedModules:
    """The modules of ``modules.json``, in order."""

    kinds: tuple[str, ...]
    """Names of their classes."""
    folders: tuple[str, ...]
    """Folders of their files within the checkpoint's folder; empty for the folder itself."""
    settings: Mapping[str, Any]
    """Settings of the first module."""

    @property
    def max_tokens(self) -> int | None:
        """The length that was saved with the model; None where none was."""
        length = self.settings.get("max_seq_length")
        return int(length) if length else None

    def is_plain(self, task: str) -> bool:
        """True if the first module is the folder's own model for the task, fed with what its tokenizer reads."""
        return (
            self.kinds[:1] == ("Transformer",)
            and not self.folders[0]
            and self.settings.keys() <= _KNOWN_SETTINGS
            and not self.settings.get("do_lower_case")
            and self.settings.get("transformer_task", "feature-extraction") == task
            # texts do not go through a chat template
            and "message" not in self.settings.get("modality_config", ())
        )


def saved_modules(folder: Path) -> SavedModules | None:
    """The modules saved in the folder; None for a model that was not saved by sentence-transformers."""
    modules = read_modules(folder)
    if not modules:
        return None
    return SavedModules(
        kinds=tuple(module.kind for module in modules),
        folders=tuple(module.path for module in modules),
        settings=next(filter(None, (read_json(folder / name) for name in _SETTINGS_FILES)), {}),
    )


def pooling_mode(settings: Mapping[str, Any]) -> str | None:
    """How a Pooling module makes one vector of many, by its settings; None for several ways side by side."""
    modes = settings.get("pooling_mode") or [
        mode for mode, name in _FORMER_POOLING_MODES.items() if settings.get(f"pooling_mode_{name}")
    ]
    if isinstance(modes, str):
        return modes
    return None if len(modes) > 1 else next(iter(modes), "mean")


def vector_of_tokens(folder: Path, saved: SavedModules) -> str | None:
    """``cls``, ``mean`` or ``lasttoken``, as the second module makes one vector of all; None if it does otherwise."""
    if saved.kinds[1:2] != ("Pooling",):
        return None
    settings = read_json(folder / saved.folders[1] / "config.json")
    mode = pooling_mode(settings)
    return mode if mode in ("cls", "mean", "lasttoken") and settings.get("include_prompt", True) else None


def saved_length(folder: Path) -> int | None:
    """Maximum tokens saved with the modules, else with the tokenizer; None where neither has a limit."""
    saved = saved_modules(folder)
    return (saved and saved.max_tokens) or tokenizer_length(folder)


def saved_prompts(folder: Path) -> dict[str, str]:
    """The prompts saved with the model, by name; as in sentence-transformers, the two roles have one, maybe empty."""
    saved = read_json(folder / "config_sentence_transformers.json").get("prompts") or {}
    return {"query": "", "document": ""} | saved


def default_prompt_name(folder: Path) -> str | None:
    """Name of the prompt used by default; None if there is none."""
    name: str | None = read_json(folder / "config_sentence_transformers.json").get("default_prompt_name")
    return name


def default_prompt(folder: Path) -> str | None:
    """The prompt used by default; None if there is none."""
    name = default_prompt_name(folder)
    return None if name is None else saved_prompts(folder).get(name, "")
