"""The public interface is what `from leakgap import ...` gives, and importing leakgap alone imports none of it."""

import subprocess
import sys

import pytest

import leakgap


@pytest.mark.parametrize("name", leakgap.__all__)
def test_every_public_name_is_there_and_documented(name: str):
    assert getattr(leakgap, name).__doc__
    assert name in dir(leakgap)


def test_other_names_are_not():
    with pytest.raises(AttributeError, match="has no attribute 'audit_modle'"):
        leakgap.audit_modle  # noqa: B018
    with pytest.raises(ImportError):
        exec("from leakgap import nothing")


def test_importing_leakgap_is_light():
    code = "import leakgap, sys; print({'numpy', 'torch', 'pandas'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"
