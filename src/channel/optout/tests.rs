use proptest::prelude::*;

use super::*;

mod cases;
mod corpus;

fn revokes(text: &str) -> bool {
    match meaning(text) {
        Meaning::Stop | Meaning::FreeTextRevocation | Meaning::PerhapsRevocation(_) => true,
        Meaning::Start | Meaning::Yes | Meaning::Help | Meaning::None => false,
    }
}

#[test]
fn a_question_whether_something_is_over_is_no_revocation() {
    for (text, revokes_it) in [
        ("Koniec?", false),
        ("Już koniec?", false),
        ("slut nu?", false),
        ("Fin ?", false),
        ("Ist jetzt Schluss?", false),
        ("Koniec!", true),
        ("Koniec", true),
        ("STOP?", true),
        ("unsubscribe?", true),
        ("Koniec. Ile to kosztuje?", true),
    ] {
        assert_eq!(revokes(text), revokes_it, "{text}");
    }
}

#[test]
fn a_word_that_one_language_leaves_out_is_a_negation_in_another() {
    for text in ["No cancelen por favor", "no anulen", "No cancel"] {
        assert!(!revokes(text), "{text}");
    }
}

#[test]
fn the_words_of_the_table_mean_what_it_says() {
    let table: Vec<(String, String)> = serde_json::from_str(include_str!(
        "../../../tests/fixtures/channels/opt-out-words.json"
    ))
    .unwrap();
    assert_eq!(table.len(), 28);
    for (body, word) in table {
        let expected = match word.as_str() {
            "stop" => Meaning::Stop,
            "start" => Meaning::Start,
            "yes" => Meaning::Yes,
            "help" => Meaning::Help,
            "free_text" => Meaning::FreeTextRevocation,
            "none" => Meaning::None,
            other => panic!("no meaning {other}"),
        };
        assert_eq!(meaning(&body), expected, "{body:?}");
    }
}

/// What Twilio and the carriers act on, and those of other countries: as the whole message, they are a keyword.
#[test]
fn a_keyword_is_one_in_whatever_letters_and_however_often() {
    for body in [
        "STOP",
        "STOPALL",
        "stop all",
        "UNSUBSCRIBE",
        "END",
        "QUIT",
        "REVOKE",
        "OPTOUT",
        "OPT-OUT",
        "opt out",
        "CANCEL",
        "REMOVE",
        "BAJA",
        "PARAR",
        "ARRET",
        "ARRÊT",
        "ARRETE",
        "STOPP",
        "CANCELAR",
        "SAIR",
        "DESCADASTRAR",
        "SALIR",
        "AFMELDEN",
        "REZYGNUJE",
        "AVSLUTA",
        "ABMELDEN",
        "停止",
        "配信停止",
        "解除",
        "ALTO",
        "PARE",
        "BASTA",
        "STOP STOP",
        "stop stop STOP!",
        "ＳＴＯＰ",
        "𝗦𝗧𝗢𝗣",
        "stop\nSent from my iPhone",
        "STOP > Acme: You have an answer. Reply STOP to opt out",
        "🅂🅃🄾🄿",
        "🆂🆃🅾🅿",
        "s t o p",
        "S.T.O.P.",
        "S-T-O-P",
        "STOOOOP",
        "\"STOP\"",
        "🛑",
        "ｽﾄｯﾌﾟ",
    ] {
        assert_eq!(meaning(body), Meaning::Stop, "{body:?}");
    }
}

#[test]
fn keywords_of_further_languages_are_heard() {
    for body in [
        "СТОП",
        "отписаться",
        "AFMELD",
        "AVSLUTT",
        "lopeta",
        "Odhlásit",
        "İptal",
        "退订",
        "수신거부",
        "הסר",
        "إيقاف",
    ] {
        assert_eq!(meaning(body), Meaning::Stop, "{body:?}");
    }
}

#[test]
fn people_say_it_in_their_own_words() {
    for body in [
        "please stop texting me 🙏 & thanks",
        "opt out please",
        "STOP IT NOW!!!",
        "Don’t message me",
        "stopnow",
        "STOPSTOP",
        "ST0P",
        "stop 🛑",
        "Stop. I already talked to Anna",
        "Stop texting, wrong person",
        "I am at the bus stop. Stop texting me!",
        "please cancel my order and stop texting me",
    ] {
        assert_eq!(meaning(body), Meaning::FreeTextRevocation, "{body:?}");
    }
}

