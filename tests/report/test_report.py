"""The report of a made-up study: read as text, and opened in a real headless Chromium."""

import base64
import hashlib
import itertools
import json
import time
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pandas as pd
import pytest

import synthetic
from leakgap import LeakgapError
from leakgap.__main__ import run
from leakgap.report.study_page import _differences, _inside_script
from leakgap.results import Results


class Page(HTMLParser):
    """Collects the addresses that a page refers to, and its text without scripts."""

    def __init__(self, html: str):
        super().__init__()
        self.addresses, self.tags, self.text, self._silent = [], [], [], False
        self.elements = []  # tag, attributes
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.elements.append((tag, dict(attributes)))
        self.addresses += [value for name, value in attributes if name in ("src", "href", "data", "action")]
        self._silent = tag in ("script", "style")

    def handle_endtag(self, tag):
        self._silent = False

    def handle_data(self, data):
        if not self._silent:
            self.text.append(data)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study with its report in a working directory of its own."""
    study = synthetic.study(techniques=["none", "policy"], steps=[5, 30])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("report"))
        synthetic.write_study(study)
        synthetic.write_claims(study)
        run("figures", study)
        run("tables", study)
        run("report", study)
        yield study


@pytest.fixture(scope="module")
def page(study):
    return Page(Path(study.paths.report).read_text())


def script(study, name: str) -> str:
    html = Path(study.paths.report).read_text()
    return html.split(f'id="{name}"', 1)[1].split(">", 1)[1].split("</script>", 1)[0]


def test_nothing_is_loaded_from_elsewhere(study, page):
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    assert "default-src 'none'" in Path(study.paths.report).read_text()
    assert page.tags.count("script") == 3
    assert page.tags.count("html") == page.tags.count("body") == 1


def test_every_figure_table_and_claim_is_there(study, page):
    text = " ".join(" ".join(page.text).split())
    index = json.loads(Path(study.paths.figures, "index.json").read_text())
    assert page.tags.count("img") == sum("left_out" not in entry for entry in index) > 10
    assert "Left out: Effects of the techniques (the grid is not the full factorial of two or more" in text
    offered = {unquote(address.partition(",")[2]) for address in page.addresses if "text/csv" in address[:40]}
    full = [path for path in Path(study.paths.tables).glob("*.csv") if len(path.read_text().splitlines()) > 1]
    assert offered == {path.read_text() for path in full}
    assert len(full) > 8
    for verdict in ("supported", "contradicted", "undecided"):
        assert verdict in text
    assert "log ratio 3.2 (2.1 to 4.9); the interval 2.1 to 4.9 is above 1." in text
    assert "12 of pooled where step == 6" in text


def test_pictures_are_the_drawings_and_alt_texts_say_what_is_found(study, page):
    index = json.loads(Path(study.paths.figures, "index.json").read_text())
    pictures = {told["alt"]: told["src"] for tag, told in page.elements if tag == "img"}
    drawn = [entry for entry in index if "left_out" not in entry]
    assert len(pictures) == len(drawn), "no two alt texts are the same"
    for entry in drawn:
        svg = unquote(pictures[entry["alt"]].partition(",")[2])
        assert svg.split() == Path(study.paths.figures, f"{entry['name']}.svg").read_text().split()
        assert entry["alt"] != entry["caption"]
        assert any(character.isdigit() for character in entry["alt"])


def test_what_to_choose_comes_first_and_claims_after_the_results(page):
    named = [told["id"] for _, told in page.elements if "id" in told]
    assert len(named) == len(set(named))
    sections = [told["id"] for tag, told in page.elements if tag == "section"]
    assert sections[0] == "decision"
    assert sections.index("leak") < sections.index("claims") < sections.index("models")


def test_tables_have_captions_and_their_headings_a_scope(page):
    tables = page.tags.count("table")
    assert page.tags.count("caption") == tables > 8
    assert all(told.get("scope") in ("col", "row") for tag, told in page.elements if tag == "th")
    assert all(told.get("aria-label") for _, told in page.elements if told.get("role") == "region")


def test_the_model_table_holds_every_target_and_step(study):
    stored = json.loads(script(study, "model-data"))
    titles = [column["title"] for column in stored["columns"]]
    rows = pd.DataFrame(stored["rows"], columns=titles)
    rows["Technique"] = [stored["techniques"][place] for place in rows["Technique"]]
    summary = pd.read_parquet(study.paths.summary)
    wanted = summary.query("attack == 'lira-online-fixed' and attacker == 'informed'")
    assert len(rows) == len(wanted) == 2 * 8 * 2
    both = wanted.merge(rows, left_on=["technique", "mask", "step"], right_on=["Technique", "Mask", "Step"])
    assert len(both) == len(wanted)
    pd.testing.assert_series_equal(
        both["TPR at 1% FPR (%)"], (100 * both["tpr_at_0.01"]).round(2), check_names=False
    )
    assert both["TPR at 0.1% FPR (%)"].isna().all(), "undefined is null, not 0"


def test_warnings_name_what_is_undefined_or_unlike(study, page):
    text = " ".join(page.text)
    assert "The TPR at 0.1% FPR of 32 of 32 single targets is undefined" in text
    models = Results(study).models
    assert list(_differences(models)) == []
    models.loc[0, "device"] = "NVIDIA H100"
    assert list(_differences(models)) == [
        f"The models were trained on different devices: cpu ({len(models) - 1} models), NVIDIA H100 (1 models)."
    ]


def test_text_is_text(study, monkeypatch):
    path = Path(study.paths.claims)
    before = path.read_text()
    claims = json.loads(before)
    claims[0]["statement"] = "<img src=x> & `none`"
    try:
        path.write_text(json.dumps(claims))
        run("report", study)
        html = Path(study.paths.report).read_text()
    finally:
        path.write_text(before)
        run("report", study)
    assert "&lt;img src=x&gt; &amp; <code>none</code>" in html


def test_two_designs_stand_side_by_side_and_one_counts(study):
    path = Path(study.paths.claims)
    before = path.read_text()
    claims = json.loads(before)
    others = [claim | {"design": "replicates", "verdict": "undecided", "value": 1.2} for claim in claims]
    try:
        path.write_text(json.dumps(claims + others))
        run("report", study)
        page = Page(Path(study.paths.report).read_text())
    finally:
        path.write_text(before)
        run("report", study)
    text = " ".join(" ".join(page.text).split())
    assert "leave-one-out (counts) replicates" in text
    assert "1. Claim number 1 supported 3.2 (2.1 to 4.9) undecided 1.2 (2.1 to 4.9)" in text
    assert text.count("the two designs differ") == 2
    assert "This study can't judge: 3. Claim number 3: undecided" in text


def test_the_policy_names_the_pages_own_script_alone(study):
    html = Path(study.paths.report).read_text(encoding="utf-8")
    own = html.split('<script type="module">')[1].split("</script>")[0]
    policy = html.split('http-equiv="Content-Security-Policy" content="')[1].split('"')[0]
    allowed = policy.split("script-src ")[1].split(";")[0].split()
    digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
    assert allowed == [f"'sha256-{digest}'", "blob:"]


def test_a_script_element_is_not_ended_by_its_own_text():
    code = 'a("</script>");b(/<!--x/);c("<SCRIPT>")'
    inside = _inside_script(code)
    assert "<" not in inside
    assert inside.replace("\\x3c", "<") == code


@pytest.mark.parametrize(
    ("part", "message"),
    [("claims.json", "run claims first"), ("figures", "run figures first"), ("tables", "run tables first")],
)
def test_a_missing_stage_is_one_sentence(study, part, message):
    path = Path(study.paths.root, part)
    aside = path.rename(path.with_name("aside"))
    try:
        with pytest.raises(LeakgapError, match=message):
            run("report", study)
    finally:
        aside.rename(path)


# --- in a real browser


def opened(browser, study, width: int = 1366):
    """The report, once its tables stand."""
    for log in ("browser", "performance"):
        browser.get_log(log)  # forgets what was before
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    browser.get(Path(study.paths.report).resolve().as_uri())
    for _ in range(300):
        if browser.execute_script("return document.documentElement.dataset.ready") == "yes":
            return browser
        time.sleep(0.1)
    raise AssertionError(f"the tables never stood: {browser.get_log('browser')}")


def shown(browser, column: int) -> list[str]:
    return browser.execute_script(
        "const rows = [...document.querySelectorAll('#model-table tbody tr')];"
        "return rows.map(row => row.cells[arguments[0]].innerText)",
        column,
    )


def soon(condition) -> None:
    """The table answers a click or a key when the browser comes round to it."""
    for _ in range(100):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("not within ten seconds")


@pytest.mark.browser
@pytest.mark.parametrize("width", [1366, 390])
def test_opens_clean_with_every_figure_visible(browser, study, width):
    opened(browser, study, width)
    sizes = browser.execute_script(
        "return Promise.all([...document.images].map(i => i.decode().then(() => [i.naturalWidth, i.clientWidth])))"
    )
    assert len(sizes) > 10
    assert all(natural > 200 and drawn > 200 for natural, drawn in sizes)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.get_log("browser") == []
    log = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [message["params"] for message in log if message["method"] == "Network.requestWillBeSent"]
    addresses = [each["request"]["url"] for each in asked if each["documentURL"].startswith("file:")]
    assert addresses, "the log holds at least the page itself"
    assert {address.partition(":")[0] for address in addresses} <= {"file", "data", "blob"}


@pytest.mark.browser
@pytest.mark.parametrize("escaped", [True, False])
def test_a_techniques_name_runs_no_script(browser, study, escaped):
    """Neither in the table, which shows it as text, nor, if it came to be HTML, past the page's policy."""
    name = "<img src=x onerror=document.title=1>"
    path = Path(study.paths.report)
    before = path.read_text(encoding="utf-8")
    if escaped:
        tampered = before.replace('["none",', json.dumps([name])[:-1].replace("<", "\\u003c") + ",")
    else:
        tampered = before.replace("<h2>Models</h2>", f"<h2>Models</h2>{name}")
    assert tampered != before
    try:
        path.write_text(tampered, encoding="utf-8")
        opened(browser, study)
        time.sleep(1)
        assert browser.title != "1"
        assert (name in shown(browser, 0)) == escaped
    finally:
        path.write_text(before, encoding="utf-8")


