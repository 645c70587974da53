//! Single rules: reactions, a word and a number, letters that look alike, what was not done or is no message.

use super::*;

/// Our own default texts, and some of other brands, as a reaction quotes them.
const QUOTED: [&str; 7] = [
    "Acme: you have an unread message. Read and answer: https://acme.example/r/1 Reply STOP to opt out.",
    "Acme: you have 3 unread messages.\nRead and answer: https://acme.example/r/1\nReply STOP to opt out.",
    "Acme: Sie haben eine ungelesene Nachricht. Lesen und antworten: https://acme.example/r/1 Abmelden mit STOP.",
    "Acme : vous avez un message non lu. Répondez STOP pour ne plus en recevoir.",
    "Acme: tiene un mensaje sin leer. Responda BAJA para no recibir más.",
    "Acme：未読のメッセージがあります。停止はSTOPと返信してください。",
    "ok, see you at five then",
];

const REACTIONS: [&str; 62] = [
    "Liked “…”",
    "Loved “…”",
    "Loved \"…\"",
    "Disliked “…”",
    "Laughed at “…”",
    "Emphasized “…”",
    "Questioned “…”",
    "Reacted 😂 to “…”",
    "Removed a heart from “…”",
    "Removed 😂 from “…”",
    "\u{200a}\u{200b}👍\u{200b} to “\u{200a}…\u{200a}”\u{200a}",
    "\u{200a}Removed \u{200c}👍\u{200c} from “\u{200a}…\u{200a}”\u{200a}",
    "👍 “…”",
    "❤️ to “…",
    "Hat „…“ mit „Gefällt mir“ markiert",
    "Hat über „…“ gelacht",
    "Hat mit 😂 auf „…“ reagiert",
    "Hat „…“ geliebt",
    "Entfernte 😂 aus „…”",
    "👍 zu „…“",
    "A aimé « … »",
    "A adoré « … »",
    "A attribué la mention « J’aime » à « … »",
    "A réagi avec 🔥 à « … »",
    "A retiré 👍 de “…”",
    "👍 à « … »",
    "Le gustó “…”",
    "Ha gustado “…”",
    "Le encanta “…”",
    "Le dio risa “…”",
    "Exclamó por “…”",
    "Dudó sobre “…”",
    "Reaccionó con 👍 a “…”",
    "👍 a “…”",
    "👍 para “…”",
    "Gostou de “…”",
    "Curtiu “…”",
    "Amou “…”",
    "Reagiu com 👍 a “…”",
    "Removeu um coração de “…”",
    "Ha messo “Mi piace” a “…”",
    "Ha adorato “…”",
    "Ha riso per “…”",
    "Ha reagito con 👍 a “…”",
    "Vond ‘…’ leuk",
    "Vond “…” geweldig",
    "Benadrukte ‘…’",
    "Reageerde met 👍 op ‘…’",
    "👍 op ‘…’",
    "Polubił „…”",
    "Polubiono „…”",
    "Zaśmiała się z „…”",
    "Zareagował 👍 na „…”",
    "Usunął serce z „…”",
    "Gillade ”…”",
    "Älskade ”…”",
    "Skrattade åt ”…”",
    "Reagerade med 👍 på ”…”",
    "“…”に「いいね」しました",
    "“…”を強調しました",
    "“…”に👍でリアクションしました",
    "👍 「…」",
];

#[test]
fn a_reaction_says_nothing_whatever_it_quotes() {
    for reaction in REACTIONS {
        for quoted in QUOTED {
            // Long ones are cut.
            let cut: String = quoted
                .chars()
                .take(quoted.chars().count() * 4 / 5)
                .collect();
            for quoted in [quoted.to_owned(), format!("{cut}…")] {
                let text = reaction.replace('…', &quoted);
                assert_eq!(meaning(&text), Meaning::None, "{text}");
            }
        }
    }
    let ours = QUOTED[0];
    for text in [
        // Worded as no phone that is known.
        format!("Anna mochte „{ours}“"),
        format!("Fand „{ours}“ ganz toll"),
        format!("Smiled at “{ours}”"),
    ] {
        assert_eq!(meaning(&text), Meaning::None, "{text}");
    }
    for text in [
        "Liked an image",
        "Removed a heart from an image",
        "A aimé une image",
        "Le encantó una imagen",
    ] {
        assert_eq!(meaning(text), Meaning::None, "{text}");
    }
}

#[test]
fn what_somebody_says_beside_a_reaction_or_by_one_counts() {
    let ours = QUOTED[0];
    for text in [
        format!("🛑 to “{ours}”"),
        format!("Reacted 🖕 to “{ours}”"),
        format!("Liked “{ours}” STOP"),
        format!("Liked “{ours}”\nSTOP"),
        format!("👍 stop “{ours}”"),
        format!("Para “{ours}”"),
        format!("STOP “{ours}”"),
        format!("This is enough: “{ours}” stop texting me"),
        format!("“{ours}”"),
        format!("Loved it but stop texting me “{ours}”"),
        "👍 \"STOP\"".to_owned(),
        "“STOP”".to_owned(),
        "Why “Reply STOP to opt out” when it does not work, stop texting me".to_owned(),
    ] {
        assert!(revokes(&text), "{text}");
    }
}

/// `certain` needs nobody's review, `heard` may need it, `doubtful` does, and `other` is no revocation.
#[test]
fn single_wordings_mean_what_the_table_says() {
    let table = include_str!("../../../../tests/fixtures/channels/opt-out-cases.tsv");
    let mut wrong = Vec::new();
    for line in table.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [kind, language, text] = fields[..] else {
            panic!("not three columns: {line}")
        };
        let found = meaning(text);
        let certain = matches!(found, Meaning::Stop | Meaning::FreeTextRevocation);
        let right = match kind {
            "certain" => certain,
            "heard" => revokes(text),
            "doubtful" => revokes(text) && !certain,
            "other" => !revokes(text),
            kind => panic!("no kind {kind}"),
        };
        if !right {
            wrong.push(format!("{language}: {text:?} is {found:?}, not {kind}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
