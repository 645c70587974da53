// The same deliveries by graphile-worker: claim, re-check at LivePerson, render, SMTP, record.
//
//   node worker.mjs migrate   makes graphile-worker's tables
//   node worker.mjs           works until it is killed; says "ready" once it does
//
// Tuned as its manual says: jobs are fetched 500 at a time into a local queue and completed in batches, and every statement is
// prepared. Beyond the manual, everything that can be shared is: the re-check asks LivePerson about up to a hundred
// conversations in one call and results are recorded a hundred at a time, both as the service does it. Mail goes through pooled
// connections, HTTP through kept ones, templates are compiled once.

import { readFileSync } from "node:fs";
import Handlebars from "handlebars";
import nodemailer from "nodemailer";
import pg from "pg";
import { Logger, run, runMigrations } from "graphile-worker";

const env = process.env;
const CONCURRENCY = 50;
const pgPool = new pg.Pool({ ...socketOf(env.DATABASE_URL), max: CONCURRENCY + 1 });
pgPool.on("error", report);
pgPool.on("connect", (client) => client.on("error", report));
const preset = {
  worker: {
    concurrentJobs: CONCURRENCY,
    maxPoolSize: CONCURRENCY + 1,
    localQueue: { size: 500 },
    completeJobBatchDelay: 0,
    failJobBatchDelay: 0,
    pollInterval: 100,
  },
};
const logger = new Logger(() => (level, message) => {
  if (level === "error" || level === "warning") console.error(message);
});

if (process.argv[2] === "migrate") {
  await runMigrations({ pgPool, preset, logger });
  await pgPool.end();
} else {
  await work();
}

async function work() {
  const liveperson = await connect();
  const mail = nodemailer.createTransport({
    pool: true,
    host: env.SMTP_HOST,
    port: Number(env.SMTP_PORT),
    secure: false,
    ignoreTLS: true,
    auth: { user: env.SMTP_USER, pass: env.SMTP_PASS },
    maxConnections: Number(env.SMTP_CONNECTIONS),
    maxMessages: 100,
  });
  const texts = compile();
  const recheck = batched(2, (ids) => liveperson.byIds(ids));
  const record = batched(1, async (ids) => {
    await pgPool.query({
      name: "record",
      text: "update load_graphile set state = 'sent', sent_at = clock_timestamp() where id = any ($1)",
      values: [ids],
    });
    return ids;
  });
  const deliver = async ({ id, conversation }) => {
    const fresh = await recheck(conversation);
    const episode = fresh && unread(fresh);
    const contact = episode && contactOf(fresh);
    if (!contact) return;
    await mail.sendMail(message(texts, id, fresh, episode, contact));
    await record(id);
  };
  await run({ pgPool, preset, logger, noHandleSignals: true, taskList: { deliver } });
  console.log("ready");
}

/** Answers single questions a hundred at a time: the first goes at once, what is asked meanwhile goes together. */
function batched(lanes, answer) {
  let waiting = [];
  let busy = 0;
  const next = async () => {
    if (busy >= lanes || waiting.length === 0) return;
    busy += 1;
    const batch = waiting.splice(0, 100);
    try {
      const answers = await answer(batch.map(({ question }) => question));
      batch.forEach(({ resolve }, at) => resolve(answers[at]));
    } catch (error) {
      batch.forEach(({ reject }) => reject(error));
    }
    busy -= 1;
    next();
  };
  return (question) =>
    new Promise((resolve, reject) => {
      waiting.push({ question, resolve, reject });
      setImmediate(next);
    });
}

/** LivePerson: where the services are, a token, and the question by ids. */
async function connect() {
  const account = env.LE_ACCOUNT;
  const base = env.UNREAD_LIVEPERSON_URL.replace(/\/$/, "");
  const host = async (service) => {
    const answer = await fetch(`${base}/api/account/${account}/service/${service}/baseURI.json?version=1.0`);
    return (await answer.json()).baseURI;
  };
  const scheme = new URL(base).protocol;
  const token = await fetch(`${scheme}//${await host("sentinel")}/sentinel/api/v2/account/${account}/app/token`, {
    method: "POST",
    body: new URLSearchParams({
      client_id: env.LE_CLIENT_ID,
      client_secret: env.LE_CLIENT_SECRET,
      grant_type: "client_credentials",
    }),
  });
  const { access_token } = await token.json();
  const url = `${scheme}//${await host("msgHist")}/messaging_history/api/account/${account}/conversations/conversation/search?v=2&source=UnreadRemindCheck`;
  const contentToRetrieve = [
    "messageRecords",
    "messageStatuses",
    "agentParticipants",
    "consumerParticipants",
    "dialogs",
    "sdes",
  ];
  return {
    async byIds(conversationIds) {
      const answer = await fetch(url, {
        method: "POST",
        headers: { authorization: `Bearer ${access_token}`, "content-type": "application/json" },
        body: JSON.stringify({ conversationIds, contentToRetrieve }),
      });
      if (!answer.ok) throw new Error(`LivePerson answered ${answer.status}`);
      const records = (await answer.json()).conversationHistoryRecords;
      const byId = new Map(records.map((record) => [record.info.conversationId, record]));
      return conversationIds.map((id) => byId.get(id));
    },
  };
}

