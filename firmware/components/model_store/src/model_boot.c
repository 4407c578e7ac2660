#include "earmark/model_boot.h"

#include "earmark/crc32.h"

#include <string.h>

em_model_needs_t em_model_needs(const em_bundle_t *bundle) {
    em_model_needs_t needs = {.front_end_hash = bundle->frontend_hash};
    for (uint16_t i = 0; i < bundle->detector.n_labels; i++) {
        const char *name = bundle->detector.labels[i].name;
        needs.labels_crc32 = em_crc32(needs.labels_crc32, "\n", i > 0);
        needs.labels_crc32 = em_crc32(needs.labels_crc32, name, strlen(name));
    }
    (void)em_model_release(bundle->model_version, &needs.release); /* unnumbered: 0 */
    return needs;
}

static em_status_t try_image(const em_model_boot_t *boot, const em_bundle_image_t *found,
                             em_image_model_t *image) {
    const uint8_t *payload = boot->map(boot->context, found);
    if (payload == NULL) {
        return EM_ERR_IO;
    }
    em_status_t status =
        em_model_image_open(image, payload, found->payload_bytes, found->front_end_hash,
                            found->version, boot->model->tflm);
    if (status == EM_OK) {
        status = boot->start(boot->context, &image->bundle, &image->model);
    }
    if (status != EM_OK) {
        boot->unmap(boot->context);
    }
    return status;
}

em_status_t em_model_boot(const em_model_boot_t *boot, em_image_model_t *image,
                          const em_bundle_t **used) {
    em_bundle_image_t found;
    *used = &image->bundle;
    /* At most two rounds: the slot on trial, then the confirmed one. */
    while (em_model_store_select(boot->store, &found) == EM_OK) {
        const bool on_trial = boot->store->trying;
        if (try_image(boot, &found, image) == EM_OK) {
            if (on_trial) { /* if that cannot be written, the next boot gives it up */
                (void)em_model_store_confirm(boot->store);
            }
            return EM_OK;
        }
        if (!on_trial) {
            break; /* kept: an application update may bring back what it needs */
        }
        if (em_model_store_reject(boot->store) != EM_OK) {
            break;
        }
    }
    *used = boot->bundle;
    return boot->start(boot->context, boot->bundle, boot->model);
}
