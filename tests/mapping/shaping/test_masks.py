"""What is masked is nowhere in what is stored, whatever the entry; and the ready-made masks."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.shaping import OBSERVED, TIME, attributes, bodies, identified, mapper, printed, shaped

from bridge.mapping.shaping import PRESETS, Mask, Rules, preset_masks
from bridge.mapping.shaping.masks import Masks
from bridge.model import Json
from bridge.patterns import PatternError
from bridge.payload import Request
from bridge.settings.shaping import PresetName

SECRET = "hunter2-Ω-7731"
NUMBER = 77_31_77_31
MASKS = (Mask("mask[0]", "hunter2-Ω-7731"), Mask("mask[1]", "77317731"))
EVERYTHING = Rules(
    strip_ansi=True,
    join_tracebacks=True,
    parse_json=True,
    infer_level=True,
    masks=MASKS,
)
ID = "12345678-1234-1234-1234-123456789012"


def presets(*names: str) -> Masks:
    """Some ready-made masks."""
    return Masks(preset_masks(names or list(PRESETS)))


@pytest.mark.parametrize(
    ("preset", "text", "expected"),
    [
        ("bearer", "Authorization: Bearer abc.def", "Authorization: Bearer ***"),
        ("bearer", '{"authorization": "Key 1:2", "x": 1}', '{"authorization": "Key ***", "x": 1}'),
        ("bearer", "{'Authorization': 'Basic Zm9v'}", "{'Authorization': 'Basic ***'}"),
        ("bearer", 'curl -H "Authorization: tok en" u', 'curl -H "Authorization: ***" u'),
        ("bearer", "Proxy-Authorization=Digest a", "Proxy-Authorization=Digest ***"),
        ("bearer", "sent bearer abcdefgh123", "sent bearer ***"),
        ("bearer", "the bearer of news", None),
        ("api_key", "OPENAI_API_KEY=sk-abc", "OPENAI_API_KEY=***"),
        ("api_key", "apiKey: 'a b'", "apiKey: '***'"),
        ("api_key", "client_secret=*starred", "client_secret=***"),
        ("api_key", '"aws_secret_access_key": "a/b+c"', '"aws_secret_access_key": "***"'),
        ("api_key", r'{\"id_token\": \"abc\", \"n\": 1}', r'{\"id_token\": \"***\", \"n\": 1}'),
        ("api_key", "key sk-proj-abcdefghijklmnop in use", "key sk-*** in use"),
        ("api_key", "hf_abcdefghijklmnopqrstu", "hf_***"),
        ("api_key", "AKIAABCDEFGHIJKLMNOP", "AKIA***"),
        ("api_key", "xoxb-1234567890-abc", "xoxb-***"),
        ("api_key", "tokens: 512, max_tokens=77", None),
        ("password", 'password="a \\"b\\" c" next', 'password="***" next'),
        ("password", "a DB_PASSWORD: s3;cr,et next", "a DB_PASSWORD: *** next"),
        ("password", "postgres://user:p%40w@host/db", "postgres://user:***@host/db"),
        ("password", "https://host:443/path@x", None),
        ("jwt", "t eyJhbGciOi.eyJzdWIiOi.c2ln!", "t ***!"),
        (
            "private_key",
            "a -----BEGIN RSA PRIVATE KEY-----\nx\ny\n-----END RSA PRIVATE KEY----- b",
            "a -----BEGIN RSA PRIVATE KEY-----*** b",
        ),
        ("private_key", "-----BEGIN PRIVATE KEY-----\\ncut", "-----BEGIN PRIVATE KEY-----***"),
        ("email", "to josé.o+x@mail.exämple.org, ok", "to ***, ok"),
        ("email", "u=a%40b.example&x", "u=***&x"),
        ("email", "react@18.2.0 and a@b", None),
        ("email", 'to "john doe"@mail.example.org, ok', "to ***, ok"),
        ("email", "to bob@[192.0.2.7] or bob@[IPv6:2001:db8::1].", "to *** or ***."),
        ("email", 'said "hello" @ home, a[1]@[2], "x"@y', None),
        ("bearer", "sent Basic dXNlcjpwYXNz on", "sent Basic *** on"),
        ("bearer", "Basic JavaScript and basic HTTP2, basic authentication", None),
        (
            "signed_url",
            "https://b.s3.aws/k?X-Amz-Date=1&X-Amz-Signature=00ff&X-Amz-Credential=A%2F1&x=y",
            "https://b.s3.aws/k?X-Amz-Date=1&X-Amz-Signature=***&X-Amz-Credential=***&x=y",
        ),
        ("signed_url", "https://h/o?X-Goog-Signature=ab#f", "https://h/o?X-Goog-Signature=***#f"),
        ("signed_url", "https://h/b?sv=1&sig=a%2Bb%3D", "https://h/b?sv=1&sig=***"),
        ("signed_url", "https://h/b?a=1&amp;token=t u", "https://h/b?a=1&amp;token=*** u"),
        ("signed_url", r"//h?a=1\u0026sig=z\u0026b=2", r"//h?a=1\u0026sig=***\u0026b=2"),
        ("signed_url", "u=https%3A%2F%2Fh%3Fsig%3Da%2Fb%26y", "u=https%3A%2F%2Fh%3Fsig%3D***%26y"),
        ("signed_url", "https://h/b?signal=1&tokens=5", None),
        ("fal_key", f"{ID}:deadbeefdeadbeef01 x", f"{ID}:*** x"),
        ("fal_key", f"Key {ID}:other", f"Key {ID}:***"),
        ("fal_key", "FAL_KEY=abc:def", "FAL_KEY=***"),
        ("fal_key", "'fal_key_secret': 'abc'", "'fal_key_secret': '***'"),
        ("fal_key", f"job {ID}: done", None),
    ],
)  # fmt: skip
def test_presets(preset: str, text: str, expected: str | None) -> None:
    """What each preset hides, and what it lets pass."""
    masked, rules = presets(preset).text(text)
    assert masked == (text if expected is None else expected)
    assert rules == (set() if expected is None else {f"mask_presets.{preset}"})


LEAKED = "s3cr3tV4lueXyz"
FORMS = [
    ("{'api_key': b'§'}", "{'api_key': b'***'}"),
    ("{'password': b'§'}", "{'password': b'***'}"),
    ("{b'FAL_KEY': rb'§'}", "{b'FAL_KEY': rb'***'}"),
    ("{b'authorization': b'Basic §'}", "{b'authorization': b'Basic ***'}"),
    ('{"Authorization":["Basic §", "Key §"]}', '{"Authorization":["***"]}'),
    ('{"api_key": ["§"], "n": 1}', '{"api_key": ["***"], "n": 1}'),
    ('{"api_key": ["a]b", "§"], "n": 1}', '{"api_key": ["***"], "n": 1}'),
    (r"{\"api_key\": [\"a\", \"§\"], \"n\": 1}", r"{\"api_key\": [\"***\"], \"n\": 1}"),
    ('{"password": {"value": "§"}}', '{"password": {"***"}}'),
    ("{'api_key': SecretStr('§')}", "{'api_key': ('***')}"),
    ("password=[a b]§ next", "password=*** next"),
    ("[('Authorization', 'Basic §')]", "[('Authorization', '***')]"),
    ("[(b'x-api-key', b'§'), 1]", "[(b'x-api-key', b'***'), 1]"),
    ('[["password","§"]]', '[["password","***"]]'),
    (r"[[\"password\",\"§\"]]", r"[[\"password\",\"***\"]]"),
    ("postgres://u:p@§@host/db", "postgres://u:***@host/db"),
    ("smtp://bob@x.com:§@h", "smtp://***:***@h"),
    ("password=ab&§", "password=***"),
    ("https://h/?password=§&x=1", "https://h/?password=***&x=1"),
    ("Password: two §", "Password: ***"),
    ('pw\n  db_password: two "§"\nnext', "pw\n  db_password: ***\nnext"),
    ("password='two §' next", "password='***' next"),
    ("\x1b[36mapi_key\x1b[0m=\x1b[35m§\x1b[0m", "api_key=***"),
    ("\x1b[35msk-§-0123456789\x1b[0m", "sk-***"),
    ("\x1b[35mBearer §", "Bearer ***"),
    (r'{"m": "\u001b[35mBearer §", "n": "\u001b[0m"}', r'{"m": "Bearer ***", "n": "\u001b[0m"}'),
    ("run --api-key § --x", "run --api-key *** --x"),
    ("run --password 'a §' --x", "run --password '***' --x"),
    ("['--api-key', '§', '-x']", "['--api-key', '***', '-x']"),
    ("run --hf-token § --x", "run --hf-token *** --x"),
    ("run --api-key=§ --x", "run --api-key=*** --x"),
    ("api_key => '§'", "api_key => '***'"),
    ("Bearer%20§", "Bearer%20***"),
    ("Authorization%3A%20Basic%20§", "Authorization%3A%20Basic%20***"),
    ('{"token":"§"}', '{"token":"***"}'),
    ("{'token': b'§'}", "{'token': b'***'}"),
    ("HF_TOKEN=§", "HF_TOKEN=***"),
    ("APP_SECRET=§ DB_PASS=§", "APP_SECRET=*** DB_PASS=***"),
    ("api_key: |\n  §\n  §\nnext", "api_key: |***\nnext"),
    ("- api_key: >-\n    §\nnext", "- api_key: >-***\nnext"),
    (r'{"y": "api_key: |\n  §"}', r'{"y": "api_key: |***"}'),
    ("set FAL_KEY '§'", "set FAL_KEY '***'"),
    ("set -gx FAL_KEY §", "set -gx FAL_KEY ***"),
    ('setx OPENAI_API_KEY "§"', 'setx OPENAI_API_KEY "***"'),
    ("https://h/o?hdntl=exp=1~hmac=§&x=1", "https://h/o?hdntl=***&x=1"),
    ("https://h/o?jwt=§&x=1", "https://h/o?jwt=***&x=1"),
    ("{'X-Amz-Signature': '§', 'n': 1}", "{'X-Amz-Signature': '***', 'n': 1}"),
    ('{"X-Amz-Security-Token": ["§"]}', '{"X-Amz-Security-Token": ["***"]}'),
    ("X-Goog-Signature: §", "X-Goog-Signature: ***"),
    ("('x-amz-credential', '§')", "('x-amz-credential', '***')"),
    ("api key: §", "api key: ***"),
    ("API Key = '§'", "API Key = '***'"),
    ("the api key is § now", "the api key is *** now"),
    ("api_key § was used", "api_key *** was used"),
    ("sent Basic dXNlcjpz§=", "sent Basic ***"),
    ("Basic%20§%3D", "Basic%20***"),
    ("GOCSPX-§", "GOCSPX-***"),
    ("SG.§.§", "SG.***"),
    ("ya29.§§", "ya29.***"),
    ("shpat_§0123", "shpat_***"),
    ("gsk_§0123", "gsk_***"),
    ("nvapi-§0123", "nvapi-***"),
    ("rk_live_§", "rk-***"),
    ("sk_test_§", "sk-***"),
    ("npm_§0123", "npm_***"),
    ("pypi-§0123", "pypi_***"),
    ("glpat-§", "glpat-***"),
]


@pytest.mark.parametrize(("text", "expected"), FORMS)
def test_forms_of_a_secret(text: str, expected: str) -> None:
    """With all presets on, whatever way a name and its value are written."""
    masked, _ = presets().text(text.replace("§", LEAKED))
    assert masked == expected


@pytest.mark.parametrize("text", [text for text, _ in FORMS])
@pytest.mark.parametrize("nested", [1, 2])
def test_forms_of_a_secret_in_json(text: str, nested: int) -> None:
    """The same within JSON text, and JSON within that."""
    text = text.replace("§", LEAKED)
    for _ in range(nested):
        text = json.dumps({"m": text, "n": "kept"})
    masked, _ = presets().text(text)
    assert LEAKED not in masked


around = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=6)


@given(
    st.sampled_from(["api_key", "X-Api-Key", "DB_PASSWORD", "FAL_KEY", "authorization"]),
    st.builds(lambda before, after: f"{before}{LEAKED}{after}", around, around),
    st.sampled_from(
        [str, str.encode, lambda v: [v], lambda v: [v.encode(), v], lambda v: {"v": v}]
    ),
    st.sampled_from([repr, json.dumps, lambda v: json.dumps(json.dumps(v))]),
)
def test_any_secret_between_quotes(
    name: str, secret: str, kind: Callable[[str], object], written: Callable[[object], str]
) -> None:
    """Whatever stands in it, quotes and backslashes included."""
    try:
        text = written({name: kind(secret), "n": 1})
    except TypeError:  # bytes are not JSON
        return
    masked, _ = presets().text(text)
    assert LEAKED not in masked


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("api_key", ["§", "§"], ["***", "***"]),
        ("Authorization", ["Basic §"], ["Basic ***"]),
        ("password", {"value": [["§"]], "n": None}, {"value": [["***"]], "n": None}),
        ("headers", [["x-api-key", "§"], ["x", "y"]], [["x-api-key", "***"], ["x", "y"]]),
        ("token", {"value": "§", "count": 512}, {"value": "***", "count": 512}),
        ("values", ["§", 1], [LEAKED, 1]),
    ],
)
def test_what_is_below_a_secret_name(name: str, value: Json, expected: Json) -> None:
    """A label or a JSON field hides the same as JSON text, in lists and objects."""
    value = json.loads(json.dumps(value, ensure_ascii=False).replace("§", LEAKED))
    rules = Rules(parse_json=True, masks=preset_masks(list(PRESETS)))
    message = json.dumps({"msg": "m", name: value})
    [record] = shaped(rules, printed(message, **{name: value}))
    kept = attributes(record)
    assert (kept[f"json.{name}"], kept[f"fal.label.{name}"]) == (expected, expected)


def test_a_pair_of_texts_that_a_mask_breaks() -> None:
    """A list whose JSON text is none any more is kept as that text."""
    rules = Rules(masks=(Mask("mask[0]", r'\["a","b"', ""),))
    [record] = shaped(rules, printed("m", k=["a", "b"]))
    assert attributes(record)["fal.label.k"] == "]"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "71 seconds of sleep remaining",
        "GET /run 200 in 5 ms",
        "password reset mail sent",
        "the password is checked by the server",
        "token count 512",
        "max_tokens=512, token: 512, tokens: 12345678",
        "{'tokens': [15496, 995], 'token': 15496, 'text': 'Hello'}",
        '{"pad_token": "<|endoftext|>", "eos_token": "</s>", "mask_token": "[MASK]"}',
        "Unexpected token: }",
        "missing fields: 'api_key', 'prompt', 'seed'",
        "required = ['password', 'user', 'host']",
        "unknown option --api-keys",
        "\x1b[32mINFO\x1b[0m loaded \x1b[1mmodel\x1b[0m",
        "see http://localhost:8080/a@b and redis://h:6379",
        "author: Bob, authored: yes, basic setup done",
        "set password policy for the user; set api_key first",
        "the api key is missing, an api key: required, api_key 2024-01-01",
        "api_key validation failed, access key rotation is due",
        "Basic authentication, Basic Auth, basic OpenGL and Basic JavaScript",
        "SG.com is a site; a skill-set; hvs. is short; whsec_ is a prefix",
        '{"n": "x"} "quoted"@home and a@[b]',
    ],
)
def test_presets_leave_plain_text(text: str) -> None:
    """All of them together change nothing that is no secret."""
    assert presets().text(text) == (text, frozenset())


def test_presets_have_the_settings_names() -> None:
    """The settings name the presets that there are."""
    assert set(get_args(PresetName)) == set(PRESETS)


def test_masks_come_one_after_another() -> None:
    """Each sees what the ones before it left, and is counted once for a record."""
    rules = Rules(masks=(Mask("mask[0]", "X+", "Y"), Mask("mask[1]", "Y+", r"<\0>")))
    done = mapper(rules)
    done.encode([printed("XX Y X", x="XY"), printed("c")], OBSERVED)
    assert done.settle() == {"mask[0]": 1, "mask[1]": 1}
    assert bodies(rules, printed("XX Y X")) == ["<Y> <Y> <Y>"]


def test_a_mask_that_cannot_be_used() -> None:
    """Refused when the mapper is made."""
    with pytest.raises(PatternError):
        mapper(Rules(masks=(Mask("mask[0]", "("),)))


def test_what_is_no_secret_is_not_masked() -> None:
    """A time and a known level stay, so that a greedy pattern does not cost them."""
    rules = Rules(masks=(Mask("mask[0]", "[A-Z0-9]+"),))
    [record] = shaped(rules, printed("A1", level="ERROR", logged_at="2025-09-19T12:16:11+00:00"))
    assert (record.severity_text, record.body.string_value) == ("ERROR", "***")
    assert record.time_unix_nano == 1_758_284_171_000_000_000
    assert attributes(record)["fal.timestamp"] == TIME


def test_a_secret_split_over_lines() -> None:
    """A traceback is joined before it is masked."""
    header, frame = "Traceback (most recent call last):", "  client(key=abc"
    rules = Rules(join_tracebacks=True, masks=(Mask("mask[0]", r"abc\n  def"),))
    found = [printed(text, n) for n, text in enumerate([header, frame, "  def)"])]
    [record] = shaped(rules, *found)
    assert record.body.string_value == f"{header}\n  client(key=***)"
    assert attributes(record)["exception.stacktrace"] == record.body.string_value


def test_a_secret_behind_colours() -> None:
    """Escapes are taken out before masks look."""
    rules = Rules(strip_ansi=True, masks=preset_masks(["bearer"]))
    assert bodies(rules, printed("Bearer \x1b[1mabc\x1b[0mdefgh")) == ["Bearer ***"]


def test_a_named_secret_wherever_its_name_goes() -> None:
    """The name of a label or JSON field counts as in JSON text; the name itself stays."""
    rules = Rules(parse_json=True, masks=preset_masks(["password"]))
    found = printed('{"msg": "m", "password": "hunter2", "n": {"pwd": 5}}', db_password="hunter2")
    [record] = shaped(rules, found)
    assert attributes(record)["json.password"] == "***"
    assert attributes(record)["json.n"] == {"pwd": "***"}
    assert attributes(record)["fal.label.db_password"] == "***"


def test_names_are_not_masked() -> None:
    """A pattern that a name alone matches changes neither the name nor its value."""
    rules = Rules(masks=(Mask("mask[0]", "user"), Mask("mask[1]", '"n":')))
    found = printed({"user": 1}, user_id="u-1", n="2", m={"user": [3], "n": 4})
    [record] = shaped(rules, found)
    kept = attributes(record)
    assert (kept["fal.label.user_id"], kept["fal.label.n"]) == ("u-1", "2")
    assert kept["fal.label.m"] == {"user": [3], "n": 4}


def test_a_message_that_is_no_text() -> None:
    """It is looked through as the text that the body will be."""
    rules = Rules(masks=(Mask("mask[0]", r"Bearer\W+\w+"),))
    assert bodies(rules, printed(["Bearer", "abc"])) == ['["***"]']
    assert bodies(rules, printed(["Bear", "abc"])) == ['["Bear","abc"]']


def test_the_text_of_a_malformed_entry() -> None:
    """It is looked through as the whole that it is."""
    rules = Rules(masks=(Mask("mask[0]", r"Bearer\W+\w+"),))
    [record] = shaped(rules, identified({"labels": 5, "x": ["Bearer", "abc"]}))
    assert attributes(record)["log.record.original"] == '{"labels":5,"x":["***"]}'


def test_a_mask_that_breaks_a_pair() -> None:
    """Then nothing of the value is kept."""
    rules = Rules(masks=(Mask("mask[0]", '"k":"v', ""),))
    [record] = shaped(rules, printed("m", k="very secret"))
    assert attributes(record)["fal.label.k"] == "***"


@pytest.mark.parametrize(
    "text",
    [
        r'{"u": "https:\/\/h\/?s\u0069g=abc"}',
        r'say "hi" or "not {"u": "https:\/\/h\/?s\u0069g=abc"}',
        json.dumps({"inner": json.dumps({"u": json.dumps("https://h?sig=abc")})}),
        r"C:\new\d \u00zz ?sig=abc",
    ],
)
def test_escaped_secrets(text: str) -> None:
    """A pattern sees what a JSON reader would."""
    masked, rules = presets("signed_url").text(text)
    assert "abc" not in masked
    assert rules == {"mask_presets.signed_url"}


@given(st.text(max_size=40))
def test_text_without_a_secret_stays(text: str) -> None:
    """Not a character changes where nothing is found, escapes included."""
    masks = Masks(MASKS)
    for one in (text, json.dumps({"a": text}), json.dumps(json.dumps(text))):
        if SECRET not in text and str(NUMBER) not in text:
            assert masks.text(one) == (one, frozenset())


any_text = st.text(st.characters(exclude_categories=()), max_size=10)
hidden = st.sampled_from(
    [SECRET, json.dumps(SECRET), json.dumps({"a": SECRET}), f'{{"m":"{SECRET}']
)
secret_text = st.builds(lambda a, s, b: f"{a}{s}{b}", any_text, hidden, any_text)
leaves = (
    st.none() | st.booleans() | st.floats() | any_text | secret_text | st.just(NUMBER)
    | st.builds(json.dumps, st.dictionaries(any_text, secret_text | st.just(NUMBER), max_size=2))
)  # fmt: skip
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=8,
)
keys = any_text | st.sampled_from(
    ["app", "fal_env", "fal_job_id", "level", "logged_at", "message", "source", "trace_id",
     "traceback", "traceparent", "timestamp", "revision", "labels", "password"]
)  # fmt: skip
entries = st.dictionaries(keys, values | st.just(TIME), max_size=6) | values


@given(st.lists(entries, max_size=4), st.booleans())
@settings(max_examples=400)
def test_no_secret_reaches_the_disk(raws: list[Json], plain: bool) -> None:
    """Whatever entries are, under all rules or masks alone: not in the bytes, in no writing."""
    found = [identified(raw, number) for number, raw in enumerate(raws)]
    encoded = mapper(Rules(masks=MASKS) if plain else EVERYTHING).encode(found, OBSERVED)
    sent = Request(tuple(encoded)).raw
    for written in (SECRET, json.dumps(SECRET)[1:-1], str(NUMBER)):
        assert written.encode() not in sent
    assert b"\x18" + _varint(NUMBER) not in sent


def _varint(value: int) -> bytes:
    """A number as protobuf writes it (behind the tag of ``int_value``)."""
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*written, value])


@pytest.mark.parametrize("depth", [16, 17, 33, 2_000, 50_000])
@pytest.mark.parametrize("key", [None, "k"])
def test_no_secret_is_too_deep(depth: int, key: str | None) -> None:
    """However deep it is nested, in a label, a field, a message or an entry that is no object."""
    deep: Any = SECRET
    for _ in range(depth):
        deep = [deep] if key is None else {key: deep}
    raw = {"timestamp": TIME, "message": deep, "more": deep, "labels": {"x": deep}}
    for one in (raw, deep, {"labels": deep}):
        encoded = mapper(Rules(masks=MASKS)).encode([identified(one)], OBSERVED)
        assert SECRET.encode() not in Request(tuple(encoded)).raw
