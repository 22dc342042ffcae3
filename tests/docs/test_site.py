"""The documentation: links resolve on GitHub and on the site, which builds strictly and needs nobody else's."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

import leakgap
from leakgap.attacks import ATTACKS
from leakgap.attacks.listing import markdown
from leakgap.study import Study

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!`)\]\(([^)\s]+)\)")


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """As GitHub makes them: lower case, punctuation gone, blanks to hyphens."""
    headings = re.findall(r"^#+ +(.*)$", prose(page), re.MULTILINE)
    plain = [re.sub(r"\[(.*?)\]\(.*?\)|`", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in plain}


def relative_links() -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        for target in LINK.findall(prose(page)):
            if not target.startswith(("http://", "https://", "mailto:")):
                yield page, target


def test_relative_links_and_their_anchors_resolve():
    links = list(relative_links())
    assert len(links) > 50
    broken = []
    for page, target in links:
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        if not found.exists() or (anchor and anchor not in anchors(found)):
            broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert broken == []


def test_lists_and_tables_begin_after_an_empty_line():
    """The site's Markdown takes them for the paragraph's next line, GitHub's doesn't."""
    item = re.compile(r"([-*]|\d+\.) |\|")
    run_on = []
    for page in PAGES:
        lines = prose(page).splitlines()
        for before, line in zip(["", *lines], lines, strict=False):
            starts = item.match(line) and not (item.match(before) or before.startswith((" ", "#")))
            if starts and before.strip():
                run_on.append(f"{page.relative_to(ROOT)}: {line}")
    assert run_on == []


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    run = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", out],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return out


def test_site_loads_nothing_from_elsewhere(site: Path):
    """Scripts, styles, fonts, images and frames are its own; links may lead out."""
    loaded = re.compile(
        r"<(?:script|img|iframe|source)[^>]+src=\"(?:https?:)?//[^>]*|<link[^>]+href=\"(?:https?:)?//[^>]*"
    )
    pages = list(site.rglob("index.html"))
    assert len(pages) > 12
    assert [found for page in pages for found in loaded.findall(page.read_text(encoding="utf-8"))] == []


def test_library_page_shows_every_public_name_with_its_example(site: Path):
    page = (site / "reference/index.html").read_text(encoding="utf-8")
    parts = re.split(r'id="leakgap\.', page)[1:]
    shown = {part.partition('"')[0]: part for part in parts}
    assert set(leakgap.__all__) <= set(shown)
    for name in leakgap.__all__:
        error = isinstance(getattr(leakgap, name), type) and issubclass(getattr(leakgap, name), Exception)
        assert error or "&gt;&gt;&gt;" in shown[name], name


def test_attack_list_is_the_registrys():
    page = (ROOT / "docs/attack-list.md").read_text(encoding="utf-8")
    assert markdown() in page, "run: python -m leakgap attacks"
    assert f"{len(ATTACKS)} attacks" in page
    for other in ("README.md", "docs/peers.md"):
        assert f"| {len(ATTACKS)}, " in (ROOT / other).read_text(encoding="utf-8")
    when = page.partition("## When to use which")[2].partition("## Papers")[0]
    assert {name for name in ATTACKS if f"`{name}`" not in when} == set()
    papers = page.partition("## Papers")[2]
    assert {attack.source for attack in ATTACKS.values() if f"| {attack.source} |" not in papers} == set()


def example(page: str, language: str, containing: str) -> str:
    text = (ROOT / page).read_text(encoding="utf-8")
    (found,) = [
        code for code in re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL) if containing in code
    ]
    return found


@pytest.mark.parametrize("page", ["README.md", "docs/start.md"])
def test_study_files_are_valid(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("photos/cats").mkdir(parents=True)
    study = Study.load(yaml.safe_load(example(page, "yaml", "name:")))
    assert study.grid.masks == 16


def test_screenshot_is_small():
    assert (ROOT / "docs/report.png").stat().st_size < 300_000


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_first_audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    """The example of docs/start.md, and what it says that it prints, up to another machine's rounding; README's."""
    monkeypatch.chdir(tmp_path)
    exec(example("docs/start.md", "python", "MLPClassifier"), {})
    files = sorted(str(path) for path in Path().glob("shadow-*.parquet"))
    from leakgap.__main__ import main

    assert main(["audit", "target.parquet", "--shadows", *files, "--out", "audit"]) == 0
    said = re.search(r"recognizes (\S+)% \[", capsys.readouterr().out)
    told = re.search(r"recognizes (\S+)% \[", (ROOT / "docs/start.md").read_text(encoding="utf-8"))
    assert said
    assert told
    np.testing.assert_allclose(float(said[1]), float(told[1]), rtol=0.3)
    exec(example("docs/start.md", "python", "audit_model"), {})
    exec(example("README.md", "python", "audit_model"), {})
