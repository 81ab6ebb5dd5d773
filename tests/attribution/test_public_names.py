"""Public names of the packages are imported when first used, and each of them exists."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import attribution
from attribution import estimators

PACKAGES = ["attribution", "attribution.estimators"]


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
    code = f"import {package}, sys; print(sorted(m for m in sys.modules if m.startswith('attribution')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert set(eval(done.stdout)) == {"attribution", "attribution.lazy", package}
