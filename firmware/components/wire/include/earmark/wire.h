/* The only encoder and the only parsers of what crosses the network. Every message the device can
 * send is one function below; none takes samples, features, scores or a free byte string. */
#ifndef EARMARK_WIRE_H
#define EARMARK_WIRE_H

#include "earmark/report.h"
#include "earmark/status.h"

enum {
    EM_DEVICE_ID_CHARS = 32,
    EM_TOPIC_BYTES = 96,
    EM_PAYLOAD_BYTES = 1024,
    EM_ACK_MAX_SEQS = 64,
    EM_COMMAND_ID_CHARS = 40,
    EM_VERSION_CHARS = 31,
    EM_CATALOG_MAX_LABELS = 32
};

/* What the device can hear; filled from the bundle. */
typedef struct {
    const char *model;          /* version + 4 hex digits of the weights' hash */
    const char *front_end_hash; /* 16 hex digits */
    uint8_t n_labels;
    struct {
        const char *name;
        uint16_t threshold_milli, min_milli, max_milli;
        bool critical, reported; /* not reported: a background class, never an event */
    } labels[EM_CATALOG_MAX_LABELS];
} em_catalog_t;

/* "earmark/v1/<device_id>/<suffix>". EM_ERR_SIZE if it does not fit. */
em_status_t em_wire_topic(char out[EM_TOPIC_BYTES], const char *device_id, const char *suffix);
/* The part after "earmark/v1/<device_id>/", or NULL if the topic is not this device's. */
const char *em_wire_suffix(const char *topic, const char *device_id);

em_status_t em_wire_event(char out[EM_PAYLOAD_BYTES], const em_report_t *report, bool late);

typedef struct {
    uint64_t boot;
    uint32_t boot_n, seq_next;
    uint64_t up_ms;
    int64_t unix_ms;
    bool has_wall, sync;
    uint32_t queue, queue_critical, drops, drops_critical;
    bool mic_ok;
    bool has_noise;
    int16_t noise_dbfs; /* RMS of the quietest second, in steps of 3 dB */
    uint32_t overruns;
    uint32_t heap_min_bytes, stack_min_bytes;
    bool has_rssi;
    int8_t rssi_dbm;
    uint32_t inference_p99_ms;
    uint32_t watchdog_resets;
    uint32_t flags; /* EM_HEALTH_... */
    const char *state;
    const char *firmware, *model;
} em_health_report_t;

em_status_t em_wire_health(char out[EM_PAYLOAD_BYTES], const em_health_report_t *health);
em_status_t em_wire_info(char out[EM_PAYLOAD_BYTES], const em_catalog_t *catalog,
                         const char *firmware);
/* error NULL: ok. */
em_status_t em_wire_response(char out[EM_PAYLOAD_BYTES], const char *id, const char *error);

typedef struct {
    uint64_t boot;
    bool has_upto;
    uint32_t upto;
    uint32_t n_seqs;
    uint32_t seqs[EM_ACK_MAX_SEQS];
} em_ack_t;

/* {"boot":"5b1e9c7702aa41d3","upto":1234,"seqs":[1240]} */
em_status_t em_wire_parse_ack(em_ack_t *ack, const char *payload, size_t payload_bytes);

typedef enum {
    EM_COMMAND_IDENTIFY,
    EM_COMMAND_SELF_TEST,
    EM_COMMAND_SET_THRESHOLD,
    EM_COMMAND_REBOOT,
    EM_COMMAND_UPDATE
} em_command_name_t;

typedef enum { EM_UPDATE_APPLICATION, EM_UPDATE_MODEL } em_update_kind_t;

typedef struct {
    em_command_name_t name;
    char id[EM_COMMAND_ID_CHARS + 1];
    int64_t expires_unix_ms;
    char label[EM_LABEL_CHARS + 1];     /* set_threshold */
    uint16_t threshold_milli;           /* set_threshold */
    em_update_kind_t update_kind;       /* update */
    char version[EM_VERSION_CHARS + 1]; /* update */
} em_command_t;

/* suffix: "cmd/<name>". EM_ERR_ARGUMENT: no such command. EM_ERR_FORMAT: payload refused; id is
 * then set if it could be read, so that the sender gets an answer. */
em_status_t em_wire_parse_command(em_command_t *command, const char *suffix, const char *payload,
                                  size_t payload_bytes);
const char *em_wire_command_name(em_command_name_t name);

/* Name of one health flag bit (0..31), or NULL. */
const char *em_wire_health_flag_name(uint32_t bit);

enum {
    EM_HEALTH_MIC_SILENT = 1 << 0,     /* all zeros: not wired, or the data line is stuck */
    EM_HEALTH_MIC_DC = 1 << 1,         /* a constant or strongly offset signal */
    EM_HEALTH_MIC_NO_FLOOR = 1 << 2,   /* quieter than any microphone in air: covered or digital */
    EM_HEALTH_MIC_CLIPPING = 1 << 3,   /* more than 1 % of the samples at full scale */
    EM_HEALTH_CLOCK_UNSET = 1 << 4,    /* never set since boot; events carry ts null */
    EM_HEALTH_LOG_FULL = 1 << 5,       /* event log has no room: new events in RAM only */
    EM_HEALTH_LOG_FAILED = 1 << 6,     /* flash refused: events in RAM only */
    EM_HEALTH_KV_LOST = 1 << 7,        /* key-value store was corrupt and started afresh */
    EM_HEALTH_CERTIFICATE = 1 << 8,    /* TLS handshake refused: certificate expired or wrong */
    EM_HEALTH_GATEWAY_SILENT = 1 << 9, /* connected, events sent, no acknowledgement */
    EM_HEALTH_OVERRUN = 1 << 10,       /* audio lost in the last minute */
    EM_HEALTH_SELF_TEST = 1 << 11,     /* golden features or logits not reproduced */
    EM_HEALTH_MUTED = 1 << 12,         /* by its button */
    EM_HEALTH_N_FLAGS = 13
};

#endif
