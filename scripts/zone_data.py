#!/usr/bin/env python3
"""Writes the time zone data of the program: src/domain/zone/numbers.txt, windows.txt and the oracle of their tests.

    python3 -m venv v && v/bin/pip install phonenumbers==9.0.43 tzdata==2026.6
    npm pack cldr-core@48.2.0 && tar xzf cldr-core-48.2.0.tgz     # package/supplemental/windowsZones.json
    apt-get download unicode-cldr-core && dpkg -x unicode-cldr-core_*.deb deb    # the names that Windows shows
    v/bin/python scripts/zone_data.py package/supplemental/windowsZones.json deb/usr/share/unicode/cldr/common/supplemental/windowsZones.xml

Sources:
  phonenumbers    Google's libphonenumber (Apache-2.0): prefixes of numbers and the zones they belong to.
  tzdata          IANA's time zone database (public domain): zone.tab, the zones of each country.
  cldr-core       Unicode CLDR (Unicode-3.0): windowsZones, names of zones that Windows uses.
"""

import collections
import datetime
import json
import os
import random
import re
import sys

import phonenumbers
import phonenumbers.tzdata
import phonenumbers.timezone
import tzdata
from zoneinfo import ZoneInfo

ROOT = os.path.join(os.path.dirname(__file__), "..")
TODAY = datetime.date.today().isoformat()
MAP = phonenumbers.tzdata.TIMEZONE_DATA

# How many digits of a number, with the country code, are an area. Finer prefixes are joined: numbers move within an area, and the
# map's finer ones are where its errors are.
AREA_DIGITS = {"1": 4, "7": 4, "52": 5, "55": 4, "61": 3}

# Area codes that the map gives too few zones, with the place it leaves out (49 CFR part 71; tzdb's comments).
KNOWN = {
    "1432": ["America/Chicago", "America/Denver"],  # Culberson County keeps Mountain time in part
    "1639": ["America/Regina", "America/Edmonton", "America/Winnipeg"],  # Lloydminster, Creighton
    "1867": ["America/Whitehorse", "America/Edmonton", "America/Winnipeg", "America/Toronto", "America/Atikokan"],
    "1250": ["America/Vancouver", "America/Edmonton", "America/Fort_Nelson", "America/Creston"],
    "1418": ["America/Toronto", "America/Halifax", "America/Blanc-Sablon"],
    "1807": ["America/Toronto", "America/Winnipeg", "America/Atikokan"],
    "1709": ["America/St_Johns", "America/Halifax"],
}
# Area codes for which the map's zones are not those that the clocks there show: Brazil's north and west (tzdb's comments, Anatel's codes).
EXACT = {
    **{f"55{ddd}": ["America/Manaus"] for ddd in (65, 66, 67, 69, 92, 95)},
    **{f"55{ddd}": ["America/Sao_Paulo"] for ddd in (55, 91, 93, 94, 96, 98, 99)},
    "5568": ["America/Rio_Branco"],
    "5597": ["America/Manaus", "America/Rio_Branco"],
}
# Area codes laid over others: the same places.
OVERLAYS = {
    "1208": ["1986"], "1250": ["1236", "1257", "1672", "1778"], "1270": ["1364"], "1418": ["1367", "1581"], "1541": ["1458"],
    "1639": ["1306", "1474"], "1709": ["1879"], "1812": ["1930"], "1850": ["1448"],
}
# The map says Bucharest where Kaliningrad keeps the same clock, and New York where Mexico has a clock of its own.
RENAMED = {("7", "Europe/Bucharest"): "Europe/Kaliningrad", ("52", "America/New_York"): "America/Cancun"}