@pytest.mark.browser
@pytest.mark.parametrize("width", [1366, 390])
def test_nothing_is_off_the_screen_and_what_is_wider_says_so(browser, study, width):
    opened(browser, study, width)
    browser.execute_script("for (const fold of document.querySelectorAll('details')) fold.open = true")
    off = browser.execute_script(
        "const out = [];"
        "for (const e of document.querySelectorAll('body *')) {"
        "  const box = e.getBoundingClientRect();"
        "  const off = box.width && (box.right > innerWidth + 1 || box.left < -1);"
        "  if (off && !e.parentElement.closest('.scroll')) out.push(e.outerHTML.slice(0, 80)) }"
        "return out"
    )
    assert off == []
    cued = (
        "return [...document.querySelectorAll('.scroll')].filter(e => e.offsetParent).every("
        "e => (e.scrollWidth > e.clientWidth + 2) === e.parentElement.classList.contains('more'))"
    )
    soon(lambda: browser.execute_script(cued))
    hidden = (
        "return [...document.querySelectorAll('main *')].filter(e => getComputedStyle(e).overflowX !== 'visible' "
        "&& e.scrollWidth > e.clientWidth + 2 && !e.classList.contains('scroll') && e.tagName !== 'PRE').length"
    )
    assert browser.execute_script(hidden) == 0, "no other element scrolls or cuts"
    if width == 390:
        assert browser.execute_script("return document.querySelectorAll('.more').length") > 10


