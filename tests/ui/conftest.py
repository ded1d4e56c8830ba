"""A real node with secrets, and a real browser without a window."""

import json
import os
import pathlib
import re
import signal
import subprocess
import time
import urllib.request

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERO = pathlib.Path(os.environ.get("HERO", ROOT / "target" / "debug" / "hero"))
PICTURES = os.environ.get("HERO_UI_PICTURES")
ADMIN, USER = "admin-of-the-tests", "user-of-the-tests"
PATIENCE = 30


class Node:
    """A node of `hero up`, with an admin secret and a user secret."""

    def __init__(self, folder, **settings):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HERO_")}
        environment |= {"HERO_LAUNCHER__ADMIN__LISTEN": "tcp://127.0.0.1:0", **settings}
        command = [HERO, "up", "--private-redis", "--port", "0", "--data-dir", folder / "data", "--explorer", "--admin-secret", ADMIN, "--user-secret", USER]
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        said = ""
        for line in self.process.stdout:
            said += line
            if found := re.search(r"JSON-RPC.*?(http://\S+)", line):
                self.url = found[1].rstrip("/")
                break
        else:
            raise AssertionError(f"the node ended: {said}")

    def call(self, method, *params, key=ADMIN, place=""):
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}).encode()
        headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
        with urllib.request.urlopen(urllib.request.Request(f"{self.url}/{place}", body, headers), timeout=60) as answer:
            answer = json.load(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def submit(self, script, script_type="Python", **more):
        return self.call("submit_job", {"script": script, "script_type": script_type, **more})

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)


class Page:
    """What a person does in the browser."""

    def __init__(self, node, driver):
        self.node, self.driver = node, driver

    def open(self, path="/ui"):
        self.driver.get(self.node.url + path)
        return self

    def sign_in(self, key=ADMIN, circle=""):
        self.open("/ui/signin")
        self.find("#by-key input[name=key]").send_keys(key)
        self.find("#by-key input[name=circle]").send_keys(circle)
        self.find("#by-key button").click()
        self.until(lambda: self.driver.current_url == f"{self.node.url}/ui" and self.driver.find_elements(By.ID, "name"), "signed in")
        return self

    def until(self, condition, what=""):
        return WebDriverWait(self.driver, PATIENCE, poll_frequency=0.05, ignored_exceptions=IGNORED).until(
            lambda _: condition(), f"{what}\n{self.text('body')}"
        )

    def find(self, selector):
        return self.until(lambda: next((it for it in self.driver.find_elements(By.CSS_SELECTOR, selector) if it.is_displayed()), None), selector)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector="main"):
        found = self.all(selector)
        return found[0].text if found else ""

    def shows(self, words, selector="main"):
        self.until(lambda: words in self.text(selector), f"waits for {words!r} in {selector}")
        return self

    def press(self, words, within="main"):
        def button():
            buttons = self.driver.find_elements(By.CSS_SELECTOR, f"{within} button")
            return next((it for it in buttons if it.text == words and it.is_displayed()), None)

        self.until(lambda: (it := button()) and (it.click() or True), f"a button {words}")
        return self

    def picture(self, name, width=1200, height=900):
        """A screenshot for docs/ui, when pictures are asked for."""
        if not PICTURES:
            return
        self.driver.set_window_size(width, height)
        time.sleep(0.4)  # The page's own layout after the change of size; no condition tells when it is done.
        self.driver.save_screenshot(str(pathlib.Path(PICTURES) / f"{name}.png"))
        self.driver.set_window_size(1200, 900)


def ignored():
    from selenium.common import exceptions

    return (
        exceptions.StaleElementReferenceException,
        exceptions.ElementNotInteractableException,
        exceptions.ElementClickInterceptedException,
        exceptions.NoSuchElementException,
    )


IGNORED = ignored()


@pytest.fixture(scope="session")
def node(tmp_path_factory):
    node = Node(tmp_path_factory.mktemp("node"))
    yield node
    node.stop()


@pytest.fixture(scope="session")
def driver():
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for argument in ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1200,900", "--force-color-profile=srgb"]:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    yield driver
    driver.quit()


@pytest.fixture
def page(node, driver):
    """A fresh tab of somebody who is not signed in. What the browser complains of afterwards is a failure."""
    driver.switch_to.new_window("tab")
    fresh = driver.current_window_handle
    for handle in driver.window_handles:
        if handle != fresh:
            driver.switch_to.window(handle)
            driver.close()
    driver.switch_to.window(fresh)
    driver.get_log("browser")
    driver.get_log("performance")
    page = Page(node, driver)
    yield page
    # A refusal of a call is told by its status; nothing else may be complained of, a breach of the policy least of all.
    complaints = [it["message"] for it in driver.get_log("browser") if it["level"] == "SEVERE" and "status of 4" not in it["message"]]
    assert not complaints, complaints
