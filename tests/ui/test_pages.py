"""Every page opens, shows what is there, and asks nobody else."""

import json
import re

import pytest

from conftest import USER


def test_the_overview_has_its_figures_and_follows_them(node, page):
    failed = node.submit('throw "out of flour"', "OSIS")
    node.call("wait_job", failed)
    page.sign_in().open("/ui").shows("out of flour")
    assert "Alive" in page.text() and "append-only file" in page.text()
    kept = node.call("stats")["jobs"]["kept"]
    page.until(lambda: figure(page, "Kept") == kept, "the number of jobs")
    for number in range(5):
        node.submit(f"{number}", "OSIS")
    page.until(lambda: figure(page, "Kept") == kept + 5, "it follows without being asked")
    chart = page.find("img.chart")
    page.until(lambda: page.driver.execute_script("return arguments[0].naturalWidth", page.find("img.chart")) > 0, "the chart is drawn")
    assert "Jobs in and out" in chart.get_attribute("alt")
    page.picture("overview")
    page.press("Retry")
    page.until(lambda: node.call("get_job", failed)["attempt"] == 2, "started again")


def figure(page, name):
    for card in page.all(".card"):
        lines = card.text.split("\n")
        if lines[0] == name:
            return int(lines[1].replace(",", ""))
    return None


@pytest.mark.parametrize(
    ("path", "words", "picture"),
    [
        ("/ui/jobs", "Output or error", "jobs"),
        ("/ui/runners", "alive", "runners"),
        ("/ui/nodes", "This node", "nodes"),
        ("/ui/schedules", "0 3 * * *", "schedules"),
        ("/ui/access", "kitchen-key", "access"),
        ("/ui/audit", "create_key", "audit"),
        ("/ui/try", "Ctrl-Enter", "try"),
    ],
)
def test_each_page_opens(node, page, path, words, picture):
    if not node.call("list_schedules"):
        node.call("create_schedule", {"cron": "0 3 * * *", "job": {"script": "40 + 2", "script_type": "OSIS"}})
    if not node.call("list_keys"):
        node.call("create_key", "kitchen-key", "user")
    page.sign_in().open(path).shows(words)
    assert page.all("nav a[aria-current=page]")
    page.picture(picture)


def test_pages_are_reached_by_keyboard_and_by_link(page):
    page.sign_in()
    for letter, path in [("j", "/ui/jobs"), ("r", "/ui/runners"), ("o", "/ui")]:
        page.driver.find_element("css selector", "body").send_keys("g", letter)
        page.until(lambda path=path: page.driver.current_url == page.node.url + path, path)
    page.driver.find_element("link text", "Schedules").click()
    page.until(lambda: page.driver.current_url.endswith("/ui/schedules"))
    page.driver.back()
    page.shows("Queues")


def test_filters_are_in_the_address_and_pages_follow(node, page):
    for number in range(30):
        node.submit(f'"{number}"', "OSIS", context_id="paging")
    page.sign_in().open("/ui/jobs?context_id=paging&script_type=OSIS")
    page.until(lambda: len(page.all("tbody tr")) == 25, "a page")
    first = {it.text for it in page.all("tbody td.id")}
    page.find("#older").click()
    page.until(lambda: len(page.all("tbody tr")) == 5, "the rest")
    assert not first & {it.text for it in page.all("tbody td.id")}
    page.open("/ui/jobs?context_id=paging&status=Error&nonsense=1&limit=1000000").shows("No jobs match")


def test_many_jobs_are_stopped_and_started_again(node, page):
    ids = [node.submit("import time\ntime.sleep(600)", context_id="bulk") for _ in range(3)]
    page.sign_in().open("/ui/jobs?context_id=bulk")
    page.until(lambda: len(page.all("tbody tr")) == 3)
    page.until(lambda: [box.click() for box in page.all("thead input")] and len(page.all("tbody input:checked")) == 3, "all are chosen")
    page.press("Stop chosen").press("Stop", within="dialog")
    page.until(lambda: page.text().count("stopped") >= 3, "all are stopped")
    page.until(lambda: [box.click() for box in page.all("thead input")] and len(page.all("tbody input:checked")) == 3, "all are chosen")
    page.press("Retry chosen").press("Start again", within="dialog")
    page.until(lambda: all(node.call("get_job", id)["error_kind"] is None for id in ids), "all are started again")
    for id in ids:
        node.call("stop_job", id)


def test_runners_are_drained_and_take_jobs_again(node, page):
    page.sign_in().open("/ui/runners").shows("alive")
    page.press("Drain").shows("draining").press("Take jobs again")
    page.until(lambda: "draining" not in page.text())


