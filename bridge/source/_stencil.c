/* Plain entries straight from an answer's bytes, without decoding them (docs/decisions/0031).
 *
 * The lines of one worker differ in a few texts: time, level, message, request id. What is left of
 * an entry when those are cut out is its *shape*; for a shape that Python has learned there is a
 * *stencil*, which says what each of the texts that were cut out is and what stands around it in
 * the canonical entry. `bridge/source/stencil.py` makes the stencils and is told of everything that
 * is not plain; that it comes to the same as the general way is for the tests to show.
 *
 * Everything here is bounds-checked against the end of the body, knows no recursion but that of
 * an entry into its labels, and steps aside (which sends an entry, or the body, the general way)
 * rather than to judge: nothing is refused here, and nothing repaired.
 *
 * Source of the form: RFC 8259. Python's limited API from 3.11 on, so one build serves all later.
 */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

/* ---- Bytes ------------------------------------------------------------------------------- */

typedef struct {
    const char *at, *end;
} Span;

static size_t size_of(Span span) { return (size_t)(span.end - span.at); }

static int same(Span one, Span other) {
    return size_of(one) == size_of(other) && memcmp(one.at, other.at, size_of(one)) == 0;
}

static int says(Span span, const char *word) {
    size_t size = strlen(word);
    return size_of(span) == size && memcmp(span.at, word, size) == 0;
}

static int contains(Span span, const char *word) {
    size_t size = strlen(word);
    while (size_of(span) >= size) {
        const char *found = memchr(span.at, word[0], size_of(span) - size + 1);
        if (found == NULL) return 0;
        if (memcmp(found, word, size) == 0) return 1;
        span.at = found + 1;
    }
    return 0;
}

/* Bytes being written. A failure to grow is remembered, so that it is asked for once, at the end. */
typedef struct {
    char *bytes;
    size_t size, room;
    int failed;
} Buffer;

static int reserve(Buffer *buffer, size_t more) {
    if (buffer->room - buffer->size >= more) return 1;
    size_t room = (buffer->size + more) * 2;
    char *bytes = buffer->failed ? NULL : PyMem_Realloc(buffer->bytes, room);
    if (bytes == NULL) {
        buffer->failed = 1;
        return 0;
    }
    buffer->bytes = bytes;
    buffer->room = room;
    return 1;
}

static void put(Buffer *buffer, Span span) {
    if (span.at == span.end || !reserve(buffer, size_of(span))) return;
    memcpy(buffer->bytes + buffer->size, span.at, size_of(span));
    buffer->size += size_of(span);
}

static void put_byte(Buffer *buffer, char byte) {
    if (reserve(buffer, 1)) buffer->bytes[buffer->size++] = byte;
}

static void put_varint(Buffer *buffer, size_t number) {
    for (; number > 0x7F; number >>= 7) put_byte(buffer, (char)((number & 0x7F) | 0x80));
    put_byte(buffer, (char)number);
}

static size_t varint_size(size_t number) {
    size_t size = 1;
    while (number >>= 7) size++;
    return size;
}

static PyObject *taken(Buffer *buffer) {
    PyObject *bytes =
        buffer->failed ? PyErr_NoMemory()
                       : PyBytes_FromStringAndSize(buffer->bytes, (Py_ssize_t)buffer->size);
    buffer->size = 0;
    return bytes;
}

/* ---- Texts ------------------------------------------------------------------------------- */

enum {
    ESCAPED = 1, /* it has an escape, which msgspec may write otherwise */
    WIDE = 2,    /* it has more than ASCII, and may not be UTF-8 */
    LONE = 4     /* it has half of a surrogate pair */
};

#define EACH_BYTE(byte) (UINT64_C(0x0101010101010101) * (byte))

