//! Headless Chromium, driven through chromedriver's HTTP interface. Tests are skipped, and say so, where they are missing.

mod hands;
mod keyboard;
mod looks;

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use url::Url;

use crate::harness::skipped;

pub use self::keyboard::{ENTER, SPACE};
pub use self::looks::{DRESSES, Dress, NARROWEST};

pub struct Browser {
    _driver: Child,
    session: Url,
    http: reqwest::Client,
}

impl Browser {
    /// `None`: this machine has no Chromium with its driver.
    pub async fn start() -> Option<Self> {
        let browser = Self::launch().await;
        if browser.is_none() {
            skipped("Chromium does not start (packages chromium and chromium-driver)");
        }
        browser
    }

    async fn launch() -> Option<Self> {
        let driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        let mut driver = driver.ok()?;
        let mut lines = BufReader::new(driver.stdout.take()?).lines();
        let port: u16 = loop {
            let line = lines.next_line().await.ok()??;
            if let Some((_, port)) = line.split_once("successfully on port ") {
                break port.trim_end_matches('.').parse().unwrap();
            }
        };
        let http = unread::liveperson::http_client();
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--window-size=1280,900",
        ];
        let wanted =
            json!({"capabilities": {"alwaysMatch": {"goog:chromeOptions": {"args": arguments}}}});
        let url = format!("http://127.0.0.1:{port}/session");
        let session: Value = http
            .post(&url)
            .json(&wanted)
            .send()
            .await
            .ok()?
            .json()
            .await
            .ok()?;
        let Some(id) = session["value"]["sessionId"].as_str() else {
            eprintln!("Chromium says: {session}");
            return None;
        };
        Some(Self {
            _driver: driver,
            session: format!("{url}/{id}").parse().unwrap(),
            http,
        })
    }

    /// Does a command; an error is what the driver says of it.
    async fn ask(&self, command: &str, body: Option<Value>) -> Result<Value, Value> {
        let url = format!("{}/{command}", self.session);
        let asked = match body {
            Some(body) => self.http.post(url).json(&body),
            None => self.http.get(url),
        };
        let mut answer: Value = asked.send().await.unwrap().json().await.unwrap();
        let value = answer["value"].take();
        if value.get("error").is_some() {
            Err(value)
        } else {
            Ok(value)
        }
    }

    async fn post(&self, command: &str, body: Value) -> Value {
        let done = self.ask(command, Some(body)).await;
        done.unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    async fn get(&self, command: &str) -> Value {
        let found = self.ask(command, None).await;
        found.unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    pub async fn open(&self, url: &str) {
        self.post("url", json!({ "url": url })).await;
    }

    /// The window that commands go to.
    pub async fn window(&self) -> Value {
        self.get("window").await
    }

    /// Opens another window, and sends commands there.
    pub async fn new_window(&self) -> Value {
        let opened = self.post("window/new", json!({ "type": "window" })).await;
        let window = opened["handle"].clone();
        self.switch_to(&window).await;
        window
    }

    pub async fn switch_to(&self, window: &Value) {
        self.post("window", json!({ "handle": window })).await;
    }

    /// The name by which assistive technology knows an element.
    pub async fn label(&self, selector: &str) -> Value {
        let wanted = json!({ "using": "css selector", "value": selector });
        let found = self.post("element", wanted).await;
        let element = found.as_object().and_then(|found| found.values().next());
        let element = element.and_then(Value::as_str).unwrap();
        self.get(&format!("element/{element}/computedlabel")).await
    }

    pub async fn run(&self, script: &str) -> Value {
        self.run_with(script, json!([])).await
    }

    /// Runs a script that finds its arguments, a list, in `arguments`.
    pub async fn run_with(&self, script: &str, arguments: Value) -> Value {
        self.post(
            "execute/sync",
            json!({ "script": script, "args": arguments }),
        )
        .await
    }

    /// Does a command of Chromium's own protocol.
    pub async fn command(&self, name: &str, parameters: Value) -> Value {
        let command = json!({ "cmd": name, "params": parameters });
        self.post("goog/cdp/execute", command).await
    }
}

impl Drop for Browser {
    /// Chromium outlives its driver, so it must be told to go, also by a test that has failed.
    fn drop(&mut self) {
        let session = self.session.path();
        let driver = self.session.port().unwrap_or_default();
        let told = TcpStream::connect((Ipv4Addr::LOCALHOST, driver)).and_then(|mut driver| {
            driver.set_read_timeout(Some(Duration::from_secs(5)))?;
            write!(
                driver,
                "DELETE {session} HTTP/1.1\r\nHost: localhost\r\n\r\n"
            )?;
            driver.read(&mut [0; 1])
        });
        if let Err(error) = told {
            eprintln!("A Chromium may be left: {error}");
        }
    }
}
