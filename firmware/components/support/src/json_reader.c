#include "earmark/json.h"

#include <string.h>

enum { MAX_DEPTH = 2, MICRO = 1000000 };

static bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void skip_space(em_json_reader_t *r) {
    while (r->at < r->end && is_space(*r->at)) {
        r->at++;
    }
}

static bool fail(em_json_reader_t *r) {
    r->status = EM_ERR_FORMAT;
    return false;
}

static bool take(em_json_reader_t *r, char c) {
    skip_space(r);
    if (r->at >= r->end || *r->at != c) {
        return false;
    }
    r->at++;
    return true;
}

void em_json_read(em_json_reader_t *r, const char *text, size_t length) {
    *r = (em_json_reader_t){.at = text, .end = text + length, .first = true, .status = EM_OK};
    while (r->end > r->at && is_space(r->end[-1])) {
        r->end--;
    }
    r->in_object = take(r, '{');
    if (!r->in_object && !take(r, '[')) {
        r->status = EM_ERR_FORMAT;
    } else if (r->at >= r->end || r->end[-1] != (r->in_object ? '}' : ']')) {
        r->status = EM_ERR_FORMAT;
    } else {
        r->end--; /* the closing bracket is checked, the rest is members */
    }
}

/* A string without escapes: nothing in our vocabulary needs one. */
static bool read_string(em_json_reader_t *r, const char **text, size_t *length) {
    if (!take(r, '"')) {
        return fail(r);
    }
    *text = r->at;
    while (r->at < r->end && *r->at != '"') {
        if (*r->at == '\\' || *r->at < ' ' || *r->at > '~') {
            return fail(r);
        }
        r->at++;
    }
    if (r->at >= r->end) {
        return fail(r);
    }
    *length = (size_t)(r->at - *text);
    r->at++;
    return true;
}

static bool read_number(em_json_reader_t *r, int64_t *micro) {
    const bool negative = take(r, '-');
    int64_t value = 0, unit = MICRO;
    const char *start = r->at;
    for (; r->at < r->end && *r->at >= '0' && *r->at <= '9'; r->at++) {
        if (r->at - start == 1 && *start == '0') {
            return fail(r); /* a leading zero */
        }
        if (value > (INT64_MAX / MICRO - 9) / 10) {
            return fail(r);
        }
        value = value * 10 + (*r->at - '0');
    }
    if (r->at == start) {
        return fail(r);
    }
    value *= MICRO;
    if (r->at < r->end && *r->at == '.') {
        const char *fraction = ++r->at;
        for (; r->at < r->end && *r->at >= '0' && *r->at <= '9'; r->at++) {
            unit /= 10;
            value += unit * (*r->at - '0'); /* digits beyond the sixth have unit 0 */
        }
        if (r->at == fraction) {
            return fail(r);
        }
    }
    *micro = negative ? -value : value;
    return true;
}

/* Passes over a nested container, checking only that brackets outside strings balance. */
static bool skip_nested(em_json_reader_t *r) {
    char closers[MAX_DEPTH];
    int depth = 0;
    while (r->at < r->end) {
        const char c = *r->at++;
        if (c == '"') {
            const char *text;
            size_t length;
            r->at--;
            if (!read_string(r, &text, &length)) {
                return false;
            }
        } else if (c == '{' || c == '[') {
            if (depth == MAX_DEPTH) {
                return fail(r);
            }
            closers[depth++] = c == '{' ? '}' : ']';
        } else if (c == '}' || c == ']') {
            if (closers[--depth] != c) {
                return fail(r);
            }
            if (depth == 0) {
                return true;
            }
        }
    }
    return fail(r);
}

static bool take_word(em_json_reader_t *r, const char *word) {
    const size_t n = strlen(word);
    if ((size_t)(r->end - r->at) < n || memcmp(r->at, word, n) != 0) {
        return false;
    }
    r->at += n;
    return true;
}

static bool read_value(em_json_reader_t *r, em_json_value_t *value) {
    skip_space(r);
    if (r->at >= r->end) {
        return fail(r);
    }
    const char c = *r->at;
    if (c == '"') {
        value->type = EM_JSON_STRING;
        return read_string(r, &value->text, &value->length);
    }
    if (c == '{' || c == '[') {
        value->type = c == '{' ? EM_JSON_OBJECT : EM_JSON_ARRAY;
        value->text = r->at;
        const bool ok = skip_nested(r);
        value->length = (size_t)(r->at - value->text);
        return ok;
    }
    if (take_word(r, "true") || take_word(r, "false")) {
        value->type = EM_JSON_BOOL;
        value->micro = c == 't';
        return true;
    }
    if (take_word(r, "null")) {
        value->type = EM_JSON_NULL;
        return true;
    }
    value->type = EM_JSON_NUMBER;
    return read_number(r, &value->micro);
}

bool em_json_next(em_json_reader_t *r, em_json_value_t *value) {
    *value = (em_json_value_t){0};
    if (r->status != EM_OK) {
        return false;
    }
    skip_space(r);
    if (r->at >= r->end) {
        return false;
    }
    if (!r->first && !take(r, ',')) {
        return fail(r);
    }
    r->first = false;
    if (r->in_object && (!read_string(r, &value->key, &value->key_length) || !take(r, ':'))) {
        return fail(r);
    }
    if (!read_value(r, value)) {
        return false;
    }
    skip_space(r);
    return r->at >= r->end || *r->at == ',' || fail(r);
}

bool em_json_key_is(const em_json_value_t *value, const char *key) {
    return value->key != NULL && strlen(key) == value->key_length &&
           memcmp(value->key, key, value->key_length) == 0;
}

bool em_json_copy_string(const em_json_value_t *value, char *out, size_t capacity) {
    if (value->type != EM_JSON_STRING || value->length == 0 || value->length >= capacity) {
        return false;
    }
    memcpy(out, value->text, value->length);
    out[value->length] = '\0';
    return true;
}

bool em_json_get_integer(const em_json_value_t *value, int64_t low, int64_t high, int64_t *out) {
    if (value->type != EM_JSON_NUMBER || value->micro % MICRO != 0) {
        return false;
    }
    *out = value->micro / MICRO;
    return *out >= low && *out <= high;
}