/** The agent's messages that the consumer has neither answered nor read. */
function unread(record) {
  if (record.info.status !== "OPEN") return null;
  const main = new Set((record.dialogs ?? []).filter((d) => d.dialogType === "MAIN").map((d) => d.dialogId));
  const visible = record.messageRecords
    .filter((m) => m.audience === "ALL" && (main.size === 0 || main.has(m.dialogId)))
    .sort((a, b) => a.timeL - b.timeL || a.seq - b.seq);
  const read = Math.max(
    -1,
    ...(record.messageStatuses ?? [])
      .filter((s) => s.messageDeliveryStatus === "READ" && s.participantType === "Consumer")
      .map((s) => s.seq),
  );
  const answered = visible.findLastIndex((m) => m.sentBy === "Consumer");
  const left = visible.slice(answered + 1).filter((m) => m.sentBy === "Agent" && m.seq > read);
  if (left.length === 0) return null;
  const last = left[left.length - 1];
  const agent = (record.agentParticipants ?? []).find((a) => a.agentId === last.participantId);
  return { since: left[0].timeL, count: left.length, agent: agent?.agentNickname ?? "" };
}

/** The newest address that the consumer gave. */
function contactOf(record) {
  const events = record.sdes?.events ?? [];
  for (const event of events.toReversed()) {
    const info = event.personalInfo?.personalInfo ?? event.personalInfo;
    const email = info?.contacts?.map((c) => c.personalContact?.email).find((e) => e);
    if (email) return { email, name: info.name ?? "" };
  }
  const consumer = (record.consumerParticipants ?? []).find((c) => c.email);
  return consumer && { email: consumer.email, name: consumer.firstName ?? "" };
}

/** The built-in English texts of the service, compiled once. */
function compile() {
  const read = (name) => readFileSync(new URL(`templates/${name}`, import.meta.url), "utf8");
  const plain = { noEscape: true, strict: true };
  return {
    subject: Handlebars.compile(read("en/email.subject.hbs").trim(), plain),
    text: Handlebars.compile(read("en/email.txt.hbs").trim(), plain),
    html: Handlebars.compile(read("email.html.hbs")),
  };
}

function message(texts, id, record, episode, contact) {
  const token = id.toString(16).padStart(32, "0");
  const link = `${env.UNREAD_PUBLIC_URL}/r/${token}`;
  const unsubscribe = `${env.UNREAD_PUBLIC_URL}/u/${token}`;
  const values = {
    first_name: contact.name,
    brand: env.UNREAD_BRAND,
    agent: episode.agent,
    skill: record.info.latestSkillName,
    count: episode.count,
    several: episode.count > 1,
    since_minutes: Math.floor((Date.now() - episode.since) / 60_000),
    link,
    unsubscribe_link: unsubscribe,
  };
  const subject = texts.subject(values);
  const text = texts.text(values);
  return {
    from: env.SMTP_FROM,
    to: contact.name ? { name: contact.name, address: contact.email } : contact.email,
    subject,
    text,
    html: texts.html({ ...layout(text, values), subject, brand: values.brand, link, language: "en", direction: "ltr" }),
    messageId: `<graphile.${id}@shop.example>`,
    inReplyTo: `<conv.${record.info.conversationId}@shop.example>`,
    references: `<conv.${record.info.conversationId}@shop.example>`,
    headers: {
      "Auto-Submitted": "auto-generated",
      "X-Auto-Response-Suppress": "All",
      "List-Unsubscribe": `<${unsubscribe}>`,
      "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    },
    disableFileAccess: true,
    disableUrlAccess: true,
  };
}

/** The paragraphs of the text as the layout wants them: the link's becomes the button, from the unsubscribe link on it is small print. */
function layout(text, { link, unsubscribe_link }) {
  const paragraphs = text.split(/\n\s*\n/).map((paragraph) => paragraph.split("\n"));
  const small = paragraphs.findIndex((lines) => lines.some((line) => line.includes(unsubscribe_link)));
  const words = (lines) => ({
    lines: lines.map((line) => {
      const at = line.indexOf(unsubscribe_link);
      return at < 0 ? [{ text: line }] : [{ text: line.slice(0, at).replace(/:\s*$/, ""), href: unsubscribe_link }];
    }),
  });
  const block = (lines) => (lines.includes(link) ? { button: lines[0].replace(/:$/, "") } : words(lines));
  return {
    preheader: paragraphs[1]?.join(" ").slice(0, 140),
    blocks: paragraphs.slice(0, small).map(block),
    footer: paragraphs.slice(small).map(words),
  };
}

function report(error) {
  console.error(error.message);
}

/** The service's address of a PostgreSQL that listens on a socket only, as the driver for Node wants it. */
function socketOf(address) {
  const { hostname, port, username, pathname } = new URL(address.replace("postgres:", "http:").replace(/%2F/gi, "-slash-"));
  return {
    host: decodeURIComponent(hostname).replaceAll("-slash-", "/"),
    port: Number(port),
    user: username,
    database: pathname.slice(1),
  };
}