@pytest.mark.browser
def test_headings_descend_by_one(browser, study):
    """A heading for every figure and table, no level skipped, all under one h1."""
    opened(browser, study)
    levels = browser.execute_script(
        "return [...document.querySelectorAll('h1,h2,h3,h4')].map(e => +e.tagName[1])"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    bare = browser.execute_script(
        "const own = e => e.closest('details')?.querySelector('h4') || e.previousElementSibling;"
        "const named = e => /H[34]/.test(own(e)?.tagName) || e.querySelector('h3');"
        "return [...document.querySelectorAll('figure, .table')].filter(e => !named(e)).map(e => e.id)"
    )
    assert bare == []


@pytest.mark.browser
def test_models_are_sorted_by_a_click(browser, study):
    from selenium.webdriver.common.by import By

    opened(browser, study)
    titles = [each.text for each in browser.find_elements(By.CSS_SELECTOR, "#model-table thead th")]
    column = next(place for place, title in enumerate(titles) if title.startswith("TPR at 1%"))
    heading = browser.find_elements(By.CSS_SELECTOR, "#model-table thead th .dt-column-title")[column]
    best = pd.read_parquet(study.paths.summary).query(
        "attack == 'lira-online-fixed' and attacker == 'informed'"
    )
    best = (100 * best["tpr_at_0.01"]).sort_values()
    browser.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", heading)
    for expected in (best, best[::-1]):
        heading.click()
        wanted = list(expected[:15].round(2))
        soon(lambda wanted=wanted: [float(value) for value in shown(browser, column)] == wanted)


@pytest.mark.browser
def test_models_are_filtered_by_search_and_by_column(browser, study):
    from selenium.webdriver.common.by import By

    opened(browser, study)
    search = browser.find_element(By.CSS_SELECTOR, "#models input[type=search]")
    search.send_keys("policy")
    soon(lambda: set(shown(browser, 0)) == {"policy"})
    search.clear()
    search.send_keys("no such technique")
    soon(lambda: "No matching records" in browser.find_element(By.ID, "model-table").text)
    opened(browser, study)
    menus = browser.find_elements(By.CSS_SELECTOR, "#model-table thead th .dtcc-button_dropdown")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", menus[2])
    menus[2].click()  # step
    browser.find_element(By.CSS_SELECTOR, ".dtcc-dropdown input").send_keys("2")
    soon(lambda: set(shown(browser, 2)) == {"2"})


@pytest.mark.browser
def test_details_open_and_the_page_prints(browser, study, tmp_path):
    opened(browser, study)
    how = (
        "const d = document.querySelector('.claim details'); d.open = true; return d.children[1].offsetHeight"
    )
    assert browser.execute_script(how) > 50
    printed = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"])
    assert printed.startswith(b"%PDF-")
    assert printed.count(b"/Type /Page\n") > 5
