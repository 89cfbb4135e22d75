"""Files that sentence-transformers saved next to a checkpoint: modules, lengths and prompts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import normalizers

from rerank.catalog.evidence import read_modules
from rerank.errors import ModelUnsupported, WeightsBroken
from rerank.scorers.pretrained import open_tokenizer, read_json, tokenizer_length

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
_KNOWN_SETTINGS = {
    "max_seq_length",
    "do_lower_case",
    "transformer_task",
    "modality_config",
    "module_output_name",
    "processing_kwargs",
}
_ASKING = {("Transformer",): "sequence-classification", ("Transformer", "LogitScore"): "text-generation"}
"""Modules that score what a chat template makes of a pair, and the task of their model."""
_READ_AS_ALWAYS: Mapping[str, tuple[Any, ...]] = {
    "padding": (True, "longest"),
    "truncation": (True, "longest_first"),
    "return_tensors": ("pt",),
    "max_length": (None,),
}
"""Settings of a tokenizer's calls, and their values that change nothing."""

_BY_ROLE = ("query_length", "document_length", "query_expansion")
"""Settings that queries and documents have of their own; without use to a cross-encoder, and saved with none."""


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
    def normalises(self) -> bool:
        """True if the last module makes vectors of length 1."""
        return self.kinds[-1:] == ("Normalize",)

    @property
    def max_tokens(self) -> int | None:
        """The length that was saved with the model; None where none was."""
        length = self._processing("text").get("max_length") or self.settings.get("max_seq_length")
        return int(length) if length else None

    @property
    def unread_setting(self) -> str | None:
        """Name of a setting by which texts are tokenised in another way than here; None if there is none."""
        named = [("common", name, value) for name, value in self._processing("common").items()]
        named += [("text", name, value) for name, value in self._processing("text").items() if name != "max_length"]
        template = self._processing("chat_template").items()
        named += [("chat_template", name, value) for name, value in template if name in _READ_AS_ALWAYS]
        found = [f"processing_kwargs.{part}.{name}" for part, name, value in named if not _is_usual(name, value)]
        found += [name for name in _BY_ROLE if self.settings.get(name) is not None]
        return next(iter(found), None)

    @property
    def begins_answers(self) -> bool:
        """True if a template is asked for what begins an answer."""
        return self._processing("chat_template").get("add_generation_prompt") is True

    def is_plain(self, task: str) -> bool:
        """True if the first module is the folder's own model for the task, fed with what its tokenizer reads."""
        # texts do not go through a chat template
        return self._is_own(task) and "message" not in self._modalities

    @property
    def reads_template(self) -> bool:
        """True if the folder's own model scores pairs, and reads them in its chat template alone."""
        message = self._modalities.get("message")
        return (
            self._is_own(_ASKING.get(self.kinds, ""))
            and message is not None
            and message.get("format") != "structured"
            and self._processing("chat_template").keys() <= {"add_generation_prompt"}
        )

    def _is_own(self, task: str) -> bool:
        return (
            self.kinds[:1] == ("Transformer",)
            and not self.folders[0]
            and self.settings.keys() <= _KNOWN_SETTINGS
            and not self.settings.get("do_lower_case")
            and self.settings.get("transformer_task", "feature-extraction") == task
            and self.unread_setting is None
        )

    @property
    def _modalities(self) -> Mapping[str, Any]:
        return self.settings.get("modality_config") or {}

    def _processing(self, part: str) -> Mapping[str, Any]:
        return (self.settings.get("processing_kwargs") or {}).get(part) or {}


def _is_usual(name: str, value: Any) -> bool:
    return value in _READ_AS_ALWAYS.get(name, ())


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


def refuse_unread_setting(folder: Path) -> None:
    """Raise ModelUnsupported where sentence-transformers tokenises texts by a setting that is not read here."""
    saved = saved_modules(folder)
    if saved and saved.unread_setting:
        raise ModelUnsupported(
            f"{folder.name} has its texts tokenised by the setting {saved.unread_setting} in its "
            "sentence_bert_config.json, which this server does not support. Use a model that was saved without it."
        )


def saved_length(folder: Path) -> int | None:
    """Maximum tokens saved with the modules, else with the tokenizer; None where neither has a limit."""
    saved = saved_modules(folder)
    return (saved and saved.max_tokens) or tokenizer_length(folder)


def take_length(model: Any) -> int | None:
    """Maximum tokens of a model that sentence-transformers loaded, which no longer cuts texts by a setting."""
    text = getattr(model[0], "processing_kwargs", {}).get("text") or {}
    length: int | None = text.pop("max_length", None) or model.max_seq_length
    return length


def reads_as_published(model: Any, folder: Path) -> None:
    """Have a model of sentence-transformers read texts as ``open_tokenizer`` does, where there is a file for that."""
    tokenizer = model.tokenizer
    own_code = not type(tokenizer).__module__.startswith("transformers.")
    if own_code or not tokenizer.is_fast or not (folder / "tokenizer.json").is_file():
        return
    tokenizer._tokenizer = published = open_tokenizer(folder)
    if getattr(model[0], "do_lower_case", False):
        own = published.normalizer
        published.normalizer = normalizers.Sequence([normalizers.Lowercase(), *([own] if own else [])])


def other_similarity(folder: Path, unsaid: str | None) -> str | None:
    """How vectors are to be compared, if it is by other numbers than their cosine; ``unsaid`` if the files do not say.

    The dot product of vectors of length 1 is their cosine.
    """
    name: str | None = read_json(folder / "config_sentence_transformers.json").get("similarity_fn_name") or unsaid
    saved = saved_modules(folder)
    is_cosine = name == "dot" and saved is not None and saved.normalises
    return None if name in (None, "cosine") or is_cosine else name


def saved_dimensions(folder: Path) -> int | None:
    """The dimensions that vectors are cut to; None for whole ones. Raises ModelUnsupported for what is no number."""
    kept = read_json(folder / "config_sentence_transformers.json").get("truncate_dim")
    if kept is None:
        return None
    if not isinstance(kept, int) or isinstance(kept, bool) or kept < 1:
        raise ModelUnsupported(
            f"{folder.name}/config_sentence_transformers.json cuts vectors to {kept!r} dimensions (truncate_dim), "
            "which is no number of them. Fetch the published files again."
        )
    return kept


def saved_prompts(folder: Path) -> dict[str, str]:
    """The prompts saved with the model, by name; as in sentence-transformers, the two roles have one, maybe empty."""
    saved = read_json(folder / "config_sentence_transformers.json").get("prompts") or {}
    return {"query": "", "document": ""} | saved


def default_prompt_name(folder: Path) -> str | None:
    """Name of the prompt used by default; None if there is none. Raises WeightsBroken for one that is not there."""
    name = read_json(folder / "config_sentence_transformers.json").get("default_prompt_name")
    known = saved_prompts(folder)
    if name is None or (isinstance(name, str) and name in known):
        return name
    raise WeightsBroken(
        f"{folder.name}/config_sentence_transformers.json has the default prompt {name!r}, which is not among its "
        f"prompts ({', '.join(sorted(known))})"
    )


def default_prompt(folder: Path) -> str | None:
    """The prompt used by default; None if there is none."""
    name = default_prompt_name(folder)
    return None if name is None else saved_prompts(folder).get(name, "")
