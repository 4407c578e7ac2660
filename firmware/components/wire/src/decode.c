#include "earmark/json.h"
#include "earmark/wire.h"

#include <string.h>

static bool parse_hex64(const em_json_value_t *value, uint64_t *out) {
    if (value->type != EM_JSON_STRING || value->length != 16) {
        return false;
    }
    *out = 0;
    for (size_t i = 0; i < 16; i++) {
        const char c = value->text[i];
        const bool digit = c >= '0' && c <= '9', letter = c >= 'a' && c <= 'f';
        if (!digit && !letter) {
            return false;
        }
        *out = *out << 4 | (uint64_t)(digit ? c - '0' : c - 'a' + 10);
    }
    return true;
}

static bool parse_sequence(const em_json_value_t *value, uint32_t *out) {
    int64_t number;
    if (!em_json_get_integer(value, 0, UINT32_MAX, &number)) {
        return false;
    }
    *out = (uint32_t)number;
    return true;
}

static bool parse_sequences(em_ack_t *ack, const em_json_value_t *array) {
    em_json_reader_t r;
    em_json_value_t value;
    if (array->type != EM_JSON_ARRAY) {
        return false;
    }
    em_json_read(&r, array->text, array->length);
    while (em_json_next(&r, &value)) {
        if (ack->n_seqs == EM_ACK_MAX_SEQS || !parse_sequence(&value, &ack->seqs[ack->n_seqs])) {
            return false;
        }
        ack->n_seqs++;
    }
    return r.status == EM_OK;
}

em_status_t em_wire_parse_ack(em_ack_t *ack, const char *payload, size_t payload_bytes) {
    enum { BOOT = 1, UPTO = 2, SEQS = 4 };
    *ack = (em_ack_t){0};
    if (payload_bytes > EM_PAYLOAD_BYTES) {
        return EM_ERR_FORMAT;
    }
    em_json_reader_t r;
    em_json_value_t value;
    unsigned seen = 0;
    em_json_read(&r, payload, payload_bytes);
    while (em_json_next(&r, &value)) {
        unsigned field = 0;
        bool ok = true; /* unknown keys are allowed: a newer gateway may say more */
        if (em_json_key_is(&value, "boot")) {
            field = BOOT;
            ok = parse_hex64(&value, &ack->boot);
        } else if (em_json_key_is(&value, "upto")) {
            field = UPTO;
            ack->has_upto = value.type != EM_JSON_NULL;
            ok = !ack->has_upto || parse_sequence(&value, &ack->upto);
        } else if (em_json_key_is(&value, "seqs")) {
            field = SEQS;
            ok = parse_sequences(ack, &value);
        }
        if (!ok || (seen & field)) {
            return EM_ERR_FORMAT;
        }
        seen |= field;
    }
    return r.status == EM_OK && (seen & BOOT) && (seen & (UPTO | SEQS)) ? EM_OK : EM_ERR_FORMAT;
}

static const char *const COMMAND_NAMES[] = {
    [EM_COMMAND_IDENTIFY] = "identify",
    [EM_COMMAND_SELF_TEST] = "self_test",
    [EM_COMMAND_SET_THRESHOLD] = "set_threshold",
    [EM_COMMAND_REBOOT] = "reboot",
    [EM_COMMAND_UPDATE] = "update",
};
enum { N_COMMANDS = sizeof COMMAND_NAMES / sizeof COMMAND_NAMES[0] };

const char *em_wire_command_name(em_command_name_t name) {
    return COMMAND_NAMES[name];
}

static bool find_command(em_command_t *command, const char *suffix) {
    if (strncmp(suffix, "cmd/", 4) != 0) {
        return false;
    }
    for (int i = 0; i < N_COMMANDS; i++) {
        if (strcmp(suffix + 4, COMMAND_NAMES[i]) == 0) {
            command->name = (em_command_name_t)i;
            return true;
        }
    }
    return false;
}

