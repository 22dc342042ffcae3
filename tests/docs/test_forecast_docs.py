"""The examples of docs/forecast.md, executed; and the studies that it names."""

import re
import shlex
from pathlib import Path

import pytest

from leakgap.__main__ import main
from leakgap.jobs.forecast import published

TEXT = (Path(__file__).parents[2] / "docs/forecast.md").read_text()
EXAMPLES = re.findall(r"```sh\nleakgap (forecast [^\n]*)\n```\n\n```\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize(("command", "printed"), EXAMPLES, ids=[command for command, _ in EXAMPLES])
def test_the_command_prints_what_the_page_says(command, printed, capsys):
    assert main(shlex.split(command)) == 0
    assert capsys.readouterr().out == printed


def test_the_page_lists_what_comes_with_leakgap():
    assert len(EXAMPLES) == 2
    table = published()
    for study, part in table.groupby("study"):
        data, variants = part["data"].iloc[0], part["technique"].nunique()
        models = part.groupby("technique")["mask"].nunique().iloc[0]
        assert re.search(
            rf"\| .*{re.escape(str(study))}.* \| {re.escape(data)}.* \| {variants} × {models} \|", TEXT
        ), study
