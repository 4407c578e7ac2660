#include "earmark/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void put(em_json_writer_t *w, const char *text, size_t n) {
    if (w->overflow || n >= w->capacity - w->length) {
        w->overflow = true;
        return;
    }
    memcpy(w->text + w->length, text, n);
    w->length += n;
}

static void put_quoted(em_json_writer_t *w, const char *text) {
    put(w, "\"", 1);
    for (; *text; text++) {
        const bool plain = *text >= ' ' && *text <= '~' && *text != '"' && *text != '\\';
        put(w, plain ? text : "?", 1);
    }
    put(w, "\"", 1);
}

static void lead_in(em_json_writer_t *w, const char *key) {
    if (w->need_comma) {
        put(w, ",", 1);
    }
    w->need_comma = true;
    if (key != NULL) {
        put_quoted(w, key);
        put(w, ":", 1);
    }
}

void em_json_begin(em_json_writer_t *w, char *text, size_t capacity) {
    *w = (em_json_writer_t){.text = text, .capacity = capacity, .overflow = capacity == 0};
}

void em_json_open(em_json_writer_t *w, const char *key, char bracket) {
    lead_in(w, key);
    put(w, &bracket, 1);
    w->need_comma = false;
}

void em_json_close(em_json_writer_t *w, char bracket) {
    put(w, &bracket, 1);
    w->need_comma = true;
}

void em_json_string(em_json_writer_t *w, const char *key, const char *value) {
    lead_in(w, key);
    put_quoted(w, value);
}

void em_json_integer(em_json_writer_t *w, const char *key, int64_t value) {
    char digits[24];
    const int n = snprintf(digits, sizeof digits, "%" PRId64, value);
    lead_in(w, key);
    put(w, digits, (size_t)n);
}

void em_json_milli(em_json_writer_t *w, const char *key, int32_t value_milli) {
    char digits[24];
    const int64_t magnitude = value_milli < 0 ? -(int64_t)value_milli : value_milli;
    const int n = snprintf(digits, sizeof digits, "%s%" PRId64 ".%03" PRId64,
                           value_milli < 0 ? "-" : "", magnitude / 1000, magnitude % 1000);
    lead_in(w, key);
    put(w, digits, (size_t)n);
}

void em_json_bool(em_json_writer_t *w, const char *key, bool value) {
    lead_in(w, key);
    put(w, value ? "true" : "false", value ? 4 : 5);
}

void em_json_null(em_json_writer_t *w, const char *key) {
    lead_in(w, key);
    put(w, "null", 4);
}

em_status_t em_json_finish(em_json_writer_t *w) {
    if (w->overflow) {
        return EM_ERR_SIZE;
    }
    w->text[w->length] = '\0';
    return EM_OK;
}
