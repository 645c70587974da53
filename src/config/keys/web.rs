//! What is served over HTTP: badge, dashboard, API and webhooks.

use super::{SettingKey, key, preset, secret};

#[rustfmt::skip]
pub const WEB: &[SettingKey] = &[
    preset("UNREAD_BIND", "web.bind", "0.0.0.0",
        "Address on which badge, dashboard, API and webhooks listen; `0.0.0.0` is every IPv4 address of the machine."),
    preset("PORT", "web.port", "3000",
        "Their port; 0 takes a free one."),
    preset("UNREAD_METRICS_BIND", "web.metrics_bind", "0.0.0.0",
        "Address on which metrics listen, in every role."),
    preset("UNREAD_METRICS_PORT", "web.metrics_port", "9464",
        "Their port; 0 takes a free one."),
    preset("UNREAD_METRICS_BY_ACCOUNT", "web.metrics_by_account", "false",
        "Whether what metrics count of reminders, attempts, conversations, suppressions and calls to LivePerson is counted by account, too. Series grow with the number of accounts."),
    key("UNREAD_PUBLIC_URL", "web.public_url",
        "This service as the outside world calls it, a host name of its own without a path: for links in reminders and for webhooks. Left out: `http://localhost:PORT`, which works on this machine only."),
    key("UNREAD_DASHBOARD_URL", "web.dashboard_url",
        "The dashboard as your people call it, where that is another host name than `UNREAD_PUBLIC_URL`: for set-up links, single sign-on (redirect address `UNREAD_DASHBOARD_URL/login/sso/callback`) and the document of the API. Left out: `UNREAD_PUBLIC_URL`."),
    key("UNREAD_ALLOWED_HOSTS", "web.allowed_hosts",
        "List of other host names by which this service is called, inside a cluster for example; `*.example.com` stands for all names below that domain. Ports do not count. Always allowed are the hosts of `UNREAD_PUBLIC_URL` and `UNREAD_DASHBOARD_URL`, `localhost` and addresses; requests by any other name are answered with 421, except probes and metrics."),
    preset("UNREAD_BADGE_REQUESTS_PER_SECOND", "web.badge_requests_per_second", "20",
        "Badge requests per second from one client address, after a burst of ten times as many; more are answered with 429. Many people can share an address."),
    preset("UNREAD_CONNECTIONS", "web.connections", "8192",
        "Connections on which one process serves badge, dashboard, API and webhooks at once, 100 to 60000; fewer if the hard limit of open files is too low. Badges that listen for events may have three quarters of them."),
    preset("UNREAD_CONNECTIONS_PER_ADDRESS", "web.connections_per_address", "256",
        "How many of them one client address (IPv6: one /64) may have. It does not hold for the proxies in `UNREAD_TRUSTED_PROXIES`."),
    preset("UNREAD_DASHBOARD", "web.dashboard", "true",
        "Whether dashboard and config API are served here too. `false` for processes that the public reaches, when others serve the dashboard."),
    preset("UNREAD_PASSWORDS", "web.passwords", "true",
        "Whether people may log in to the dashboard with a password. `false`: by single sign-on alone, which must be set up then."),
    preset("UNREAD_SESSION_IDLE_MINUTES", "web.session_idle_minutes", "120",
        "A login to the dashboard ends when it has not been used for so many minutes, 5 to 720."),
    preset("UNREAD_SESSION_HOURS", "web.session_hours", "12",
        "A login to the dashboard ends after so many hours however busy, 1 to 720."),
    key("UNREAD_OIDC_ISSUER", "web.oidc_issuer",
        "Single sign-on with OpenID Connect: the issuer's address, `https://login.example.com`. Register the redirect address `/login/sso/callback` below `UNREAD_DASHBOARD_URL`, else `UNREAD_PUBLIC_URL`, there."),
    key("UNREAD_OIDC_CLIENT_ID", "web.oidc_client_id",
        "The client that was registered for unread at the issuer."),
    secret("UNREAD_OIDC_CLIENT_SECRET", "web.oidc_client_secret",
        "Its secret. Left out: a public client."),
    key("UNREAD_OIDC_ROLE", "web.oidc_role",
        "Role of users who come by single sign-on and were not added before: `viewer`, `editor` or `administrator`. Left out: they are \
         not let in."),
    preset("UNREAD_OIDC_TRUST_EMAIL", "web.oidc_trust_email", "false",
        "Whether an address in a token counts as the person's although the issuer does not say whether it has verified it (no \
         `email_verified`). Only for an issuer with your own people only, who cannot change their addresses themselves: anyone who can \
         write an address there becomes that person here."),
    secret("UNREAD_MAIL_WEBHOOK_SECRET", "web.mail_webhook_secret",
        "Key that signs bounces and complaints posted to `/mail/events` (docs/webhooks.md); a list while it is being changed. Left out: they are refused."),
    key("UNREAD_MAIL_SENDGRID_KEY", "web.mail_sendgrid_key",
        "Verification key of SendGrid's event webhook, which posts to `/mail/events/sendgrid`; a list while it is being changed. Left out: it is refused."),
    secret("UNREAD_MAIL_POSTMARK_LOGIN", "web.mail_postmark_login",
        "`user:password` with which Postmark posts to `/mail/events/postmark`; a list while it is being changed. Left out: it is refused."),
    secret("UNREAD_MAIL_MAILGUN_KEY", "web.mail_mailgun_key",
        "Webhook signing key of Mailgun, which posts to `/mail/events/mailgun`; a list while it is being changed. Left out: it is refused."),
    secret("UNREAD_MAIL_BREVO_TOKEN", "web.mail_brevo_token",
        "Token, or `user:password`, with which Brevo posts to `/mail/events/brevo`; a list while it is being changed. Left out: it is refused."),
    key("UNREAD_TEST_RECIPIENTS", "web.test_recipients",
        "List of those who get a rule's own words in test messages at once: addresses, phone numbers (`+12025550143`), or all of a domain \
         (`@example.com`). Anyone else first gets a code to enter. Left out: everyone."),
    preset("UNREAD_OPT_OUT_REACH", "web.opt_out_reach", "installation",
        "How far a customer's opt-out reaches (docs/what-we-treat-as.md). `installation`: STOP by text message holds for the number in \
         every account; an unsubscribe link for its address in its account. `sender`: STOP holds in the accounts that share the number or \
         Messaging Service it was sent to. `everything`: every no holds in all accounts and on all channels, as far as the customer's \
         other addresses are known."),
    key("UNREAD_TRUSTED_PROXIES", "web.trusted_proxies",
        "List of the networks (`10.0.0.0/8`) whose `X-Forwarded-For` and `X-Forwarded-Proto` are trusted. Left out: none."),
];
