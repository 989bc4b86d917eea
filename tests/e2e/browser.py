#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""browser.py DIR: a headless Chromium, told what to do by chromedriver, until it
is ended by SIGTERM. Its files, chromedriver's and the pids of both are below DIR.

What is wanted comes by the Unix socket DIR/browser.sock, a connection each: words
that end in NUL, then the end. The answer is a line with 0, or with 1 and then what
went wrong, and the text.

    open URL            goes there
    js EXPRESSION       its value, text as it is, else as JSON
    until EXPRESSION    the same, once it is true in the sense of JavaScript
    before SCRIPT       is run in each page from now on, before its own scripts
    click SELECTOR      the first element of that CSS selector
    type SELECTOR TEXT  as keys
    key KEY...          such as Tab, Shift+Tab, Enter, ArrowLeft, or a character
    view WIDTH HEIGHT light|dark
    shot FILE           a screenshot of the window
    complaints          the console's from warnings up, since the last time
    requests            the URLs that were asked for, since the last time

In expressions, $(SELECTOR) is the first such element, $$(SELECTOR) are all. One that
is a promise has the value that it is resolved to.
"""

import base64
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

PATIENCE_S = 60

# Nothing is asked for that a test does not open: no updates, no look-ups.
ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
    "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-default-apps",
    "--disable-extensions", "--disable-dev-shm-usage", "--no-proxy-server",
    "--password-store=basic", "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
]

KEYS = {
    "Tab": "\ue004", "Enter": "\ue007", "Shift": "\ue008", "Space": " ",
    "PageUp": "\ue00e", "PageDown": "\ue00f", "End": "\ue010", "Home": "\ue011",
    "ArrowLeft": "\ue012", "ArrowUp": "\ue013", "ArrowRight": "\ue014",
    "ArrowDown": "\ue015",
}
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # WebDriver's name for one

HELPERS = """
    const $ = (selector) => document.querySelector(selector);
    const $$ = (selector) => [...document.querySelectorAll(selector)];
"""


class Wrong(Exception):
    """What was wanted cannot be done, or did not come about."""


class Driver:
    """chromedriver, on a port that it has chosen, and its one session."""

    def __init__(self, directory):
        home = os.path.join(directory, "home")
        os.makedirs(home, exist_ok=True)
        self.process = subprocess.Popen(
            ["chromedriver", "--port=0", f"--log-path={directory}/chromedriver.log"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "HOME": home, "TMPDIR": home})
        note(directory, "chromedriver", self.process.pid)
        port = None
        for line in self.process.stdout:
            if port := re.search(r"started successfully on port (\d+)", line):
                break
        if port is None:
            raise Wrong("chromedriver does not start")
        self.peer = http.client.HTTPConnection(
            "127.0.0.1", int(port[1]), timeout=PATIENCE_S + 20)
        self.session = ""
        self.chromium = None
        answer = self.call("POST", "/session", {"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {
                "binary": shutil.which("chromium") or
                shutil.which("chromium-browser"),
                "args": [*ARGUMENTS, f"--user-data-dir={home}/profile",
                         "about:blank"],
            },
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }}})
        self.session = "/session/" + answer["sessionId"]
        self.chromium = answer["capabilities"]["goog:processID"]
        note(directory, "chromium", self.chromium)

    def call(self, method, path, body=None):
        self.peer.request(method, path, None if body is None else json.dumps(body),
                          {"Content-Type": "application/json"})
        answer = self.peer.getresponse()
        value = json.load(answer)["value"]
        if answer.status != 200:
            raise Wrong(f"{value['error']}: {value['message']}")
        return value

    def post(self, path, **body):
        return self.call("POST", self.session + path, body)

    def quit(self):
        try:
            if self.session:
                self.call("DELETE", self.session)
        except (Wrong, OSError, http.client.HTTPException):
            os.kill(self.chromium, signal.SIGKILL)  # a page that hangs
        finally:
            self.process.terminate()
            self.process.wait()


def note(directory, name, pid):
    with open(f"{directory}/{name}.pid", "w", encoding="ascii") as file:
        print(pid, file=file)


class Browser:
    """A method is a command, its arguments are the words."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, url):
        self.driver.post("/url", url=url)

    def js(self, expression):
        value = self.driver.post(
            "/execute/sync", script=f"{HELPERS} return ({expression});", args=[])
        if isinstance(value, str):
            return value
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

    def until(self, expression):
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                # What it is about may not be there yet, which is an error.
                value = self.js(f"({expression}) || null")
            except Wrong as wrong:
                value, why = "null", wrong
            else:
                why = ""
            if value != "null":
                return value
            if time.monotonic() > end:
                raise Wrong(f"never true: {expression}\n{why}\n" + self.js(
                    "`${location.href}\n${document.body.innerText}`"
                    ".slice(0, 2000)"))
            time.sleep(0.02)

    def devtools(self, command, **parameters):
        self.driver.post("/goog/cdp/execute", cmd=command, params=parameters)

    def before(self, script):
        self.devtools("Page.addScriptToEvaluateOnNewDocument", source=script)

    def find(self, selector):
        found = self.driver.post("/element", using="css selector", value=selector)
        return f"/element/{found[ELEMENT]}"

    def click(self, selector):
        self.driver.post(self.find(selector) + "/click")

    def type(self, selector, text):
        self.driver.post(self.find(selector) + "/value", text=text)

    def key(self, *names):
        steps = []
        for name in names:
            parts = [KEYS.get(part, part) for part in name.split("+")]
            steps += [{"type": "keyDown", "value": part} for part in parts]
            steps += [{"type": "keyUp", "value": part}
                      for part in reversed(parts)]
        self.driver.post("/actions", actions=[
            {"type": "key", "id": "keyboard", "actions": steps}])

    def view(self, width, height, scheme):
        self.devtools("Emulation.setDeviceMetricsOverride", width=int(width),
                      height=int(height), deviceScaleFactor=1, mobile=False)
        self.devtools("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": scheme}])

    def shot(self, file):
        picture = self.driver.call("GET", self.driver.session + "/screenshot")
        with open(file, "wb") as to:
            to.write(base64.b64decode(picture))

    def complaints(self):
        return "\n".join(
            f"{line['level']} {line['source']} {line['message']}"
            for line in self.driver.post("/se/log", type="browser")
            if line["level"] not in ("DEBUG", "INFO"))

    def requests(self):
        events = [json.loads(line["message"])["message"] for line in
                  self.driver.post("/se/log", type="performance")]
        return "\n".join(event["params"]["request"]["url"] for event in events
                         if event["method"] == "Network.requestWillBeSent")


def serve(peer, browser):
    words = b""
    while piece := peer.recv(1 << 16):
        words += piece
    name, *arguments = words.decode().split("\0")[:-1]
    try:
        text = f"0\n{getattr(browser, name)(*arguments) or ''}"
    except (Wrong, AttributeError, TypeError, OSError,
            http.client.HTTPException) as wrong:
        text = f"1\nbrowser: {name}: {wrong}"
    peer.sendall(text.encode())


def main(directory):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    driver = Driver(directory)
    try:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f"{directory}/browser.sock")
        listener.listen()
        while True:
            peer, _ = listener.accept()
            with peer:
                serve(peer, Browser(driver))
    finally:
        driver.quit()


main(*sys.argv[1:])