# Numbers of plans that several zones share and that belong to no place. +1: toll-free, personal, Canada's non-geographic, caller-paid
# (NANPA). +7: toll-free, shared-cost, caller-paid.
NOWHERE = [f"780{n}" for n in range(10)] + ["1800", "1822", "1833", "1844", "1855", "1866", "1877", "1888"] + [f"188{n}" for n in range(0, 8)] + ["1889"] + [
    "1500", "1521", "1522", "1523", "1524", "1525", "1526", "1527", "1528", "1529", "1532", "1533", "1535", "1538", "1542", "1543",
    "1544", "1545", "1546", "1547", "1549", "1550", "1552", "1553", "1554", "1556", "1566", "1558", "1569", "1577", "1578", "1588", "1589",
    "1600", "1622", "1633", "1644", "1655", "1677", "1688", "1700", "1710", "1900",
]


# Places with numbers of their own that zone.tab does not list: Kosovo, Ascension, Tristan da Cunha.
UNLISTED = {"XK": "Europe/Belgrade", "AC": "Atlantic/St_Helena", "TA": "Atlantic/St_Helena"}


def clock(zone):
    """What the zone's clock shows over four years: zones with the same are one for us."""
    start = datetime.datetime(2024, 1, 1, 12, tzinfo=datetime.timezone.utc)
    at = (start + datetime.timedelta(days=n) for n in range(0, 4 * 365, 3))
    return tuple(t.astimezone(ZoneInfo(zone)).utcoffset() for t in at)


CLOCKS = {}


def distinct(zones):
    found = {}
    for zone in zones:
        found.setdefault(CLOCKS.setdefault(zone, clock(zone)), zone)
    return list(found.values())


def countries():
    zones = collections.defaultdict(list)
    with open(os.path.join(os.path.dirname(tzdata.__file__), "zoneinfo", "zone.tab")) as table:
        for line in table:
            if not line.startswith("#"):
                country, _, zone = line.rstrip("\n").split("\t")[:3]
                zones[country].append(zone)
    for country, zone in UNLISTED.items():
        zones[country].append(zone)
    return {country: distinct(own) for country, own in sorted(zones.items())}


def is_mobile(prefix, code):
    """Whether numbers that begin so are mobiles of a country whose mobiles belong to no area."""
    if code in ("1", "52", "55"):
        return False
    random.seed(prefix)
    kinds = collections.Counter()
    for _ in range(400):
        for digits in range(len(prefix) + 1, 14):
            digits -= len(prefix)
            number = phonenumbers.PhoneNumber(int(code), int(prefix[len(code):] + "".join(random.choices("0123456789", k=digits))))
            if phonenumbers.is_valid_number(number):
                kinds[phonenumbers.number_type(number)] += 1
    return any(kinds[kind] for kind in (phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE_OR_MOBILE))


def areas(by_country):
    codes = {}
    for country, zones in by_country.items():
        if len(zones) > 1 and (code := phonenumbers.country_code_for_region(country)):
            codes[str(code)] = max(len(zones), codes.get(str(code), 0))
    found = {}
    for code in codes:
        of_code = collections.defaultdict(list)
        for prefix, zones in MAP.items():
            if prefix.startswith(code) and len(prefix) > len(code):
                area = prefix[: AREA_DIGITS.get(code, len(prefix))]
                if area != prefix:
                    # What is left of the area is in the zones of the shorter prefix.
                    shorter = (area[:digits] for digits in range(len(area), len(code), -1))
                    zones += next((MAP[other] for other in shorter if other in MAP), ())
                prefix = area
                of_code[prefix] += [RENAMED.get((code, zone), zone) for zone in zones]
        found.update({p: distinct(sorted(set(z))) for p, z in of_code.items() if not is_mobile(p, code)})
    for area, zones in KNOWN.items():
        found[area] = distinct(zones + found.get(area, []))
    found.update(EXACT)
    for area, others in OVERLAYS.items():
        for other in others:
            found[other] = distinct(found[area] + found.get(other, []))
    for prefix in NOWHERE:
        found.pop(prefix, None)
    return found


def written(found):
    by_zones = collections.defaultdict(list)
    for prefix, zones in sorted(found.items()):
        by_zones[" ".join(zones)].append(prefix)
    for zones, prefixes in sorted(by_zones.items()):
        yield f"area {zones}\t{' '.join(prefixes)}"