def test_a_key_is_made_shown_once_and_forgotten(node, page):
    page.sign_in().open("/ui/access")
    page.find("form[aria-label='New key'] input[name=name]").send_keys("oven")
    page.press("Make the key")
    secret = page.find("#secret").text
    assert node.call("whoami", key=secret) == "oven (user)"
    page.press("I have it")
    assert secret not in page.driver.page_source
    page.until(lambda: "oven" in page.text("#live-part"))
    page.find("[data-focus='forget oven']").click()
    page.press("Forget", within="dialog")
    page.until(lambda: "oven" not in page.text("#live-part"), "it is gone")


def test_a_schedule_is_made_paused_run_and_removed(node, page):
    before = {it["id"] for it in node.call("list_schedules")}
    page.sign_in().open("/ui/schedules")
    page.find("summary").click()
    page.find("input[name=cron]").send_keys("15 4 * * *")
    page.find("textarea[name=script]").send_keys("40 + 2")
    page.press("Create").shows("15 4 * * *")
    (made,) = {it["id"] for it in node.call("list_schedules")} - before
    page.find(f"[data-focus='pause {made}']").click()
    page.until(lambda: node.call("get_schedule", made)["paused"], "paused")
    page.find(f"[data-focus='run {made}']").click()
    page.shows("Timeline").shows("Finished")
    page.open("/ui/schedules")
    page.find(f"[data-focus='remove {made}']").click()
    page.press("Remove", within="dialog")
    page.until(lambda: "15 4 * * *" not in page.text("#live-part"), "removed")


def test_without_a_key_one_signs_in_and_without_admin_one_reads(node, page):
    page.open("/ui/jobs").until(lambda: page.driver.current_url.endswith("/ui/signin"))
    page.shows("Sign in").picture("signin")
    page.find("#by-key input[name=key]").send_keys("wrong")
    page.find("#by-key button").click()
    page.until(lambda: page.text("#banner"))
    page.sign_in(USER)
    assert "read-only" in page.text("#who") and "Audit" not in page.text("nav")
    running = node.submit("import time\ntime.sleep(600)")
    page.open(f"/ui/jobs/{running}").shows("Script")
    assert not page.all("main button")
    page.open("/ui/try").shows("scope admin")
    node.call("stop_job", running)
    page.press("Sign out", within="#who")
    page.until(lambda: page.driver.current_url.endswith("/ui/signin"))
    assert page.driver.execute_script("return sessionStorage.length") == 0


def test_a_signature_opens_a_circle(node, page):
    from eth_keys import keys

    owner = keys.PrivateKey(b"\x07" * 32)
    circle = owner.public_key.to_compressed_bytes().hex()
    node.call("add_circle", circle)
    page.open("/ui/signin")
    page.find("#by-signature input[name=circle]").send_keys(circle)
    page.find("#by-signature input[name=pubkey]").send_keys(circle)
    page.press("Get a line to sign")
    nonce = page.find("#nonce").text.encode()
    signed = owner.sign_msg(b"\x19Ethereum Signed Message:\n" + str(len(nonce)).encode() + nonce)
    page.find("#proof input[name=signature]").send_keys(signed.to_bytes().hex())
    page.find("#proof button").click()
    page.until(lambda: page.driver.current_url == f"{node.url}/ui" and page.all("#name"), "signed in")
    page.shows("Kept")
    assert "Redis" not in page.text(), "the store is the node's"
    assert "Nodes" not in page.text("nav")


def test_it_works_on_a_phone_in_dark_and_light(node, page):
    node.submit("40 + 2", "OSIS")
    page.sign_in()
    page.driver.set_window_size(500, 900)
    for path in ["/ui", "/ui/jobs", "/ui/runners", "/ui/try"]:
        page.open(path).find("main h1, main .cards")
        wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        page.until(lambda wide=wide: page.driver.execute_script(wide) <= 0, f"{path} fits")
    page.open("/ui/jobs").find("tbody tr")
    page.picture("phone", 420, 850)
    page.driver.set_window_size(1200, 900)
    paper = "return getComputedStyle(document.body).backgroundColor"
    before = page.driver.execute_script(paper)
    page.press("Light or dark", within="#who")
    page.until(lambda: page.driver.execute_script(paper) != before, "the paper changes")
    page.open("/ui").shows("Queues")
    assert page.driver.execute_script(paper) != before, "and stays so"
    page.picture("dark")
    page.press("Light or dark", within="#who")


def test_nothing_is_asked_of_anybody_else(node, page):
    page.sign_in()
    for path in ["/ui", "/ui/jobs", "/ui/runners", "/ui/nodes", "/ui/schedules", "/ui/access", "/ui/audit", "/ui/try"]:
        page.open(path).find("main h1, main .cards")
    asked = set()
    for entry in page.driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            asked.add(re.match(r"[a-z]+://[^/]*|[a-z]+:", message["params"]["request"]["url"])[0])
    assert asked <= {node.url, "data:"}, asked
