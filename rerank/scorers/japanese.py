"""BertJapaneseTokenizer without its Python: MeCab finds the words, and a fast tokenizer does the rest."""

from __future__ import annotations

import importlib
import re
import threading
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from tokenizers import NormalizedString, PreTokenizedString, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.processors import TemplateProcessing

from rerank.catalog.folder_files import broken
from rerank.errors import ModelUnsupported
from rerank.scorers.tokenizer_settings import token_text

_DICTIONARIES = {"unidic_lite": "unidic-lite", "ipadic": "ipadic", "unidic": "unidic"}
"""Packages by the names that checkpoints give them."""
_LONGEST = 100
"""Characters of a word; a longer one is unknown."""
_SPECIAL = ("unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


def japanese_tokenizer(folder: Path, config: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer that ``tokenizer_config.json`` describes. Raises ModelUnsupported and WeightsBroken."""
    _refuse_other_ways(config)
    vocabulary = _vocabulary(folder / "vocab.txt")
    special = {name: token_text(config.get(name, f"[{name.removesuffix('_token').upper()}]")) for name in _SPECIAL}
    _refuse_added_tokens(config, special.values())
    mecab = config.get("mecab_kwargs") or {}
    single = config.get("subword_tokenizer_type", "wordpiece") == "character"
    tokenizer = Tokenizer(_model(vocabulary, special["unk_token"], single=single))
    if mecab.get("normalize_text", True):
        tokenizer.normalizer = normalizers.NFKC()
    words = MecabWords(str(mecab.get("mecab_dic", "unidic_lite")), single=single)
    # the library's own description of its types leaves custom ones out
    custom: Any = pre_tokenizers.PreTokenizer
    tokenizer.pre_tokenizer = custom.custom(words)
    tokenizer.decoder = decoders.WordPiece(cleanup=False)
    tokenizer.add_special_tokens([token for token in special.values() if token in vocabulary])
    begin, end = special["cls_token"], special["sep_token"]
    tokenizer.post_processor = TemplateProcessing(
        single=f"{begin} $A {end}",
        pair=f"{begin} $A {end} $B:1 {end}:1",
        special_tokens=[(token, vocabulary[token]) for token in (begin, end)],
    )
    return tokenizer


class MecabWords:
    """Splits texts into the words of MeCab, which drops spaces; ``single`` splits those into characters."""

    def __init__(self, dictionary: str, *, single: bool) -> None:
        # MeCab takes some white space for words, of which pieces are not made
        self._parts = re.compile(r"(?s:.)" if single else r"\S+")
        self._tagger = _tagger(dictionary)
        # a tagger keeps its last sentence inside
        self._lock = threading.Lock()

    def pre_tokenize(self, text: PreTokenizedString) -> None:
        """Called by the library for each text."""
        text.split(self._split)

    def _split(self, _place: int, text: NormalizedString) -> list[NormalizedString]:
        parts = (text[first:last] for first, last in self.places(str(text.normalized)))
        return [part for part in parts if part is not None]

    def places(self, text: str) -> list[tuple[int, int]]:
        """Where the words stand."""
        with self._lock:
            words = [str(word.surface) for word in self._tagger(text)]
        found, end = [], 0
        for word in words:
            first = text.index(word, end)
            end = first + len(word)
            found += [(first + part.start(), first + part.end()) for part in self._parts.finditer(word)]
        return found


def _tagger(dictionary: str) -> Any:
    """MeCab with the dictionary; without packages it is refused before a load, so this is another dictionary's."""
    package = _DICTIONARIES.get(dictionary)
    if package is None:
        raise ModelUnsupported(f"its tokenizer asks for the MeCab dictionary {dictionary!r}, which is not known.")
    try:
        fugashi, installed = importlib.import_module("fugashi"), importlib.import_module(dictionary)
    except ImportError as error:
        raise ModelUnsupported(
            f"its tokenizer splits words with MeCab, which needs the packages fugashi and {package}. Install them: "
            f"`pip install fugashi {package}`."
        ) from error
    folder = Path(installed.DICDIR)
    return fugashi.GenericTagger(f'-d "{folder}" -r "{folder / "mecabrc"}"')


def _refuse_other_ways(config: Mapping[str, Any]) -> None:
    """Raise ModelUnsupported for what MeCab with words or characters of a vocabulary does not do."""
    wanted: dict[str, tuple[object, ...]] = {
        "word_tokenizer_type": ("mecab",),
        "subword_tokenizer_type": ("wordpiece", "character"),
        "do_word_tokenize": (True,),
        "do_subword_tokenize": (True,),
        "do_lower_case": (False,),
        "never_split": (None, []),
    }
    defaults = {"word_tokenizer_type": "basic", "subword_tokenizer_type": "wordpiece", "do_lower_case": False}
    for name, values in wanted.items():
        value = config.get(name, defaults.get(name, values[0]))
        if value not in values:
            raise ModelUnsupported(
                f"its tokenizer asks for {name} = {value!r}, and of BertJapaneseTokenizer only MeCab with pieces of "
                "words or with characters is supported."
            )
    if (config.get("mecab_kwargs") or {}).keys() - {"mecab_dic", "normalize_text"}:
        raise ModelUnsupported("its tokenizer gives MeCab options of its own, which may read and write files.")


def _refuse_added_tokens(config: Mapping[str, Any], known: Collection[str]) -> None:
    """Raise ModelUnsupported for tokens that the settings add to the vocabulary."""
    added = {token_text(token) for token in (config.get("added_tokens_decoder") or {}).values()}
    if others := added - set(known):
        raise ModelUnsupported(f"its tokenizer adds tokens of its own to BertJapaneseTokenizer's ({min(others)}).")


def _model(vocabulary: dict[str, int], unknown: str, *, single: bool) -> Any:
    if single:
        return models.WordLevel(vocabulary, unk_token=unknown)
    return models.WordPiece(vocabulary, unk_token=unknown, max_input_chars_per_word=_LONGEST)


def _vocabulary(file: Path) -> dict[str, int]:
    try:
        lines = file.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise broken(file, "cannot be read, which holds the tokens") from error
    return {token: number for number, token in enumerate(lines)}