#[test]
fn a_doubtful_one_says_why() {
    for (body, doubt) in [
        ("stop the music", Doubt::StopWord),
        ("stoq", Doubt::Misspelling),
        ("abmeldem", Doubt::Misspelling),
        ("fine", Doubt::AmbiguousWord),
        ("Cancel. I have it already", Doubt::AmbiguousWord),
        ("Not interested", Doubt::NotInterested),
        ("No one by that name here", Doubt::WrongPerson),
        ("fuck off", Doubt::Dismissal),
        ("Yet another text??", Doubt::AboutMessages),
        ("Wrong Sarah", Doubt::WrongPerson),
        ("dont contcat me", Doubt::Misspelling),
        ("i will call my lawyer", Doubt::Complaint),
        ("ihr geht mir auf den Keks", Doubt::Dismissal),
    ] {
        assert_eq!(meaning(body), Meaning::PerhapsRevocation(doubt), "{body:?}");
    }
}

/// The wider net is for messages that are about nothing else.
#[test]
fn what_may_be_a_no_is_none_in_a_message_about_something_else() {
    for (body, other) in [
        ("I am fed up", "I am fed up, where is my parcel"),
        ("I don't want this", "I don't want this colour"),
        ("Ihr nervt", "Das Warten nervt"),
        ("no me interesa", "no me interesa el seguro"),
        ("興味ないです", "保証に興味ないです"),
        ("leave my number alone", "my number is 07700 900123"),
    ] {
        assert!(revokes(body), "{body}");
        assert_eq!(meaning(other), Meaning::None, "{other}");
    }
}

#[test]
fn the_language_is_guessed_where_one_knows_more_of_the_words_than_the_others() {
    for (body, language) in [
        ("ihr geht mir auf den Keks", Some("de")),
        ("I will call my lawyer", Some("en")),
        ("dejen de insistir con eso", Some("es")),
        ("しつこいです", Some("ja")),
        ("stop", None),
        ("xyzzy", None),
        ("", None),
        ("стоп", None),
    ] {
        assert_eq!(super::language(body), language, "{body:?}");
    }
}

#[test]
fn who_wants_texts_in_place_of_calls_gets_them() {
    for body in [
        "Don't call me, text me please",
        "bitte nicht anrufen, lieber sms",
        "no me llamen, escriban por favor",
        "nie dzwonić, pisać",
        "ring inte, smsa",
    ] {
        assert_eq!(meaning(body), Meaning::None, "{body}");
    }
    for body in ["Don't call or text me", "nie dzwonić nie pisać"] {
        assert!(revokes(body), "{body}");
    }
}

#[test]
fn ordinary_answers_are_left_alone() {
    for body in [
        "please cancel my order",
        "When does the sale end?",
        "please don't stop",
        "do not unsubscribe me",
        "I am at the bus stop",
        "don't stop helping me",
        "stop by tomorrow",
        "I did not get your message",
        "yes please",
        "fine, thanks",
        "shop",
        "Top!",
        "👍",
        "Liked “Acme: You have an unread answer. Reply STOP to opt out”",
        "Loved \"Acme: You have an unread answer. Reply STOP to opt out\"",
        "ok thanks\n> Acme: You have an unread answer. Reply STOP to opt out",
    ] {
        assert_eq!(meaning(body), Meaning::None, "{body:?}");
    }
}

/// Lifting takes the very word: "start" in a sentence is about something else.
#[test]
fn only_the_word_itself_lifts() {
    for body in ["START", "start.", "Unstop!", "START START", "ＳＴＡＲＴ"] {
        assert_eq!(meaning(body), Meaning::Start, "{body:?}");
    }
    for body in [
        "start please",
        "When do you start?",
        "start stop",
        "restart",
    ] {
        assert_ne!(meaning(body), Meaning::Start, "{body:?}");
    }
}

#[test]
fn every_language_file_can_be_read_and_says_what_is_wrong_when_it_cannot() {
    for (name, file) in FILES {
        Language::parse(file).unwrap_or_else(|why| panic!("{name}.txt: {why}"));
    }
    for (file, why) in [
        ("keyword: stop", "line 1: no list keyword:"),
        ("+ {nobody}", "line 1: no words called nobody"),
        ("\n+ ~x stop", "line 2: no number: ~x"),
        ("- ~3", "line 1: matches everything: ~3"),
        ("? maybe stop", "line 1: no doubt maybe"),
        ("?? maybe stop", "line 1: no doubt maybe"),
        ("-- ~2", "line 1: matches everything: ~2"),
    ] {
        assert_eq!(Language::parse(file).unwrap_err(), why);
    }
}

#[test]
fn an_endless_text_is_read_only_so_far() {
    assert_eq!(meaning(&"na ".repeat(100_000)), Meaning::None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn fuzz_opt_out_words(any in any::<String>(), words in "(stop|no|don't|texts|ne|nicht|止めて|>|\\.|\n| ){0,40}") {
        let _ = meaning(&any);
        let _ = meaning(&words);
    }

    /// A keyword on a line of its own is heard whatever else is written.
    #[test]
    fn stop_on_its_own_line_is_heard(before in "[a-z ,]{0,40}", after in "[a-z ,]{0,40}") {
        prop_assert!(revokes(&format!("{before}\nSTOP\n{after}")), "{before:?} {after:?}");
    }
}
