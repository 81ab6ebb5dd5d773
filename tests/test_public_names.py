"""Public names of the packages are imported when first used, and each of them exists."""

from __future__ import annotations

import importlib
import subprocess
import sys
from importlib import metadata

import pytest

import attribution
import coterie
import flows.store
import training
from attribution import estimators

PACKAGES = ["attribution", "attribution.estimators", "coterie"]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_can_be_imported(package: str) -> None:
    module = importlib.import_module(package)
    assert module.__all__ == sorted(set(module.__all__)) == dir(module)
    for name in module.__all__:
        assert getattr(module, name) is not None


@pytest.mark.parametrize("package", PACKAGES)
def test_a_name_that_does_not_exist_is_an_attribute_error(package: str) -> None:
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'Proxyspex'"):
        _ = importlib.import_module(package).Proxyspex


def test_every_estimator_is_exported_by_both_packages() -> None:
    assert set(estimators.__all__) < set(attribution.__all__)
    assert all(getattr(estimators, name) is getattr(attribution, name) for name in estimators.__all__)


@pytest.mark.parametrize(
    ("earlier", "name"),
    [("find_clusters", "find_copies"), ("ClusterSearch", "CopySearch"), ("FoundCluster", "CopyGroup")],
)
def test_earlier_names_of_the_search_for_copies_are_the_same_objects(earlier: str, name: str) -> None:
    assert getattr(attribution, earlier) is getattr(attribution, name)


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_package_imports_none_of_its_names(package: str) -> None:
    code = f"import {package}, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    loaded = {name for name in done.stdout.split() if name.split(".")[0] in {"attribution", "training", "flows"}}
    assert loaded - {package} == {"attribution", "attribution.lazy"} - {package}


def test_coterie_has_the_version_it_was_installed_with() -> None:
    assert coterie.__version__ == metadata.version("coterie")


@pytest.mark.parametrize(
    "name", ["ProxySPEX", "Datamodel", "Campaign", "load_dataset", "sample_masks", "retrain", "RECIPES", "Recipe"]
)
def test_coterie_exports_the_same_objects_as_its_packages(name: str) -> None:
    homes = [home for home in (attribution, training, flows.store) if name in home.__all__]
    assert [getattr(home, name) for home in homes] == [getattr(coterie, name)]