/* Whether none of eight bytes is a control character, a quote, a backslash or beyond ASCII. */
static int all_ordinary(const char *at) {
    uint64_t eight, quote, slash;
    memcpy(&eight, at, 8);
    quote = eight ^ EACH_BYTE('"');
    slash = eight ^ EACH_BYTE('\\');
    uint64_t odd = (eight - EACH_BYTE(0x20)) | (quote - EACH_BYTE(1)) | (slash - EACH_BYTE(1));
    return ((odd | eight) & EACH_BYTE(0x80)) == 0;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* The 16 bits of a "\uXXXX" at `at`; -1 if there is none. */
static int32_t code_unit(const char *at, const char *end) {
    int32_t unit = 0;
    if (end - at < 6 || at[0] != '\\' || at[1] != 'u') return -1;
    for (int i = 2; i < 6; i++) {
        int digit = hex_digit(at[i]);
        if (digit < 0) return -1;
        unit = unit << 4 | digit;
    }
    return unit;
}

static int is_high(int32_t unit) { return unit >= 0xD800 && unit < 0xDC00; }
static int is_low(int32_t unit) { return unit >= 0xDC00 && unit < 0xE000; }

/* The length of the escape at `at`, both halves of a pair together; 0 if it is none. */
static size_t escape_size(const char *at, const char *end, int *flags) {
    if (end - at < 2) return 0;
    *flags |= ESCAPED;
    if (at[1] != 'u') return memchr("\"\\/bfnrt", at[1], 8) != NULL ? 2 : 0;
    int32_t unit = code_unit(at, end);
    if (unit < 0) return 0;
    if (is_high(unit) && is_low(code_unit(at + 6, end))) return 12;
    if (is_high(unit) || is_low(unit)) *flags |= LONE;
    return 6;
}

/* Where the text that begins at `at`, behind its quote, ends; NULL if it is none. */
static const char *text_end(const char *at, const char *end, int *flags) {
    for (;;) {
        while (end - at >= 8 && all_ordinary(at)) at += 8;
        if (at == end || *at == '"') return at == end ? NULL : at;
        if (*at == '\\') {
            size_t size = escape_size(at, end, flags);
            if (size == 0) return NULL;
            at += size;
        } else {
            unsigned char c = (unsigned char)*at++;
            if (c < 0x20) return NULL;
            if (c > 0x7F) *flags |= WIDE;
        }
    }
}

static void put_utf8(Buffer *buffer, int32_t point) {
    static const unsigned char first[] = {0, 0, 0xC0, 0xE0, 0xF0};
    int size = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    put_byte(buffer, (char)(size == 1 ? point : first[size] | point >> 6 * (size - 1)));
    while (--size > 0) put_byte(buffer, (char)(0x80 | (point >> 6 * (size - 1) & 0x3F)));
}

/* Write what a "\uXXXX", or a pair of them, stands for; where that ends. */
static const char *put_code_units(Buffer *buffer, const char *at, const char *end) {
    int32_t high = code_unit(at, end), low = is_high(high) ? code_unit(at + 6, end) : -1;
    put_utf8(buffer, low < 0 ? high : 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00));
    return at + (low < 0 ? 6 : 12);
}

/* Write a text with its escapes resolved; it is not LONE. */
static void put_unescaped(Buffer *buffer, Span text) {
    while (text.at < text.end) {
        const char *escape = memchr(text.at, '\\', size_of(text));
        put(buffer, (Span){text.at, escape == NULL ? text.end : escape});
        if (escape == NULL) return;
        text.at = escape + 2;
        switch (escape[1]) {
            case 'b': put_byte(buffer, '\b'); break;
            case 'f': put_byte(buffer, '\f'); break;
            case 'n': put_byte(buffer, '\n'); break;
            case 'r': put_byte(buffer, '\r'); break;
            case 't': put_byte(buffer, '\t'); break;
            case 'u': text.at = put_code_units(buffer, escape, text.end); break;
            default: put_byte(buffer, escape[1]);
        }
    }
}

