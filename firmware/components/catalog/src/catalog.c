#include "earmark/catalog.h"

#include <string.h>

em_status_t em_catalog_from_bundle(em_catalog_t *catalog, const em_bundle_t *bundle) {
    const em_detector_config_t *detector = &bundle->detector;
    if (detector->n_labels > EM_CATALOG_MAX_LABELS ||
        strlen(bundle->model_version) > EM_MODEL_CHARS) {
        return EM_ERR_SIZE;
    }
    memset(catalog, 0, sizeof *catalog);
    catalog->model = bundle->model_version;
    catalog->front_end_hash = bundle->frontend_hash;
    catalog->n_labels = (uint8_t)detector->n_labels;
    for (uint8_t i = 0; i < detector->n_labels; i++) {
        const em_label_t *label = &detector->labels[i];
        if (strlen(label->name) > EM_LABEL_CHARS) {
            return EM_ERR_SIZE;
        }
        catalog->labels[i].name = label->name;
        /* "Never by score alone" is beyond 1 and is told as 1. */
        catalog->labels[i].threshold_milli = label->on_permille <= 1000 ? label->on_permille : 1000;
        catalog->labels[i].min_milli = label->min_permille;
        catalog->labels[i].max_milli = label->max_permille;
        catalog->labels[i].critical = (label->flags & EM_LABEL_CRITICAL) != 0;
        catalog->labels[i].reported = (label->flags & EM_LABEL_REPORTED) != 0;
    }
    return EM_OK;
}
