#include "earmark/provisioning.h"

#include "earmark/json.h"

#include <string.h>

static const char KEY_ID[] = "device_id", KEY_HOST[] = "host", KEY_PORT[] = "port", KEY_CA[] = "ca",
                  KEY_CERTIFICATE[] = "cert", KEY_KEY[] = "key";

static int base64_digit(char c) {
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Strict RFC 4648 with padding. */
static bool decode_base64(const em_json_value_t *value, uint8_t *out, uint16_t *n_bytes) {
    if (value->type != EM_JSON_STRING || value->length == 0 || value->length % 4 != 0) {
        return false;
    }
    size_t n = 0, padding = 0;
    for (size_t i = 0; i < value->length; i += 4) {
        uint32_t word = 0;
        for (size_t k = 0; k < 4; k++) {
            const char c = value->text[i + k];
            const bool may_pad = i + 4 == value->length && k >= 2;
            const int digit = base64_digit(c);
            if (c == '=' && may_pad) {
                padding++;
            } else if (digit < 0 || padding > 0) {
                return false;
            }
            word = word << 6 | (uint32_t)(digit < 0 ? 0 : digit);
        }
        for (size_t k = 0; k < 3 - padding; k++) {
            if (n == EM_DER_BYTES) {
                return false;
            }
            out[n++] = (uint8_t)(word >> (16 - 8 * k));
        }
    }
    *n_bytes = (uint16_t)n;
    return true;
}

/* ^[a-z0-9][a-z0-9_-]*$ and not the gateway's own segment of the topic tree. */
static bool is_device_id(const char *id) {
    for (size_t i = 0; id[i]; i++) {
        const char c = id[i];
        const bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!plain && (i == 0 || (c != '-' && c != '_'))) {
            return false;
        }
    }
    return strcmp(id, "gateway") != 0;
}

enum { ID = 1, HOST = 2, PORT = 4, CA = 8, CERTIFICATE = 16, KEY = 32, ALL = 63 };

static unsigned parse_field(em_identity_t *identity, const em_json_value_t *value, bool *ok) {
    int64_t port = 0;
    if (em_json_key_is(value, KEY_ID)) {
        *ok = em_json_copy_string(value, identity->device_id, sizeof identity->device_id) &&
              is_device_id(identity->device_id);
        return ID;
    }
    if (em_json_key_is(value, KEY_HOST)) {
        *ok = em_json_copy_string(value, identity->broker_host, sizeof identity->broker_host);
        return HOST;
    }
    if (em_json_key_is(value, KEY_PORT)) {
        *ok = em_json_get_integer(value, 1, UINT16_MAX, &port);
        identity->broker_port = (uint16_t)port;
        return PORT;
    }
    if (em_json_key_is(value, KEY_CA)) {
        *ok = decode_base64(value, identity->ca, &identity->ca_bytes);
        return CA;
    }
    if (em_json_key_is(value, KEY_CERTIFICATE)) {
        *ok = decode_base64(value, identity->certificate, &identity->certificate_bytes);
        return CERTIFICATE;
    }
    if (em_json_key_is(value, KEY_KEY)) {
        *ok = decode_base64(value, identity->key, &identity->key_bytes);
        return KEY;
    }
    return 0;
}

em_status_t em_provisioning_parse(em_identity_t *identity, const char *text, size_t bytes) {
    em_json_reader_t r;
    em_json_value_t value;
    unsigned seen = 0;
    bool ok = bytes <= EM_PROVISIONING_BYTES;
    memset(identity, 0, sizeof *identity);
    em_json_read(&r, text, ok ? bytes : 0);
    while (ok && em_json_next(&r, &value)) {
        const unsigned field = parse_field(identity, &value, &ok);
        ok = ok && field != 0 && !(seen & field);
        seen |= field;
    }
    if (ok && r.status == EM_OK && seen == ALL) {
        return EM_OK;
    }
    memset(identity, 0, sizeof *identity);
    return EM_ERR_FORMAT;
}

/* The id last: its presence says that all of it is there. */
em_status_t em_provisioning_save(const em_kv_t *kv, const em_identity_t *identity) {
    const struct {
        const char *key;
        const void *value;
        size_t bytes;
    } fields[] = {
        {KEY_HOST, identity->broker_host, sizeof identity->broker_host},
        {KEY_PORT, &identity->broker_port, sizeof identity->broker_port},
        {KEY_CA, identity->ca, identity->ca_bytes},
        {KEY_CERTIFICATE, identity->certificate, identity->certificate_bytes},
        {KEY_KEY, identity->key, identity->key_bytes},
        {KEY_ID, identity->device_id, sizeof identity->device_id},
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        const em_status_t status =
            kv->set(kv->context, fields[i].key, fields[i].value, fields[i].bytes);
        if (status != EM_OK) {
            return status;
        }
    }
    return EM_OK;
}

static em_status_t load(const em_kv_t *kv, const char *key, void *value, size_t capacity,
                        uint16_t *n_bytes) {
    size_t bytes = capacity;
    const em_status_t status = kv->get(kv->context, key, value, &bytes);
    if (status == EM_OK && n_bytes == NULL && bytes != capacity) {
        return EM_ERR_FORMAT;
    }
    if (status == EM_OK && n_bytes != NULL) {
        *n_bytes = (uint16_t)bytes;
    }
    return status;
}

em_status_t em_provisioning_load(const em_kv_t *kv, em_identity_t *identity) {
    memset(identity, 0, sizeof *identity);
    em_status_t status = load(kv, KEY_ID, identity->device_id, sizeof identity->device_id, NULL);
    if (status == EM_OK) {
        status = load(kv, KEY_HOST, identity->broker_host, sizeof identity->broker_host, NULL);
    }
    if (status == EM_OK) {
        status = load(kv, KEY_PORT, &identity->broker_port, sizeof identity->broker_port, NULL);
    }
    if (status == EM_OK) {
        status = load(kv, KEY_CA, identity->ca, sizeof identity->ca, &identity->ca_bytes);
    }
    if (status == EM_OK) {
        status = load(kv, KEY_CERTIFICATE, identity->certificate, sizeof identity->certificate,
                      &identity->certificate_bytes);
    }
    if (status == EM_OK) {
        status = load(kv, KEY_KEY, identity->key, sizeof identity->key, &identity->key_bytes);
    }
    if (status == EM_OK && (!memchr(identity->device_id, 0, sizeof identity->device_id) ||
                            !memchr(identity->broker_host, 0, sizeof identity->broker_host))) {
        status = EM_ERR_FORMAT;
    }
    if (status != EM_OK) {
        memset(identity, 0, sizeof *identity);
    }
    return status;
}