/* Write a text with the escapes that msgspec would write. */
static void put_escaped(Buffer *buffer, Span text) {
    static const char short_ones[] = "\b\t\n\f\r\"\\", letters[] = "btnfr\"\\";
    for (; text.at < text.end; text.at++) {
        unsigned char c = (unsigned char)*text.at;
        const char *short_one = c == 0 ? NULL : strchr(short_ones, c);
        if (short_one != NULL || c < 0x20) put_byte(buffer, '\\');
        if (short_one != NULL) {
            put_byte(buffer, letters[short_one - short_ones]);
        } else if (c < 0x20) {
            put(buffer, (Span){"u00", "u00" + 3});
            put_byte(buffer, (char)('0' + (c >> 4)));
            put_byte(buffer, "0123456789abcdef"[c & 0xF]);
        } else {
            put_byte(buffer, (char)c);
        }
    }
}

static int is_utf8(Span text) {
    PyObject *decoded = PyUnicode_DecodeUTF8(text.at, (Py_ssize_t)size_of(text), "strict");
    if (decoded == NULL) PyErr_Clear();
    Py_XDECREF(decoded);
    return decoded != NULL;
}

/* ---- Times ------------------------------------------------------------------------------- */

static int number(const char *at, int digits, int *value) {
    for (*value = 0; digits > 0; digits--, at++) {
        if (*at < '0' || *at > '9') return 0;
        *value = *value * 10 + (*at - '0');
    }
    return 1;
}

static int is_leap(int year) { return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0); }

static int64_t days_before(int year, int month, int day) {
    static const int before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    int past = year - 1;
    int64_t days = (int64_t)past * 365 + past / 4 - past / 100 + past / 400;
    return days + before[month - 1] + (month > 2 && is_leap(year)) + day - 1 - 719162; /* to 1970 */
}

