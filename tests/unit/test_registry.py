from __future__ import annotations

import pytest

from nunatak import registry
from nunatak.errors import ConfigError
from nunatak.registry import DEGRADE, Registry

ALL = [value for value in vars(registry).values() if isinstance(value, Registry)]


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.kind)
def test_every_registered_name_resolves_to_something_callable(kind: Registry) -> None:
    for name in kind.table:
        assert callable(kind.resolve(name))


def test_a_wrong_name_lists_the_right_ones() -> None:
    with pytest.raises(
        ConfigError,
        match=r"unknown degrade 'blockmean'(.|\n)*block_mean, identity, pair(.|\n)*did you mean",
    ):
        DEGRADE.resolve("blockmean")


def test_wrong_arguments_are_found_without_importing() -> None:
    DEGRADE.check("block_mean", {"min_valid": 1})
    with pytest.raises(ConfigError, match=r"no argument 'valid'(.|\n)*min_valid"):
        DEGRADE.check("block_mean", {"valid": 1})
    with pytest.raises(ConfigError, match=r"min_valid is 'half'(.|\n)*float"):
        DEGRADE.check("block_mean", {"min_valid": "half"})
    with pytest.raises(ConfigError, match="lacks size"):
        registry.SPLITS.check("squares", {})


def test_an_operation_of_the_users_own_is_named_by_module() -> None:
    registry.MODELS.check("tests.identity:Identity", {})
    with pytest.raises(ConfigError, match="no module 'nowhere'"):
        registry.MODELS.check("nowhere:Model", {})
    with pytest.raises(ConfigError, match="defines no 'Missing'"):
        registry.MODELS.check("tests.identity:Missing", {})
