/* Which model runs: the one on trial, else the confirmed one, else that of the application. Each
 * must reproduce its golden vector first; one that does not is left for the next. */
#ifndef EARMARK_MODEL_BOOT_H
#define EARMARK_MODEL_BOOT_H

#include "earmark/model_image.h"
#include "earmark/model_store.h"

typedef struct {
    em_model_store_t *store;
    const em_bundle_t *bundle; /* of the application */
    const em_model_t *model;
    void *context;
    /* Makes the payload readable as memory until unmap; NULL: it cannot. */
    const uint8_t *(*map)(void *context, const em_bundle_image_t *image);
    void (*unmap)(void *context);
    /* Starts listening with this model if it passes its self-test; else nothing was started. */
    em_status_t (*start)(void *context, const em_bundle_t *bundle, const em_model_t *model);
} em_model_boot_t;

/* image: holds the parts of a model from a slot; must outlive its use. *used is the bundle that
 * runs. Returns what start() said to the last candidate. */
em_status_t em_model_boot(const em_model_boot_t *boot, em_image_model_t *image,
                          const em_bundle_t **used);

/* What an image must belong to in order to replace the application's own model. */
em_model_needs_t em_model_needs(const em_bundle_t *bundle);

#endif
