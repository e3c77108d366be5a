//! Chromium without a window, driven through its DevTools protocol on a pipe.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

/// A browser with one page. It needs `chromium` on the path and nothing from the network.
pub(super) struct Browser {
    process: Child,
    commands: Option<ChildStdin>,
    replies: BufReader<ChildStdout>,
    session: String,
    number: u64,
    events: Vec<Value>,
    _profile: tempfile::TempDir,
}

impl Browser {
    #[expect(clippy::disallowed_methods, reason = "the browser that judges the page is a program")]
    pub(super) fn start() -> Self {
        let profile = tempfile::tempdir().unwrap();
        // The protocol is spoken on the file descriptors 3 and 4.
        let line = "exec chromium --headless --no-sandbox --disable-gpu --hide-scrollbars \
                    --disable-background-networking --disable-dev-shm-usage --no-first-run --lang=en-GB \
                    --user-data-dir=\"$0\" --remote-debugging-pipe about:blank 3<&0 4>&1 </dev/null >/dev/null 2>&1";
        let mut process = Command::new("sh")
            .args(["-c", line])
            .arg(profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let commands = process.stdin.take();
        let replies = BufReader::new(process.stdout.take().unwrap());
        let mut browser = Self {
            process,
            commands,
            replies,
            session: String::new(),
            number: 0,
            events: Vec::new(),
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", &json!({"url": "about:blank"}))["targetId"].clone();
        let attached = browser.call("Target.attachToTarget", &json!({"targetId": target, "flatten": true}));
        browser.session = attached["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page", "Runtime", "Network", "Log"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        browser.size(1280, 900);
        browser
    }

    /// Calls a method of the protocol.
    pub(super) fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.number += 1;
        let mut message = json!({"id": self.number, "method": method, "params": parameters});
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        let mut bytes = serde_json::to_vec(&message).unwrap();
        bytes.push(0);
        let commands = self.commands.as_mut().unwrap();
        commands.write_all(&bytes).unwrap();
        commands.flush().unwrap();
        loop {
            let reply = self.read();
            if reply["id"] == self.number {
                assert!(reply["error"].is_null(), "{method}: {}", reply["error"]);
                return reply["result"].clone();
            }
            self.events.push(reply);
        }
    }

    fn read(&mut self) -> Value {
        let mut bytes = Vec::new();
        self.replies.read_until(0, &mut bytes).unwrap();
        assert_eq!(bytes.pop(), Some(0), "chromium has ended; is Debian's package `chromium` installed?");
        serde_json::from_slice(&bytes).unwrap()
    }

    fn wait_for(&mut self, event: &str) {
        while !self.events.iter().any(|known| known["method"] == event) {
            let next = self.read();
            self.events.push(next);
        }
    }

    /// Opens a page and waits until it is loaded. What was seen before is forgotten.
    pub(super) fn open(&mut self, file: &Path, hash: &str) {
        self.call("Page.navigate", &json!({"url": "about:blank"}));
        self.events.clear();
        self.call("Page.navigate", &json!({"url": format!("file://{}{hash}", file.display())}));
        // The empty page may report its own load late.
        let is_loaded = json!({"expression": "location.protocol + document.readyState", "returnByValue": true});
        loop {
            self.wait_for("Page.loadEventFired");
            self.events.retain(|event| event["method"] != "Page.loadEventFired");
            if self.call("Runtime.evaluate", &is_loaded)["result"]["value"] == "file:complete" {
                return;
            }
        }
    }

    /// The value of an expression in the page.
    pub(super) fn value(&mut self, expression: &str) -> Value {
        let parameters = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.call("Runtime.evaluate", &parameters);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }

    /// A text in the page.
    pub(super) fn text(&mut self, expression: &str) -> String {
        self.value(expression).as_str().map(str::to_owned).unwrap_or_default()
    }

    /// The texts of the elements that a person can see.
    pub(super) fn seen(&mut self, selector: &str) -> Vec<String> {
        let list = self.value(&format!(
            "[...document.querySelectorAll({selector:?})].filter((e) => e.checkVisibility()).map((e) => e.innerText.trim())"
        ));
        serde_json::from_value(list).unwrap()
    }

    /// Presses a key.
    pub(super) fn press(&mut self, key: &str) {
        let codes = [
            ("Tab", 9),
            ("Enter", 13),
            ("Escape", 27),
            ("End", 35),
            ("Home", 36),
            ("ArrowLeft", 37),
            ("ArrowRight", 39),
            (" ", 32),
        ];
        let code = codes.iter().find(|(name, _)| *name == key).unwrap().1;
        let text = match key {
            "Enter" => "\r",
            " " => " ",
            _ => "",
        };
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code});
            if kind == "keyDown" && !text.is_empty() {
                event["text"] = json!(text);
            }
            self.call("Input.dispatchKeyEvent", &event);
        }
    }

    /// Types into the search field.
    pub(super) fn search(&mut self, text: &str) {
        self.value("document.querySelector('#q').focus(); document.querySelector('#q').select()");
        self.press_text(text);
    }

    fn press_text(&mut self, text: &str) {
        if text.is_empty() {
            self.value("document.execCommand('delete')");
        } else {
            self.call("Input.insertText", &json!({"text": text}));
        }
    }

    /// Clicks an element.
    pub(super) fn click(&mut self, selector: &str) {
        self.value(&format!("document.querySelector({selector:?}).click()"));
    }

    /// Sets the size of the window.
    pub(super) fn size(&mut self, width: u32, height: u32) {
        self.call(
            "Emulation.setDeviceMetricsOverride",
            &json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}),
        );
    }

    /// Makes the pages opened from now on believe that it is another time.
    pub(super) fn set_time(&mut self, instant: &str) {
        let source = format!("Date.now = () => Date.parse({instant:?});");
        self.call("Page.addScriptToEvaluateOnNewDocument", &json!({"source": source}));
    }

    /// Addresses that the page asked for, but for itself.
    pub(super) fn requests(&mut self) -> Vec<String> {
        self.value("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))");
        let asked = self.events.iter().filter(|event| event["method"] == "Network.requestWillBeSent");
        let addresses = asked.filter_map(|event| event["params"]["request"]["url"].as_str());
        let outward = addresses.filter(|address| !address.starts_with("data:") && !address.starts_with("file://"));
        outward.map(str::to_owned).collect()
    }

    /// What the page complained about: exceptions, and what its policy refused.
    pub(super) fn complaints(&mut self) -> Vec<String> {
        self.value("1");
        let wrong = ["Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled"];
        let complaints = self.events.iter().filter(|event| wrong.iter().any(|name| event["method"] == *name));
        complaints.map(|event| event["params"].to_string()).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Without its pipe the browser ends.
        drop(self.commands.take());
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
