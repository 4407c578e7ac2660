#include "earmark/model_store.h"

#include "little_endian.h"

#include <string.h>

static const char KEY_STATE[] = "model_slot";
enum { NO_SLOT = 2, BLOCK_BYTES = 16, SIGNED_HEADER_BYTES = 64, READ_BYTES = 256 };
enum { PAYLOAD_FORMAT = 1, RELEASE_PARTS = 3, RELEASE_PART_MAX = 1023 };

/* One value, written atomically by the key-value store. */
typedef struct {
    uint8_t active; /* confirmed slot or NO_SLOT */
    uint8_t trial;  /* slot to be tried or NO_SLOT */
    uint8_t tried;  /* the trial slot was handed out once */
    uint8_t reserved;
} slots_t;

void em_model_store_init(em_model_store_t *store, const em_flash_t *flash, const em_kv_t *kv,
                         const em_crypto_t *crypto, const em_model_needs_t *needs) {
    *store = (em_model_store_t){.flash = flash, .kv = *kv, .crypto = crypto, .needs = *needs};
}

static slots_t load_slots(const em_model_store_t *store) {
    slots_t slots;
    size_t bytes = sizeof slots;
    if (store->kv.get(store->kv.context, KEY_STATE, &slots, &bytes) != EM_OK ||
        bytes != sizeof slots || slots.active > NO_SLOT || slots.trial > NO_SLOT) {
        slots = (slots_t){.active = NO_SLOT, .trial = NO_SLOT};
    }
    return slots;
}

static em_status_t save_slots(const em_model_store_t *store, slots_t slots) {
    return store->kv.set(store->kv.context, KEY_STATE, &slots, sizeof slots);
}

static uint32_t slot_bytes(const em_model_store_t *store) {
    return store->flash->n_sectors / 2 * store->flash->sector_bytes;
}

em_status_t em_model_release(const char *version, uint32_t *release) {
    const char *at = strrchr(version, '-');
    *release = 0;
    at = at == NULL ? version : at + 1;
    for (int part = 0; part < RELEASE_PARTS; part++) {
        uint32_t value = 0;
        const char *digits = at;
        for (; *at >= '0' && *at <= '9' && value <= RELEASE_PART_MAX; at++) {
            value = value * 10 + (uint32_t)(*at - '0');
        }
        const bool last = part == RELEASE_PARTS - 1;
        if (at == digits || value > RELEASE_PART_MAX ||
            (last ? *at != '+' && *at != '\0' : *at != '.')) {
            *release = 0;
            return EM_ERR_FORMAT;
        }
        *release = *release << 10 | value;
        at++;
    }
    return EM_OK;
}

em_status_t em_bundle_image_parse(em_bundle_image_t *image,
                                  const uint8_t header[EM_BUNDLE_HEADER_BYTES], uint32_t capacity) {
    memset(image, 0, sizeof *image);
    image->payload_bytes = em_u32(header + 4);
    if (memcmp(header, "EMB1", 4) != 0 || em_u32(header + 8) != PAYLOAD_FORMAT ||
        em_u32(header + 60) != 0 || image->payload_bytes == 0 ||
        capacity < EM_BUNDLE_HEADER_BYTES ||
        image->payload_bytes > capacity - EM_BUNDLE_HEADER_BYTES) {
        return EM_ERR_FORMAT;
    }
    memcpy(image->front_end_hash, header + 12, 16);
    memcpy(image->version, header + 28, EM_MODEL_VERSION_CHARS);
    image->labels_crc32 = em_u32(header + 56);
    return em_model_release(image->version, &image->release);
}

/* Signature first, then meaning: a forged header is never interpreted beyond its length. */
static em_status_t verify(const em_model_store_t *store, uint32_t slot, em_bundle_image_t *image) {
    const em_crypto_t *crypto = store->crypto;
    const uint32_t start = slot * slot_bytes(store);
    uint8_t header[EM_BUNDLE_HEADER_BYTES], chunk[READ_BYTES], digest[32];
    em_status_t status = store->flash->read(store->flash->context, start, header, sizeof header);
    if (status == EM_OK) {
        status = em_bundle_image_parse(image, header, slot_bytes(store));
    }
    if (status != EM_OK) {
        return status;
    }
    image->payload_offset = start + EM_BUNDLE_HEADER_BYTES;
    crypto->sha256_begin(crypto->context);
    crypto->sha256_update(crypto->context, header, SIGNED_HEADER_BYTES);
    for (uint32_t done = 0; done < image->payload_bytes && status == EM_OK;) {
        const uint32_t left = image->payload_bytes - done;
        const uint32_t n = left < READ_BYTES ? left : READ_BYTES;
        status = store->flash->read(store->flash->context, image->payload_offset + done, chunk, n);
        crypto->sha256_update(crypto->context, chunk, n);
        done += n;
    }
    crypto->sha256_end(crypto->context, digest);
    if (status == EM_OK && !crypto->verify(crypto->context, digest, header + SIGNED_HEADER_BYTES)) {
        status = EM_ERR_FORMAT;
    }
    if (status == EM_OK && (strcmp(image->front_end_hash, store->needs.front_end_hash) != 0 ||
                            image->labels_crc32 != store->needs.labels_crc32)) {
        status = EM_ERR_MISMATCH;
    }
    if (status == EM_OK && image->release < store->needs.release) {
        status = EM_ERR_ARGUMENT;
    }
    return status;
}

