/* JSON for one fixed vocabulary: a writer that cannot overrun and a reader that allocates nothing,
 * refuses escapes, exponents, duplicates of its caller's keys and nesting beyond two levels. */
#ifndef EARMARK_JSON_H
#define EARMARK_JSON_H

#include "earmark/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    char *text;
    size_t capacity, length;
    bool overflow, need_comma;
} em_json_writer_t;

void em_json_begin(em_json_writer_t *w, char *text, size_t capacity);
void em_json_open(em_json_writer_t *w, const char *key, char bracket); /* key NULL: no key */
void em_json_close(em_json_writer_t *w, char bracket);
/* Strings must be printable ASCII; any other byte, quote or backslash is replaced by '?'. */
void em_json_string(em_json_writer_t *w, const char *key, const char *value);
void em_json_integer(em_json_writer_t *w, const char *key, int64_t value);
/* value_milli = 930 is written as 0.930 (three decimals). */
void em_json_milli(em_json_writer_t *w, const char *key, int32_t value_milli);
void em_json_bool(em_json_writer_t *w, const char *key, bool value);
void em_json_null(em_json_writer_t *w, const char *key);
/* EM_ERR_SIZE if anything did not fit; the text is zero-terminated otherwise. */
em_status_t em_json_finish(em_json_writer_t *w);

typedef enum {
    EM_JSON_STRING,
    EM_JSON_NUMBER,
    EM_JSON_BOOL,
    EM_JSON_NULL,
    EM_JSON_ARRAY,
    EM_JSON_OBJECT
} em_json_type_t;

typedef struct {
    em_json_type_t type;
    const char *key; /* NULL inside an array */
    size_t key_length;
    const char *text; /* string body without quotes; array or object with its brackets */
    size_t length;
    int64_t micro; /* number * 1e6, exact; bool as 0 or 1 */
} em_json_value_t;

typedef struct {
    const char *at, *end;
    bool first, in_object;
    em_status_t status;
} em_json_reader_t;

/* Opens one object or array that spans exactly text[0..length). */
void em_json_read(em_json_reader_t *r, const char *text, size_t length);
/* False at the end or on an error; look at r->status afterwards: EM_OK or EM_ERR_FORMAT. */
bool em_json_next(em_json_reader_t *r, em_json_value_t *value);

bool em_json_key_is(const em_json_value_t *value, const char *key);
/* Copies a string value; false if it is not a string, empty or does not fit. */
bool em_json_copy_string(const em_json_value_t *value, char *out, size_t capacity);
/* False unless the value is a whole number in [low, high]. */
bool em_json_get_integer(const em_json_value_t *value, int64_t low, int64_t high, int64_t *out);

#endif
