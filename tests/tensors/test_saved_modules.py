"""Files of sentence-transformers are read as the library reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rerank.scorers.saved_modules import pooling_mode, saved_modules

MODES = ("cls_token", "max_tokens", "mean_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")


@pytest.mark.parametrize(
    "settings",
    [
        {"pooling_mode": "cls"},
        {"pooling_mode": ["mean"]},
        {"pooling_mode": ["cls", "mean"]},
        {"pooling_mode": "max", "pooling_mode_cls_token": True},
        {"pooling_mode_mean_tokens": False},
        {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True},
        *({f"pooling_mode_{mode}": True} for mode in MODES),
        {},
    ],
    ids=repr,
)
def test_a_pooling_mode_is_found_under_todays_name_and_the_former_ones(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"embedding_dimension": 4} | settings))
    # importing it takes seconds
    from sentence_transformers.sentence_transformer.modules import Pooling

    known = Pooling.load(str(tmp_path), local_files_only=True).pooling_mode

    assert pooling_mode(settings) == (known if isinstance(known, str) else None)


@pytest.mark.parametrize("file", ["sentence_bert_config.json", "sentence_xlm-roberta_config.json"])
def test_settings_of_the_first_module_are_found_under_every_name(file: str, tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text('[{"type": "sentence_transformers.models.Transformer", "path": ""}]')
    (tmp_path / "sentence_xlnet_config.json").write_text('{"max_seq_length": 1}')
    (tmp_path / file).write_text('{"max_seq_length": 77, "do_lower_case": false}')
    from sentence_transformers.base.modules import Transformer

    known = Transformer.load_config(str(tmp_path), local_files_only=True)

    saved = saved_modules(tmp_path)

    assert saved is not None
    assert saved.settings == {name: known[name] for name in saved.settings}
    assert saved.max_tokens == 77
    assert saved.is_plain("feature-extraction")