em_status_t em_model_store_select(em_model_store_t *store, em_bundle_image_t *image) {
    slots_t slots = load_slots(store);
    store->trying = false;
    if (slots.trial != NO_SLOT && !slots.tried && verify(store, slots.trial, image) == EM_OK) {
        slots.tried = 1; /* written before it runs: a crash gives it up */
        store->trying = save_slots(store, slots) == EM_OK;
        if (store->trying) {
            return EM_OK;
        }
    } else if (slots.trial != NO_SLOT) {
        slots.trial = NO_SLOT;
        (void)save_slots(store, slots);
    }
    return slots.active != NO_SLOT && verify(store, slots.active, image) == EM_OK ? EM_OK
                                                                                  : EM_ERR_STATE;
}

em_status_t em_model_store_confirm(em_model_store_t *store) {
    const slots_t slots = load_slots(store);
    if (slots.trial == NO_SLOT || !slots.tried) {
        return EM_ERR_STATE;
    }
    return save_slots(store, (slots_t){.active = slots.trial, .trial = NO_SLOT});
}

em_status_t em_model_store_reject(em_model_store_t *store) {
    slots_t slots = load_slots(store);
    slots.trial = NO_SLOT;
    slots.tried = 0;
    return save_slots(store, slots);
}

em_status_t em_model_store_begin(em_model_store_t *store) {
    const slots_t slots = load_slots(store);
    if (slots.trial != NO_SLOT) {
        return EM_ERR_STATE; /* one is on trial: decide on it first */
    }
    store->write_slot = slots.active == 0 ? 1 : 0;
    store->write_offset = 0;
    store->n_tail = 0;
    store->writing = true;
    return EM_OK;
}

static em_status_t write_block(em_model_store_t *store, const uint8_t block[BLOCK_BYTES]) {
    const em_flash_t *flash = store->flash;
    if (store->write_offset + BLOCK_BYTES > slot_bytes(store)) {
        return EM_ERR_FULL;
    }
    const uint32_t at = store->write_slot * slot_bytes(store) + store->write_offset;
    em_status_t status = EM_OK;
    if (at % flash->sector_bytes == 0) {
        status = flash->erase(flash->context, at / flash->sector_bytes);
    }
    if (status == EM_OK) {
        status = flash->write(flash->context, at, block, BLOCK_BYTES);
    }
    store->write_offset += BLOCK_BYTES;
    return status;
}

em_status_t em_model_store_write(em_model_store_t *store, const void *data, uint32_t n_bytes) {
    const uint8_t *bytes = data;
    if (!store->writing) {
        return EM_ERR_STATE;
    }
    for (uint32_t i = 0; i < n_bytes; i++) {
        store->tail[store->n_tail++] = bytes[i];
        if (store->n_tail == BLOCK_BYTES) {
            store->n_tail = 0;
            const em_status_t status = write_block(store, store->tail);
            if (status != EM_OK) {
                store->writing = false;
                return status;
            }
        }
    }
    return EM_OK;
}

/* The confirmed image was verified when it was selected; only its header counts here. */
static bool is_older_than_active(const em_model_store_t *store, const em_bundle_image_t *image) {
    const slots_t slots = load_slots(store);
    em_bundle_image_t active;
    uint8_t header[EM_BUNDLE_HEADER_BYTES];
    return slots.active != NO_SLOT &&
           store->flash->read(store->flash->context, slots.active * slot_bytes(store), header,
                              sizeof header) == EM_OK &&
           em_bundle_image_parse(&active, header, slot_bytes(store)) == EM_OK &&
           image->release < active.release;
}

em_status_t em_model_store_finish(em_model_store_t *store) {
    em_bundle_image_t image;
    if (!store->writing) {
        return EM_ERR_STATE;
    }
    store->writing = false;
    if (store->n_tail > 0) {
        memset(store->tail + store->n_tail, 0, BLOCK_BYTES - store->n_tail);
        const em_status_t written = write_block(store, store->tail);
        if (written != EM_OK) {
            return written;
        }
    }
    const em_status_t status = verify(store, store->write_slot, &image);
    if (status != EM_OK) {
        return status;
    }
    if (is_older_than_active(store, &image)) {
        return EM_ERR_ARGUMENT;
    }
    slots_t slots = load_slots(store);
    slots.trial = (uint8_t)store->write_slot;
    slots.tried = 0;
    return save_slots(store, slots);
}
