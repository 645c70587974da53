//! What the names of columns say, in the languages that spreadsheets and forms are made in. Names are plain (`super::words::plain`).

/// Words for an e-mail address.
const EMAIL: [&str; 14] = [
    "emailid",
    "mailid",
    "email",
    "emails",
    "mail",
    "courriel",
    "correo",
    "correoelectronico",
    "postaelettronica",
    "epost",
    "epostadress",
    "eメール",
    "メール",
    "メールアドレス",
];

/// Words for a phone that can be texted.
const PHONE: [&str; 31] = [
    "phone",
    "phones",
    "mobile",
    "mobil",
    "mobiel",
    "mobiltelefon",
    "msisdn",
    "cell",
    "cellphone",
    "cellulare",
    "celular",
    "gsm",
    "handy",
    "movil",
    "portable",
    "rufnummer",
    "sms",
    "tel",
    "telefon",
    "telefono",
    "telefone",
    "telefonu",
    "telefoon",
    "telefoonnummer",
    "telemovel",
    "telephone",
    "whatsapp",
    "komorka",
    "komorkowy",
    "電話",
    "携帯",
];

/// Words that change nothing beside them: whose, which one, and "address" and "number".
const BESIDE: [&str; 44] = [
    "address",
    "adres",
    "adress",
    "adresse",
    "alternate",
    "business",
    "client",
    "consumer",
    "contact",
    "customer",
    "d",
    "de",
    "di",
    "direccion",
    "endereco",
    "home",
    "indirizzo",
    "kunde",
    "kunden",
    "lead",
    "main",
    "member",
    "no",
    "nr",
    "num",
    "number",
    "numer",
    "numero",
    "nummer",
    "numbers",
    "other",
    "personal",
    "primary",
    "privat",
    "private",
    "recipient",
    "secondary",
    "subscriber",
    "user",
    "work",
    "your",
    "番号",
    "電話",
    "アドレス",
];

/// Names of columns that have no word for what stands there.
const NUMBERS: [&str; 2] = ["number", "contactnumber"];
const RECIPIENTS: [&str; 2] = ["recipient", "recipientaddress"];

/// Words that headings are made of. What is data must not be repeated, so a name is shown only if nothing else is in it.
const HEADINGS: [&str; 52] = [
    "account",
    "address",
    "at",
    "by",
    "campaign",
    "channel",
    "city",
    "code",
    "comment",
    "company",
    "contact",
    "country",
    "created",
    "customer",
    "date",
    "description",
    "email",
    "error",
    "event",
    "first",
    "from",
    "full",
    "group",
    "id",
    "language",
    "last",
    "list",
    "mail",
    "message",
    "mobile",
    "name",
    "note",
    "number",
    "opt",
    "out",
    "person",
    "phone",
    "reason",
    "sent",
    "source",
    "state",
    "status",
    "street",
    "subject",
    "tag",
    "time",
    "to",
    "type",
    "updated",
    "user",
    "zip",
    "s",
];

/// A kind of address that lists have columns of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Email,
    Phone,
}

/// What kind of address the columns of this name have: it is made of words for one, whoever's it is. `emailoptout` is none.
pub fn kind(name: &str) -> Option<Kind> {
    if NUMBERS.contains(&name) || consists_of(name, &PHONE, false) {
        Some(Kind::Phone)
    } else if RECIPIENTS.contains(&name) || consists_of(name, &EMAIL, false) {
        Some(Kind::Email)
    } else {
        None
    }
}

/// Whether the name consists of words of the list and of those beside them, and has one of the list.
fn consists_of(name: &str, list: &[&str], has_one: bool) -> bool {
    if name.is_empty() {
        return has_one;
    }
    let rest = |words: &[&str], has_one| {
        let rests = words.iter().filter_map(|word| name.strip_prefix(word));
        rests
            .into_iter()
            .any(|rest| consists_of(rest, list, has_one))
    };
    let digits = name.trim_start_matches(|c: char| c.is_ascii_digit());
    rest(list, true)
        || rest(&BESIDE, has_one)
        || (digits.len() < name.len() && consists_of(digits, list, has_one))
}

/// Whether the name has nothing but words of headings in it.
pub fn is_one(name: &str) -> bool {
    let rests = HEADINGS.iter().filter_map(|word| name.strip_prefix(word));
    rests
        .into_iter()
        .any(|rest| rest.is_empty() || is_one(rest))
}

#[cfg(test)]
mod tests {
    use super::super::words::plain;
    use super::*;

    #[test]
    fn columns_of_addresses_are_known_in_the_languages_of_spreadsheets() {
        for name in [
            "Email",
            "E-Mail",
            "EMAIL_ADDRESS",
            "Work Email",
            "Email 2",
            "Customer E-mail",
            "recipient",
            "E-Mail-Adresse",
            "Mailadresse",
            "Courriel",
            "Adresse e-mail",
            "Correo electrónico",
            "Dirección de correo electrónico",
            "Indirizzo email",
            "Posta elettronica",
            "Endereço de e-mail",
            "E-mailadres",
            "Adres e-mail",
            "E-postadress",
            "メールアドレス",
        ] {
            assert_eq!(kind(&plain(name)), Some(Kind::Email), "{name}");
        }
        for name in [
            "Phone",
            "Phone Number",
            "Mobile Phone",
            "Cell",
            "MSISDN",
            "SMS",
            "Number",
            "Contact number",
            "Handynummer",
            "Mobiltelefon",
            "Rufnummer",
            "Telefonnummer",
            "Téléphone",
            "Téléphone portable",
            "Numéro de téléphone",
            "Teléfono móvil",
            "Celular",
            "Cellulare",
            "Telemóvel",
            "Mobiel nummer",
            "Numer telefonu",
            "Mobilnummer",
            "電話番号",
            "携帯電話番号",
        ] {
            assert_eq!(kind(&plain(name)), Some(Kind::Phone), "{name}");
        }
        for name in [
            "",
            "Address",
            "Adresse",
            "Customer number",
            "Recipient ID",
            "Phone ID",
            "Order no",
            "id",
            "Email opt out",
            "email_status",
            "Email update source",
            "SMS consent",
            "Phone type",
            "Mailing list",
            "Email sent",
            "2",
        ] {
            assert_eq!(kind(&plain(name)), None, "{name}");
        }
    }
}