def numbers():
    by_country = countries()
    found = areas(by_country)
    with open(os.path.join(ROOT, "src/domain/zone/numbers.txt"), "w") as out:
        out.write(f"""\
# Time zones of phone numbers. Written by scripts/zone_data.py on {TODAY}; do not change by hand.
# Areas: libphonenumber's map of prefixes (Apache-2.0), by phonenumbers {phonenumbers.__version__}, joined to whole areas and corrected; countries with several clocks.
# Countries: zone.tab of the IANA time zone database {tzdata.IANA_VERSION} (public domain); of zones with the same clock since 2024, the first.
# Nowhere: numbers of shared plans that belong to no place (NANPA; Russia's numbering plan).
""")
        for country, zones in by_country.items():
            if phonenumbers.country_code_for_region(country):
                out.write(f"country {' '.join(zones)}\t{country}\n")
        for line in written(found):
            out.write(line + "\n")
        out.write(f"nowhere\t{' '.join(sorted(NOWHERE))}\n")
    return by_country


def windows(json_file, xml_file):
    with open(json_file) as source:
        supplemental = json.load(source)["supplemental"]
    rows = [row["mapZone"] for row in supplemental["windowsZones"]["mapTimezones"]]
    zones = {row["_other"]: row["_type"].split()[0] for row in rows if row["_territory"] == "001"}
    with open(xml_file, encoding="utf-8") as source:
        xml = source.read()
    shown = re.findall(r"<!--\s*\(UTC[^)]*\)\s*([^<>]*?)\s*-->\s*(?:<!--.*?-->\s*)*<mapZone other=\"([^\"]+)\" territory=\"001\"", xml)
    # Shown by newer versions of Windows than the file knows.
    shown += [("La Paz, Mazatlan", "Mountain Standard Time (Mexico)")]
    names = collections.defaultdict(list)
    for display, name in shown:
        display = display.replace("&amp;", "&")
        if name in zones and display and not display.startswith("Coordinated Universal Time"):
            names[name].append(display)
    with open(os.path.join(ROOT, "src/domain/zone/windows.txt"), "w") as out:
        out.write(f"""\
# Names of time zones that Windows uses, and those it shows. Written by scripts/zone_data.py on {TODAY}; do not change by hand.
# Source: windowsZones of Unicode CLDR {supplemental['version']['_cldrVersion']} (licence Unicode-3.0), territory 001.
""")
        for name, zone in sorted(zones.items()):
            out.write("\t".join([zone, name, *names[name]]) + "\n")


def oracle(by_country):
    """Numbers of every country, and what libphonenumber says about them."""
    kinds = phonenumbers.PhoneNumberType
    lines = []
    for country in sorted(by_country):
        if not phonenumbers.country_code_for_region(country):
            continue
        for kind in (kinds.MOBILE, kinds.FIXED_LINE):
            number = phonenumbers.example_number_for_type(country, kind)
            if number:
                zones = phonenumbers.timezone.time_zones_for_number(number)
                e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
                # Some countries have no numbers of their own.
                found = phonenumbers.region_code_for_number(number) or country
                lines.append(f"{e164}\t{found}\t{' '.join(z for z in zones if z != 'Etc/Unknown')}")
    for area in sorted({prefix[:4] for prefix in MAP if prefix.startswith("1") and len(prefix) >= 4}):
        number = phonenumbers.parse(f"+{area}5550123")
        country = phonenumbers.region_code_for_number(number)
        zones = phonenumbers.timezone.time_zones_for_geographical_number(number)
        if country:
            lines.append(f"+{area}5550123\t{country}\t{' '.join(zones)}")
    with open(os.path.join(ROOT, "tests/fixtures/zones/numbers.tsv"), "w") as out:
        out.write(f"# number, country, zones: libphonenumber by phonenumbers {phonenumbers.__version__}, written by scripts/zone_data.py\n")
        out.write("\n".join(sorted(set(lines))) + "\n")


if __name__ == "__main__":
    os.makedirs(os.path.join(ROOT, "tests/fixtures/zones"), exist_ok=True)
    by_country = numbers()
    windows(*sys.argv[1:3])
    oracle(by_country)
