from __future__ import annotations

import tomllib
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest

from rerank.api import dialects as folder
from rerank.api.auth import PUBLIC_PATHS
from rerank.api.dialects.dialect import Dialect
from rerank.api.dialects.main import MainDialect, dialects
from rerank.api.dialects.table import DIALECTS

PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"
MODULES = [import_module(f"{folder.__name__}.{module.name}") for module in iter_modules(folder.__path__)]
OF_THE_FOLDER: dict[str, Dialect] = {
    module.__name__: module.DIALECT for module in MODULES if hasattr(module, "DIALECT")
}
BUILT_ON_OTHERS = {"rerank.api.dialects.invocations"}


def test_every_dialect_of_the_folder_is_in_the_table_or_can_be_the_main_one() -> None:
    spoken = {dialect.name for main in MainDialect for dialect in dialects(main)}
    assert {dialect.name for dialect in OF_THE_FOLDER.values()} <= spoken
    main_ones = {"rerank.api.dialects.vllm", "rerank.api.dialects.sglang"}
    in_table = OF_THE_FOLDER.keys() - BUILT_ON_OTHERS - main_ones
    assert {OF_THE_FOLDER[module].name for module in in_table} == {dialect.name for dialect in DIALECTS}


def test_the_import_contract_lists_every_dialect() -> None:
    contracts = tomllib.loads(PYPROJECT.read_text())["tool"]["importlinter"]["contracts"]
    (contract,) = [contract for contract in contracts if contract["name"] == "no dialect knows another"]
    assert set(contract["modules"]) == OF_THE_FOLDER.keys() - BUILT_ON_OTHERS


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_a_dialect_has_the_name_that_metrics_and_documentation_show(dialect: Dialect) -> None:
    assert [router.tags for router in dialect.routers] == [[dialect.name]] * len(dialect.routers)


def test_addresses_asked_before_a_key_is_sent_are_public() -> None:
    assert {"/info", "/tei/health", "/meta", "/.well-known/ready", "/v1/cluster/auth"} < PUBLIC_PATHS