enum { ID = 1, EXP = 2, LABEL = 4, THRESHOLD = 8, KIND = 16, VERSION = 32 };

static bool parse_threshold(const em_json_value_t *value, uint16_t *milli) {
    if (value->type != EM_JSON_NUMBER || value->micro < 0 || value->micro > 1000000) {
        return false;
    }
    *milli = (uint16_t)((value->micro + 500) / 1000);
    return true;
}

static bool parse_kind(const em_json_value_t *value, em_update_kind_t *kind) {
    char text[16];
    if (!em_json_copy_string(value, text, sizeof text)) {
        return false;
    }
    *kind = strcmp(text, "model") == 0 ? EM_UPDATE_MODEL : EM_UPDATE_APPLICATION;
    return *kind == EM_UPDATE_MODEL || strcmp(text, "application") == 0;
}

/* The characters that an answer may repeat (gateway: ^[A-Za-z0-9_-]{1,40}$). */
static bool parse_id(const em_json_value_t *value, char *id) {
    char text[EM_COMMAND_ID_CHARS + 1];
    if (!em_json_copy_string(value, text, sizeof text)) {
        return false;
    }
    for (const char *c = text; *c; c++) {
        const bool plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
                           (*c >= '0' && *c <= '9') || *c == '_' || *c == '-';
        if (!plain) {
            return false;
        }
    }
    memcpy(id, text, sizeof text);
    return true;
}

/* Returns the field's bit, or 0 for a key that no command has. */
static unsigned parse_field(em_command_t *c, const em_json_value_t *value, bool *ok) {
    if (em_json_key_is(value, "id")) {
        *ok = parse_id(value, c->id);
        return ID;
    }
    if (em_json_key_is(value, "exp")) {
        *ok = em_json_get_integer(value, 1, INT64_MAX, &c->expires_unix_ms);
        return EXP;
    }
    if (em_json_key_is(value, "label")) {
        *ok = em_json_copy_string(value, c->label, sizeof c->label);
        return LABEL;
    }
    if (em_json_key_is(value, "threshold")) {
        *ok = parse_threshold(value, &c->threshold_milli);
        return THRESHOLD;
    }
    if (em_json_key_is(value, "kind")) {
        *ok = parse_kind(value, &c->update_kind);
        return KIND;
    }
    if (em_json_key_is(value, "version")) {
        *ok = em_json_copy_string(value, c->version, sizeof c->version);
        return VERSION;
    }
    return 0;
}

em_status_t em_wire_parse_command(em_command_t *command, const char *suffix, const char *payload,
                                  size_t payload_bytes) {
    static const unsigned NEEDED[N_COMMANDS] = {
        [EM_COMMAND_IDENTIFY] = ID | EXP,
        [EM_COMMAND_SELF_TEST] = ID | EXP,
        [EM_COMMAND_SET_THRESHOLD] = ID | EXP | LABEL | THRESHOLD,
        [EM_COMMAND_REBOOT] = ID | EXP,
        [EM_COMMAND_UPDATE] = ID | EXP | KIND | VERSION,
    };
    *command = (em_command_t){0};
    if (!find_command(command, suffix)) {
        return EM_ERR_ARGUMENT;
    }
    if (payload_bytes > EM_PAYLOAD_BYTES) {
        return EM_ERR_FORMAT;
    }
    em_json_reader_t r;
    em_json_value_t value;
    unsigned seen = 0;
    em_json_read(&r, payload, payload_bytes);
    while (em_json_next(&r, &value)) {
        bool ok = true;
        const unsigned field = parse_field(command, &value, &ok);
        if (!ok || field == 0 || (seen & field)) {
            return EM_ERR_FORMAT; /* unknown keys are refused: a command must mean what it says */
        }
        seen |= field;
    }
    return r.status == EM_OK && seen == NEEDED[command->name] ? EM_OK : EM_ERR_FORMAT;
}
