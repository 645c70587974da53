//! What a page costs whoever opens it: how much is loaded, how often is asked for it, and whether anything jumps meanwhile.

use serde_json::json;
use unread::domain::access::Role;

use crate::chromium::{Browser, DRESSES};
use crate::harness::run_test;

/// Bytes as they travelled, without the typeface, which is loaded once; requests; and how far things have moved.
const LOADED: &str = r"
const found = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')];
const bytes = found.filter((one) => !one.name.endsWith('.woff2')).reduce((sum, one) => sum + one.encodedBodySize, 0);
const fonts = found.filter((one) => one.name.endsWith('.woff2')).reduce((sum, one) => sum + one.encodedBodySize, 0);
return new Promise((done) => {
  let shift = 0;
  new PerformanceObserver((list) => {
    for (const one of list.getEntries()) if (!one.hadRecentInput) shift += one.value;
  }).observe({ type: 'layout-shift', buffered: true });
  // What has happened so far is told before the second frame.
  requestAnimationFrame(() => requestAnimationFrame(() => done([bytes, fonts, found.length, shift])));
});
";

#[tokio::test]
async fn pages_are_light_and_stand_still() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    run_test(async |t| {
        let b = &browser;
        t.answered("ann@example.net");
        t.answered("+12025550143");
        t.tick().await;
        t.advance(10).await;
        assert_eq!((t.mails().len(), t.texts().len()), (1, 1));
        let person = t.person(Role::Administrator).await;
        b.open(&format!("{}/healthz", t.web)).await;
        b.take_cookie(&person.cookie).await;
        for dress in DRESSES {
            b.put_on(dress).await;
            for page in [
                "/",
                "/rules",
                "/reminders",
                "/reminders/sent",
                "/reminders/not-sent",
                "/reminders/decisions",
                "/reminders/1",
                "/customers",
                "/opt-outs",
                "/results",
                "/website",
                "/connections",
                "/team",
                "/api",
                "/activity",
                "/settings",
                "/find",
            ] {
                b.open(&format!("{}{page}", t.web)).await;
                let loaded = b.run_with(LOADED, json!([])).await;
                let number = |at: usize| loaded[at].as_f64().unwrap();
                let what = format!("{page}, {}: {loaded}", dress.name);
                assert!(
                    number(0) > 1_000.0 && number(0) <= 60_000.0,
                    "bytes of {what}"
                );
                assert!(number(1) <= 50_000.0, "typeface of {what}");
                assert!(number(2) <= 6.0, "requests of {what}");
                assert!(number(3) < 0.1, "layout shift of {what}");
            }
        }
    })
    .await;
}
