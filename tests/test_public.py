"""The public interface: declared, lazily imported, every name explained by an example that runs."""

import doctest
import importlib
import pkgutil
import subprocess
import sys
from importlib.resources import files

import numpy as np
import pytest

import leakgap
from leakgap.attacks import gives_away

MODULES = sorted(module.name for module in pkgutil.walk_packages(leakgap.__path__, "leakgap."))


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__main__")])
def test_examples_run(name: str):
    assert doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS).failed == 0


@pytest.mark.parametrize("name", leakgap.__all__)
def test_every_public_name_has_an_example(name: str):
    found = getattr(leakgap, name)
    if not isinstance(found, type) or not issubclass(found, Exception):
        assert ">>>" in found.__doc__


def test_importing_leakgap_imports_nothing_else():
    code = "import sys, leakgap; dir(leakgap); print({'numpy', 'torch', 'pandas'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = leakgap.nothing
    assert set(leakgap.__all__) <= set(dir(leakgap))


@pytest.mark.parametrize("name", sorted(set(leakgap.__all__) - {"LeakgapError", "ArgumentError"}))
def test_modules_of_public_names_declare_them(name: str):
    module = importlib.import_module(getattr(leakgap, name).__module__)
    assert name in module.__all__
    assert all(hasattr(module, each) for each in module.__all__)
    assert "np" not in module.__all__


def test_what_holds_arrays_prints_in_a_line():
    rng = np.random.default_rng(0)
    member = leakgap.balanced_masks(8, 400, seed=0)
    phi = rng.normal(2.0 * member)[..., None].astype(np.float32)
    evidence = leakgap.Evidence(
        phi, phi, member, gives_away(member, member), np.zeros(400, int), np.zeros(400, bool)
    )
    assert repr(evidence) == "Evidence(8 targets, 8 shadow models, 400 images, 1 views)"
    columns = {"record": range(400), "label": [0] * 400}
    models = [
        leakgap.Answers.of(columns | {"member": member[k], "phi": phi[k, :, 0]}, f"model {k}")
        for k in (0, 2, 4)
    ]
    assert repr(models[0]) == "Answers('model 0', phi of 400 records, 1 views)"
    audit = leakgap.audit_model(models[0], models[1:], attacks=["loss"])
    assert repr(audit) == "Audit(1 attacks on 400 records, loss leads)"


def test_types_are_there_for_who_checks_them():
    assert files("leakgap").joinpath("py.typed").is_file()