static int is_date(int year, int month, int day) {
    static const int longest[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (year < 1970 || year > 2500 || month < 1 || month > 12 || day < 1) return 0;
    return day <= longest[month - 1] - (month == 2 && !is_leap(year));
}

/* Microseconds since 1970 of "YYYY-MM-DDTHH:MM:SS.ffffff", without a zone or at +00:00. */
static int read_time(Span text, int64_t *tick) {
    int year, month, day, hour, minute, second, fraction;
    const char *at = text.at;
    size_t size = size_of(text);
    if (size != 26 && !(size == 32 && memcmp(at + 26, "+00:00", 6) == 0)) return 0;
    if (at[4] != '-' || at[7] != '-' || at[10] != 'T') return 0;
    if (at[13] != ':' || at[16] != ':' || at[19] != '.') return 0;
    if (!number(at, 4, &year) || !number(at + 5, 2, &month) || !number(at + 8, 2, &day)) return 0;
    if (!number(at + 11, 2, &hour) || !number(at + 14, 2, &minute)) return 0;
    if (!number(at + 17, 2, &second) || !number(at + 20, 6, &fraction)) return 0;
    if (!is_date(year, month, day) || hour > 23 || minute > 59 || second > 59) return 0;
    int64_t seconds = days_before(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
    *tick = seconds * 1000000 + fraction;
    return *tick > 0;
}

/* ---- Cutting: from an entry's text to its shape and what was cut out -------------------------- */

enum { MOST_CUTS = 32, MOST_KEPT = 32 };

/* One text that was cut out, without its quotes, and the name it stood under. */
typedef struct {
    Span name, text;
    int label, flags;
} Cut;

typedef struct {
    const char *at, *end; /* what of the body is still to be read */
    const char *run;      /* since where of it the entry is kept */
    Span kept[MOST_KEPT]; /* names of the labels that stay in the shape */
    size_t kept_count;
    Buffer shape;
    Cut cuts[MOST_CUTS];
    int count, plain, in_labels;
} Cutter;

static void skip_space(Cutter *it) {
    while (it->at < it->end && (*it->at == ' ' || *it->at == '\n' || *it->at == '\r' ||
                                *it->at == '\t'))
        it->at++;
}

/* Go past one character, and the space behind it. */
static int pass(Cutter *it, char wanted) {
    if (it->at == it->end || *it->at != wanted) return 0;
    it->at++;
    skip_space(it);
    return 1;
}

static int read_text(Cutter *it, Span *text, int *flags) {
    if (it->at == it->end || *it->at != '"') return 0;
    const char *close = text_end(it->at + 1, it->end, flags);
    if (close == NULL) return 0;
    *text = (Span){it->at + 1, close};
    it->at = close + 1;
    return 1;
}

static int is_scalar(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           c == '-' || c == '+' || c == '.';
}

/* Go past a value of any form, by its brackets; whether it is a good one, the decoder will say. */
static int skip_value(Cutter *it) {
    size_t depth = 0;
    do {
        const char *begun = it->at;
        Span text;
        int flags = 0;
        while (it->at < it->end && is_scalar(*it->at)) it->at++;
        if (it->at > begun) continue;
        if (it->at == it->end) return 0;
        switch (*it->at) {
            case '"':
                if (!read_text(it, &text, &flags)) return 0;
                continue;
            case '{':
            case '[':
                depth++;
                it->plain = 0;
                break;
            case '}':
            case ']':
                if (depth == 0) return 0;
                depth--;
                break;
            case ',':
            case ':':
            case ' ':
            case '\t':
            case '\n':
            case '\r':
                if (depth == 0) return 0;
                break;
            default: return 0;
        }
        it->at++;
    } while (depth > 0);
    return 1;
}

/* Whether what stands under a name is cut out. An entry with unknown fields is not plain. */
static int is_cut(Cutter *it, Span name) {
    if (it->in_labels) {
        for (size_t i = 0; i < it->kept_count; i++)
            if (same(name, it->kept[i])) return 0;
        return 1;
    }
    if (says(name, "timestamp") || says(name, "level") || says(name, "message")) return 1;
    if (!says(name, "app") && !says(name, "revision") && !says(name, "labels")) it->plain = 0;
    return 0;
}

static int read_members(Cutter *it);

/* Read a member's value: cut it out, keep it, or go into it. */
static int read_member(Cutter *it, Span name) {
    if (it->at == it->end) return 0;
    int cut = is_cut(it, name);
    if (!it->in_labels && *it->at == '{' && says(name, "labels")) {
        it->in_labels = 1;
        int read = read_members(it);
        it->in_labels = 0;
        return read;
    }
    if (!cut || *it->at != '"' || it->count == MOST_CUTS) {
        if (cut) it->plain = 0;
        return skip_value(it);
    }
    Cut *made = &it->cuts[it->count++];
    *made = (Cut){.name = name, .label = it->in_labels};
    put(&it->shape, (Span){it->run, it->at});
    put_byte(&it->shape, '\0'); /* which stands nowhere in JSON */
    if (!read_text(it, &made->text, &made->flags)) return 0;
    it->run = it->at;
    return 1;
}

static int read_members(Cutter *it) {
    if (!pass(it, '{')) return 0;
    if (it->at < it->end && *it->at == '}') {
        it->at++;
        return 1;
    }
    for (;;) {
        Span name;
        int flags = 0;
        if (!read_text(it, &name, &flags)) return 0;
        skip_space(it);
        if (!pass(it, ':') || !read_member(it, name)) return 0;
        skip_space(it);
        if (it->at < it->end && *it->at == '}') {
            it->at++;
            return 1;
        }
        if (!pass(it, ',')) return 0;
    }
}

/* Read one element of the array; its text, or an empty one if this is no JSON. */
static Span read_element(Cutter *it) {
    Span none = {it->at, it->at}, element = none;
    it->run = it->at;
    it->count = it->in_labels = 0;
    it->shape.size = 0;
    it->plain = it->at < it->end && *it->at == '{';
    if (!(it->plain ? read_members(it) : skip_value(it))) return none;
    put(&it->shape, (Span){it->run, it->at});
    element.end = it->at;
    return element;
}

/* ---- Filling: from a stencil and what was cut out to an entry ---------------------------------- */

/* A stencil's parts, in the order of the tuple that Python makes; see bridge/source/stencil.py. */
typedef struct {
    Span codes;
    PyObject *provenance;
    Span behind_message, own;
    PyObject *behind_own, *keys;
} Stencil;

/* The fields of an entry among what was cut out. */
typedef struct {
    const Cut *time, *level, *message;
} Fields;

typedef struct {
    PyObject *body, *known, *other, *entry, *cast, *hash;
    const char *begun;
    PyObject *copy, *update, *digest;
    Cutter cutter;
    Buffer canonical, text, encoded;
} Page;

static int bytes_of(PyObject *object, Span *span) {
    char *bytes;
    Py_ssize_t size;
    if (object == NULL || PyBytes_AsStringAndSize(object, &bytes, &size) < 0) return 0;
    *span = (Span){bytes, bytes + size};
    return 1;
}

/* The parts of a stencil; 0 with an exception if it is none. They are borrowed. */
static int unpacked(PyObject *tuple, Stencil *it) {
    if (!PyTuple_Check(tuple) || PyTuple_Size(tuple) != 6) {
        PyErr_SetString(PyExc_TypeError, "a stencil is a tuple of six");
        return 0;
    }
    it->provenance = PyTuple_GetItem(tuple, 1);
    it->behind_own = PyTuple_GetItem(tuple, 4);
    it->keys = PyTuple_GetItem(tuple, 5);
    return bytes_of(PyTuple_GetItem(tuple, 0), &it->codes) &&
           bytes_of(PyTuple_GetItem(tuple, 2), &it->behind_message) &&
           bytes_of(PyTuple_GetItem(tuple, 3), &it->own);
}

/* Whether a text repeats the time with an offset of zero, as `logged_at` does. */
static int repeats_time(Span text, Span time) {
    size_t size = size_of(time);
    return size_of(text) == size + 6 && memcmp(text.at, time.at, size) == 0 &&
           memcmp(text.at + size, "+00:00", 6) == 0;
}

/* Whether what was cut out is what the codes say, and can be read. */
static int fits(const Cutter *it, Span codes, Fields *fields) {
    if (size_of(codes) != (size_t)it->count) return 0;
    for (int i = 0; i < it->count; i++) {
        const Cut *cut = &it->cuts[i];
        if (codes.at[i] == 't') fields->time = cut;
        if (codes.at[i] == 'l') fields->level = cut;
        if (codes.at[i] == 'm') fields->message = cut;
        if (cut->flags & LONE || (cut->flags & WIDE && !is_utf8(cut->text))) return 0;
    }
    if (fields->time == NULL || fields->level == NULL || fields->message == NULL) return 0;
    for (int i = 0; i < it->count; i++) {
        Span text = it->cuts[i].text;
        if (codes.at[i] == 'L' && !same(text, fields->level->text)) return 0;
        if (codes.at[i] == 'M' && !same(text, fields->message->text)) return 0;
        if (codes.at[i] == 'T' && !repeats_time(text, fields->time->text)) return 0;
    }
    return fields->level->flags == 0;
}

static Span unescaped(Page *page, const Cut *cut) {
    if (!(cut->flags & ESCAPED)) return cut->text;
    page->text.size = 0;
    put_unescaped(&page->text, cut->text);
    return (Span){page->text.bytes, page->text.bytes + page->text.size};
}

/* A text as it stands in the canonical entry. */
static void put_text(Page *page, const Cut *cut) {
    put_byte(&page->canonical, '"');
    if (cut->flags & ESCAPED) put_escaped(&page->canonical, unescaped(page, cut));
    else put(&page->canonical, cut->text);
    put_byte(&page->canonical, '"');
}

/* The canonical entry up to its message. */
static void put_before_message(Buffer *buffer, int64_t tick, Span level) {
    char digits[20], *first = digits + sizeof digits;
    do *--first = (char)('0' + tick % 10);
    while (tick /= 10);
    put_byte(buffer, '[');
    put(buffer, (Span){first, digits + sizeof digits});
    put(buffer, (Span){",\"", ",\"" + 2});
    for (; level.at < level.end; level.at++) {
        char c = *level.at;
        put_byte(buffer, c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c);
    }
    put(buffer, (Span){"\",", "\"," + 2});
}

/* What stands before a field of variable length. */
static void put_opening(Buffer *buffer, int field, size_t size) {
    put_byte(buffer, (char)(field << 3 | 2));
    put_varint(buffer, size);
}

/* A log record's attribute that is a text: `key` is encoded (bridge/mapping/wire.py). */
static void put_attribute(Buffer *buffer, Span key, Span text) {
    size_t string = 1 + varint_size(size_of(text)) + size_of(text);
    size_t value = 1 + varint_size(string) + string;
    put_opening(buffer, 6, size_of(key) + value);
    put(buffer, key);
    put_opening(buffer, 2, string);
    put_opening(buffer, 1, size_of(text));
    put(buffer, text);
}

/* A log record's time, in nanoseconds; never zero. */
static void put_time(Buffer *buffer, int64_t tick) {
    uint64_t nanoseconds = (uint64_t)tick * 1000;
    put_byte(buffer, 1 << 3 | 1);
    for (int i = 0; i < 8; i++, nanoseconds >>= 8) put_byte(buffer, (char)(nanoseconds & 0xFF));
}

/* A log record's body. */
static void put_body(Buffer *buffer, Span text) {
    put_opening(buffer, 5, 1 + varint_size(size_of(text)) + size_of(text));
    put_opening(buffer, 1, size_of(text));
    put(buffer, text);
}

/* The canonical entry, whole; 0 with an exception if the stencil is not one. */
static int put_canonical(Page *page, const Stencil *stencil, int64_t tick, const Fields *fields) {
    Buffer *buffer = &page->canonical;
    buffer->size = 0;
    put_before_message(buffer, tick, fields->level->text);
    put_text(page, fields->message);
    put(buffer, stencil->behind_message);
    for (Py_ssize_t i = 0; i < (Py_ssize_t)size_of(stencil->own); i++) {
        Span behind;
        unsigned char which = (unsigned char)stencil->own.at[i];
        if (which >= page->cutter.count) {
            PyErr_SetString(PyExc_TypeError, "a stencil speaks of what was not cut out");
            return 0;
        }
        put_text(page, &page->cutter.cuts[which]);
        if (!bytes_of(PyTuple_GetItem(stencil->behind_own, i), &behind)) return 0;
        put(buffer, behind);
    }
    return 1;
}

/* The attributes of the entry's own labels, in their order; 0 with an exception. */
static int put_attributes(Page *page, const Stencil *stencil) {
    Py_ssize_t label = 0;
    page->encoded.size = 0;
    for (int i = 0; i < page->cutter.count; i++) {
        if (stencil->codes.at[i] != 'o') continue;
        Span text = unescaped(page, &page->cutter.cuts[i]);
        PyObject *keys = PyTuple_GetItem(stencil->keys, label++);
        Py_ssize_t count = keys == NULL ? -1 : PyTuple_Size(keys);
        if (count < 0) return 0;
        for (Py_ssize_t k = 0; k < count; k++) {
            Span key;
            if (!bytes_of(PyTuple_GetItem(keys, k), &key)) return 0;
            put_attribute(&page->encoded, key, text);
        }
    }
    return 1;
}

/* Whether the general way would look for traces in it. */
static int speaks_of_traces(Page *page, Span codes) {
    for (int i = 0; i < page->cutter.count; i++)
        if ((codes.at[i] == 'm' || codes.at[i] == 'o') &&
            contains(unescaped(page, &page->cutter.cuts[i]), "race"))
            return 1;
    return 0;
}

/* The hash of the canonical entry. */
static PyObject *hash_of(Page *page) {
    PyObject *digest = NULL, *done = NULL, *hash = NULL, *bytes = taken(&page->canonical);
    if (bytes != NULL) hash = PyObject_CallMethodObjArgs(page->hash, page->copy, NULL);
    if (hash != NULL) done = PyObject_CallMethodObjArgs(hash, page->update, bytes, NULL);
    if (done != NULL) digest = PyObject_CallMethodObjArgs(hash, page->digest, NULL);
    Py_XDECREF(done);
    Py_XDECREF(hash);
    Py_XDECREF(bytes);
    return digest;
}

static PyObject *bytes_from(Span span) {
    return PyBytes_FromStringAndSize(span.at, (Py_ssize_t)size_of(span));
}

static PyObject *encoded_time(Page *page, int64_t tick) {
    put_time(&page->encoded, tick);
    return taken(&page->encoded);
}

static PyObject *encoded_body(Page *page, const Cut *message) {
    put_body(&page->encoded, unescaped(page, message));
    return page->text.failed ? PyErr_NoMemory() : taken(&page->encoded);
}

/* What `Cast` is made of, in its order; `page` holds the canonical entry and the attributes. */
static PyObject *cast_part(Page *page, int number, Span text, int64_t tick, const Fields *fields) {
    Span level = fields->level->text;
    switch (number) {
        case 0: return Py_NewRef(page->body);
        case 1: return PyLong_FromSsize_t(text.at - page->begun);
        case 2: return PyLong_FromSsize_t(text.end - page->begun);
        case 3: return hash_of(page);
        case 4: return PyUnicode_DecodeUTF8(level.at, (Py_ssize_t)size_of(level), "strict");
        case 5: return taken(&page->encoded);
        case 6: return encoded_time(page, tick);
        default: return encoded_body(page, fields->message);
    }
}

enum { CAST_PARTS = 8 };

/* The entry, of the classes that Python gave. */
static PyObject *built(Page *page, const Stencil *stencil, Span text, int64_t tick,
                       const Fields *fields) {
    PyObject *entry = NULL, *cast = NULL, *time = NULL, *parts = PyTuple_New(CAST_PARTS);
    for (int i = 0; parts != NULL && i < CAST_PARTS; i++) {
        PyObject *part = cast_part(page, i, text, tick, fields);
        if (part == NULL || PyTuple_SetItem(parts, i, part) < 0) Py_CLEAR(parts);
    }
    if (parts != NULL) cast = PyObject_Call(page->cast, parts, NULL);
    if (cast != NULL) time = PyLong_FromLongLong(tick);
    if (time != NULL)
        entry = PyObject_CallFunctionObjArgs(page->entry, Py_None, time, stencil->provenance, cast,
                                             NULL);
    Py_XDECREF(time);
    Py_XDECREF(cast);
    Py_XDECREF(parts);
    return entry;
}

/* Fill a stencil; NULL without an exception if the entry does not fit it. */
static PyObject *filled(Page *page, PyObject *tuple, Span text) {
    Stencil stencil;
    Fields fields = {NULL, NULL, NULL};
    int64_t tick;
    if (!unpacked(tuple, &stencil)) return NULL;
    if (!fits(&page->cutter, stencil.codes, &fields)) return NULL;
    if (!read_time(fields.time->text, &tick) || speaks_of_traces(page, stencil.codes)) return NULL;
    if (!put_canonical(page, &stencil, tick, &fields)) return NULL;
    if (!put_attributes(page, &stencil)) return NULL;
    return built(page, &stencil, text, tick, &fields);
}

/* ---- A page --------------------------------------------------------------------------------- */

/* What was cut out, for Python to learn from: whether of a label, and the name as it stands. */
static PyObject *names_cut(const Cutter *it) {
    PyObject *names = PyTuple_New(it->count);
    for (int i = 0; names != NULL && i < it->count; i++) {
        Span name = it->cuts[i].name;
        PyObject *pair = Py_BuildValue("(iy#)", it->cuts[i].label, name.at,
                                       (Py_ssize_t)size_of(name));
        if (pair == NULL || PyTuple_SetItem(names, i, pair) < 0) Py_CLEAR(names);
    }
    return names;
}

static PyObject *told(Page *page, Span text, PyObject *shape) {
    PyObject *bytes = bytes_from(text), *entry = NULL;
    PyObject *names = shape == Py_None ? Py_NewRef(Py_None) : names_cut(&page->cutter);
    if (bytes != NULL && names != NULL)
        entry = PyObject_CallFunctionObjArgs(page->other, bytes, shape, names, NULL);
    Py_XDECREF(names);
    Py_XDECREF(bytes);
    return entry;
}

static PyObject *entry_from(Page *page, Span text) {
    if (!page->cutter.plain) return told(page, text, Py_None);
    PyObject *shape = taken(&page->cutter.shape), *entry = NULL;
    if (shape == NULL) return NULL;
    PyObject *stencil = PyDict_GetItemWithError(page->known, shape);
    if (stencil != NULL) {
        Py_INCREF(stencil);
        entry = filled(page, stencil, text);
        if (entry == NULL && !PyErr_Occurred()) entry = told(page, text, Py_None);
        Py_DECREF(stencil);
    } else if (!PyErr_Occurred()) {
        entry = told(page, text, shape);
    }
    Py_DECREF(shape);
    return entry;
}

/* Take the names of the labels to keep; 0 with an exception. */
static int keep(Cutter *it, PyObject *names) {
    Py_ssize_t count = PyTuple_Size(names);
    if (count > MOST_KEPT) {
        PyErr_SetString(PyExc_ValueError, "so many labels cannot be kept");
        return 0;
    }
    for (Py_ssize_t i = 0; i < count; i++)
        if (!bytes_of(PyTuple_GetItem(names, i), &it->kept[it->kept_count++])) return 0;
    return 1;
}

/* All elements of the array; 0 without an exception if the body is no array, or not JSON. */
static int read_entries(Page *page, PyObject *entries) {
    Cutter *it = &page->cutter;
    skip_space(it);
    if (!pass(it, '[')) return 0;
    int more = !(it->at < it->end && *it->at == ']');
    while (more) {
        Span text = read_element(it);
        if (text.at == text.end) return 0;
        PyObject *entry = entry_from(page, text);
        int failed = entry == NULL || PyList_Append(entries, entry) < 0;
        Py_XDECREF(entry);
        if (failed) return 0;
        skip_space(it);
        more = pass(it, ',');
    }
    return pass(it, ']') && it->at == it->end;
}

PyDoc_STRVAR(scan_doc, "scan(body, kept, known, other, entry, cast, hash)\n--\n\n"
                       "See bridge.source.stencil.Scan.");

static PyObject *scan(PyObject *module, PyObject *args) {
    Page page = {0};
    Span body;
    PyObject *kept, *entries = NULL, *result = NULL;
    (void)module;
    if (!PyArg_ParseTuple(args, "SO!O!OOOO:scan", &page.body, &PyTuple_Type, &kept,
                          &PyDict_Type, &page.known, &page.other, &page.entry, &page.cast,
                          &page.hash))
        return NULL;
    if (!bytes_of(page.body, &body)) return NULL;
    page.begun = page.cutter.at = body.at;
    page.cutter.end = body.end;
    page.copy = PyUnicode_InternFromString("copy");
    page.update = PyUnicode_InternFromString("update");
    page.digest = PyUnicode_InternFromString("digest");
    if (page.copy != NULL && page.update != NULL && page.digest != NULL &&
        keep(&page.cutter, kept))
        entries = PyList_New(0);
    if (entries != NULL) {
        if (read_entries(&page, entries)) result = PyList_AsTuple(entries);
        else if (!PyErr_Occurred()) result = Py_NewRef(Py_None);
    }
    Py_XDECREF(entries);
    Py_XDECREF(page.copy);
    Py_XDECREF(page.update);
    Py_XDECREF(page.digest);
    PyMem_Free(page.cutter.shape.bytes);
    PyMem_Free(page.canonical.bytes);
    PyMem_Free(page.text.bytes);
    PyMem_Free(page.encoded.bytes);
    return result;
}

static PyMethodDef methods[] = {{"scan", scan, METH_VARARGS, scan_doc}, {NULL, NULL, 0, NULL}};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "bridge.source._stencil",
    .m_doc = "Plain entries straight from an answer's bytes.",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__stencil(void) { return PyModuleDef_Init(&definition); }
