//! How a page looks: in which dress it is shown, a picture of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::Browser;

/// The window and the wish of whoever looks.
#[derive(Clone, Copy, Debug)]
pub struct Dress {
    pub name: &'static str,
    pub dark: bool,
    pub width: u32,
    pub height: u32,
}

const fn dress(name: &'static str, dark: bool, width: u32, height: u32) -> Dress {
    Dress {
        name,
        dark,
        width,
        height,
    }
}

/// Light and dark, a desk and a phone.
pub const DRESSES: [Dress; 4] = [
    dress("light-desktop", false, 1280, 900),
    dress("dark-desktop", true, 1280, 900),
    dress("dark-phone", true, 390, 844),
    dress("light-phone", false, 390, 844),
];

/// The width at which a page that is zoomed to four times must still be whole.
pub const NARROWEST: Dress = dress("narrowest", false, 320, 640);

impl Browser {
    /// Shows the page, and all that follow, in this dress. Nothing moves.
    pub async fn put_on(&self, dress: Dress) {
        let scheme = if dress.dark { "dark" } else { "light" };
        let wishes = json!({ "features": [
            { "name": "prefers-color-scheme", "value": scheme },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ] });
        self.command("Emulation.setEmulatedMedia", wishes).await;
        let window = json!({ "width": dress.width, "height": dress.height, "deviceScaleFactor": 1, "mobile": false });
        self.command("Emulation.setDeviceMetricsOverride", window)
            .await;
    }

    /// A picture of the whole page, as PNG.
    pub async fn picture(&self) -> Vec<u8> {
        let whole = json!({ "format": "png", "captureBeyondViewport": true });
        let taken = self.command("Page.captureScreenshot", whole).await;
        STANDARD.decode(taken["data"].as_str().unwrap()).unwrap()
    }

    /// Takes on a cookie of the site that is open.
    pub async fn take_cookie(&self, pair: &str) {
        let (name, value) = pair.split_once('=').unwrap();
        let cookie = json!({ "cookie": { "name": name, "value": value, "path": "/" } });
        self.post("cookie", cookie).await;
    }
}
